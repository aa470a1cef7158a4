package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/sealpost/sealpost/integration/program"
)

// markdown is the report as people read it.
func markdown(s settings, w *world, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The environment of an analysis, beside a bare handler\n\nMade by `make bench` on %s: %d cores of %s, %s.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), program.CPUModel(), runtime.Version())
	fmt.Fprintf(&b, "`GET /environment` of %d keys, %d of them secrets behind %d policies (%d bytes); the large store has %d more\n",
		granted+variables, granted, policies, w.bytes, s.secrets)
	fmt.Fprintf(&b, "secrets and %d more policies. %d connections with one request each at a time. Server, Redis (append-only\n", (s.secrets+9)/10, s.connections)
	fmt.Fprintf(&b, "file, flushed each second) and load generator (%s) share the machine. Medians of %d round(s) of %v in which the\npeers took turns.\n\n", s.by, s.rounds, s.turn)
	b.WriteString("| peer | requests /s | p50 ms | p99 ms | server µs a request | Redis µs a request | load µs a request |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %.0f | %.2f | %.2f | %.0f | %.0f | %.0f |\n", r.Name, r.PerSecond, ms(r.P50), ms(r.P99), us(r.Server), us(r.Redis), us(r.Load))
	}
	b.WriteString("\n| requests of | over those of | ratio | by processor time |\n|---|---|--:|--:|\n")
	for _, r := range ratios(rows) {
		fmt.Fprintf(&b, "| %s | %s | %.2f | %.2f |\n", r.Of, r.Over, r.Ratio, r.ByCPU)
	}
	return b.String() + "\nThe bare handlers write the same bytes, headers included. The environment checks the token, reads from Redis whether anything\n" +
		"has changed, opens what it keeps sealed, and has its audit entry in Redis before it answers. \"Not changed\" is\n" +
		"the answer 304 to a client that has the environment. The ratio by processor time takes all of a request, load\n" +
		"generator included: what the rates would be if nothing else ran on the machine.\n"
}

// ratio compares two entrants by their rates, and by all the processor time that
// one request takes, load generator included: what the rates would be if nothing
// else ran on the machine.
type ratio struct {
	Of    string  `json:"of"`
	Over  string  `json:"over"`
	Ratio float64 `json:"ratio"`
	ByCPU float64 `json:"ratio_by_cpu"`
}

// cpu is the processor time of one request.
func (r row) cpu() float64 { return float64(r.Server + r.Redis + r.Load) }

// ratios are those that are judged.
func ratios(rows []row) []ratio {
	pairs := [][2]int{{ofEnvironment, ofBare}, {ofEnvironment, ofGet}, {ofSame, ofGet}}
	if len(rows) > ofLarge {
		pairs = append(pairs, [2]int{ofLarge, ofEnvironment})
	}
	var out []ratio
	for _, p := range pairs {
		of, over := rows[p[0]], rows[p[1]]
		out = append(out, ratio{of.Name, over.Name, of.PerSecond / over.PerSecond, over.cpu() / of.cpu()})
	}
	return out
}

// data is the report as programs read it.
func (s settings) data(w *world, rows []row) ([]byte, error) {
	text, err := json.MarshalIndent(struct {
		Date        string  `json:"date"`
		CPU         string  `json:"cpu"`
		Cores       int     `json:"cores"`
		Go          string  `json:"go"`
		Load        string  `json:"load_generator"`
		Connections int     `json:"connections"`
		Bytes       int     `json:"answer_bytes"`
		Others      int     `json:"large_store_secrets"`
		Rounds      int     `json:"rounds"`
		Rows        []row   `json:"rows"`
		Ratios      []ratio `json:"ratios"`
	}{time.Now().UTC().Format(time.DateOnly), program.CPUModel(), runtime.NumCPU(), runtime.Version(), s.by, s.connections, w.bytes,
		s.secrets, s.rounds, rows, ratios(rows)}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the report: %w", err)
	}
	return append(text, '\n'), nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
