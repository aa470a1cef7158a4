package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/integration/program"
)

// report is everything a reader needs to judge the figures.
type report struct {
	Date  string `json:"date"`
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	Redis string `json:"redis"`
	AOF   bool   `json:"append_only_file"`
	Bytes int    `json:"job_bytes"`
	Short bool   `json:"short,omitempty"`
	Note  string `json:"note,omitempty"`
	// Peers are the versions of the peers, by module.
	Peers map[string]string `json:"peers"`
	// Rows are the table; they follow from Scenarios.
	Rows      []row            `json:"rows"`
	Scenarios map[string]taken `json:"scenarios"`

	rounds int
}

// taken are the medians of a scenario, and when they were taken.
type taken struct {
	Date    string             `json:"date"`
	Rounds  int                `json:"rounds"`
	Load    string             `json:"load_average"`
	Sides   map[string]figures `json:"sides"`
	Skipped map[string]string  `json:"skipped,omitempty"`
}

// newReport describes the machine. What other scenarios have shown earlier is kept.
func newReport(ctx context.Context, w *world) (*report, error) {
	info, err := w.rdb.Info(ctx, "server").Result()
	if err != nil {
		return nil, fmt.Errorf("ask Redis for its version: %w", err)
	}
	r := &report{Scenarios: map[string]taken{}, rounds: w.rounds}
	if w.out != "" && !w.short {
		text, err := os.ReadFile(filepath.Join(w.out, "all.json"))
		if err == nil {
			err = json.Unmarshal(text, r)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read the last report: %w", err)
		}
	}
	r.Date, r.CPU, r.Cores, r.Go = time.Now().UTC().Format(time.DateOnly), program.CPUModel(), runtime.NumCPU(), runtime.Version()
	r.Redis, r.AOF, r.Bytes, r.Short, r.Note, r.Peers = field(info, "redis_version:"), w.aof, len(payload), w.short, w.note, versions()
	return r, nil
}

// take adds what a scenario has shown.
func (r *report) take(name string, got results) {
	load, _ := os.ReadFile("/proc/loadavg") // "" where there is none
	average, _, _ := strings.Cut(string(load), " ")
	r.Scenarios[name] = taken{Date: r.Date, Rounds: r.rounds, Load: average, Sides: got.of, Skipped: got.skipped}
	r.Rows = nil
	for _, sc := range scenarios() {
		if t, ok := r.Scenarios[sc.name()]; ok {
			r.Rows = append(r.Rows, sc.rows(results{t.Sides, t.Skipped})...)
		}
	}
}

// versions are those of the peers: of Go modules in this binary, and of npm.
func versions() map[string]string {
	out := map[string]string{}
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, m := range built.Deps {
			if slices.Contains([]string{"github.com/hibiken/asynq", "github.com/wneessen/go-mail", "github.com/aws/aws-sdk-go-v2/service/sqs"}, m.Path) {
				out[m.Path] = m.Version
			}
		}
	}
	var npm struct{ Dependencies map[string]string }
	text, err := os.ReadFile(filepath.Join("peers", "package.json"))
	if err == nil && json.Unmarshal(text, &npm) == nil {
		maps.Copy(out, npm.Dependencies)
	}
	return out
}

// field returns the rest of the first line that begins with a prefix.
func field(text, prefix string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}

// units are how a figure is called in the table.
func units() map[string]string {
	return map[string]string{
		rate: "/s", server: "µs", waiting: "B", p50: "ms p50", p99: "ms p99", total: "µs of CPU",
	}
}

// markdown is the report as people read it.
func (r *report) markdown() string {
	var b strings.Builder
	aof := "no append-only file"
	if r.AOF {
		aof = "append-only file, flushed each second"
	}
	fmt.Fprintf(&b, "# Sealpost beside its peers\n\nMade by `make bench` on %s: %d cores of %s, %s, redis-server %s, %s.\n",
		r.Date, r.Cores, r.CPU, r.Go, r.Redis, aof)
	if r.Short {
		b.WriteString("A short run, which only shows that all still runs: its figures mean nothing.\n")
	}
	fmt.Fprintf(&b, "All processes share the machine. Medians of rounds in which the sides took turns: %s.\n", r.when())
	b.WriteString("Peers:")
	for i, name := range slices.Sorted(maps.Keys(r.Peers)) {
		b.WriteString(map[bool]string{true: " ", false: ", "}[i == 0] + name + " " + r.Peers[name])
	}
	b.WriteString(".\n")
	if r.Note != "" {
		b.WriteString(r.Note + "\n")
	}
	b.WriteString("\n| scenario | Sealpost | peer | raw limit | ratio | goal | CPU of an item: Sealpost | peer | peer / Sealpost | memory |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range r.Rows {
		b.WriteString(row.line())
	}
	return b.String() + "\nA peer is shown at its best setting. CPU is in microseconds: of the side + of what it talks to (Redis,\n" +
		"the sink of the mails). Memory is the resident set of the sides at its highest, Sealpost / peer, in MB.\n" +
		"A ratio nearer to 1 than 15 % means nothing. all.json has every side.\n"
}

// when says how many rounds each scenario had, and how loaded the machine was.
func (r *report) when() string {
	var all []string
	for _, name := range names() {
		if t, ok := r.Scenarios[name]; ok {
			all = append(all, fmt.Sprintf("%s %d (load average %s)", name, t.Rounds, t.Load))
		}
	}
	return strings.Join(all, ", ")
}

// line is one row of the table.
func (r row) line() string {
	unit := units()[r.Figure]
	peer, ratio := "-", "-"
	if r.Skipped != "" {
		peer = "no " + r.Peer + ": " + r.Skipped
	} else if r.Theirs > 0 {
		peer, ratio = number(r.Theirs)+" "+r.Peer, number(r.Ratio)
	}
	want := "-"
	if r.Goal > 0 {
		want = map[bool]string{true: "at most ", false: ""}[r.Less] + number(r.Goal) + map[bool]string{true: "", false: ", missed"}[r.Met || r.Skipped != ""]
	}
	limit := "-"
	if r.Raw > 0 {
		limit = number(r.Raw)
	}
	return fmt.Sprintf("| %s, %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Scenario, unit, number(r.Value)+" "+r.Ours, peer, limit, ratio, want,
		pair(r.OurClient, r.OurServer, " + "), pair(r.TheirClient, r.TheirServer, " + "), number(r.LessCPU), pair(r.OurMemory, r.TheirMemory, " / "))
}

// pair is two numbers, a dash for none.
func pair(a, b float64, between string) string {
	if a == 0 && b == 0 {
		return "-"
	}
	return number(a) + between + number(b)
}

// number has three digits that count, or all before the point.
func number(v float64) string {
	if v == 0 {
		return "-"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return fmt.Sprintf("%.*f", max(digits, 0), v)
}

// write puts all.md and all.json into dir.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the report: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "all.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "all.md"), []byte(r.markdown()), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
