package main

import (
	"context"
	"encoding/json"
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
)

// report is everything a reader needs to judge the figures.
type report struct {
	Date   string `json:"date"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Load   string `json:"load_average_at_the_end"`
	Go     string `json:"go"`
	Redis  string `json:"redis"`
	AOF    bool   `json:"append_only_file"`
	Bytes  int    `json:"job_bytes"`
	Rounds int    `json:"rounds"`
	Short  bool   `json:"short,omitempty"`
	Note   string `json:"note,omitempty"`
	// Peers are the versions of the peers, by module.
	Peers map[string]string `json:"peers"`
	Rows  []row             `json:"rows"`
	// Sides are the medians of every side, by scenario.
	Sides map[string]map[string]figures `json:"sides"`
}

// newReport describes the machine.
func newReport(ctx context.Context, w *world, rows []row) (report, error) {
	info, err := w.rdb.Info(ctx, "server").Result()
	if err != nil {
		return report{}, fmt.Errorf("ask Redis for its version: %w", err)
	}
	load, _ := os.ReadFile("/proc/loadavg") // "" where there is none
	return report{
		Date: time.Now().UTC().Format(time.DateOnly), CPU: cpuModel(), Cores: runtime.NumCPU(), Load: strings.TrimSpace(string(load)),
		Go: runtime.Version(), Redis: field(info, "redis_version:"), AOF: w.aof,
		Bytes: len(payload), Rounds: w.rounds, Short: w.short, Note: w.note, Rows: rows, Sides: w.all, Peers: versions(),
	}, nil
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

// cpuModel is the processor's name, "unknown" where there is no /proc.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	return strings.TrimLeft(field(string(text), "model name"), "\t :")
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
func (r report) markdown() string {
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
	fmt.Fprintf(&b, "All processes share the machine. Medians of %d round(s) in which the sides took turns.\n", r.Rounds)
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
func (r report) write(dir string) error {
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
