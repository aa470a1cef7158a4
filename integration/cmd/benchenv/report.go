package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// markdown is the report as people read it.
func markdown(s settings, w *world, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The environment of an analysis, beside a bare handler\n\nMade by `make bench` on %s: %d cores of %s, %s.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuModel(), runtime.Version())
	fmt.Fprintf(&b, "`GET /environment` of %d keys, %d of them secrets behind %d policies (%d bytes), among %d more secrets and %d more\n",
		granted+variables, granted, policies, w.bytes, s.secrets, (s.secrets+9)/10)
	fmt.Fprintf(&b, "policies; %d connections with one request each at a time. Server, Redis (append-only file, flushed each\n", s.connections)
	fmt.Fprintf(&b, "second) and load generator share the machine. Medians of %d round(s) of %v in which the peers took turns.\n\n", s.rounds, s.turn)
	b.WriteString("| peer | requests /s | p50 ms | p99 ms | server µs a request | Redis µs a request |\n|---|--:|--:|--:|--:|--:|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %.0f | %.2f | %.2f | %.0f | %.0f |\n", r.name, r.perSecond, ms(r.p50), ms(r.p99), us(r.server), us(r.redis))
	}
	fmt.Fprintf(&b, "\nRequests of the environment over those of the bare handler: %.2f.\n", rows[1].perSecond/rows[0].perSecond)
	return b.String() + "\nThe bare handler does one GET of Redis and writes the same bytes. The environment checks the token, reads\n" +
		"from Redis whether anything has changed, opens each value anew, and has its audit entry in Redis before\n" +
		"it answers. \"Not changed\" is the answer 304 to a client that has the environment.\n"
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// cpuModel is the processor's name, "unknown" where there is no /proc.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "unknown"
}
