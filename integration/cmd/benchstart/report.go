package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/sealpost/sealpost/integration/program"
)

func newReport(rounds int) report {
	return report{Date: time.Now().UTC().Format(time.DateOnly), CPU: program.CPUModel(), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Rounds: rounds, Slots: slots}
}

// markdown is the report as people read it.
func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Start and size\n\nMade by `make bench` on %s: %d cores of %s, %s.\n", r.Date, r.Cores, r.CPU, r.Go)
	fmt.Fprintf(&b, "Medians of %d starts; the program, its Redis and the benchmark share the machine.\n\n", r.Rounds)
	b.WriteString("| | measured | at most |\n|---|--:|--:|\n")
	row := func(what, measured, most string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, measured, most) }
	row("`serve` from its start to ready, Redis answering", ms(r.Ready)+", most "+ms(r.ReadyMost), "150 ms")
	row("processor time of that", ms(r.ReadyCPU), "")
	row("`serve` ready after a late Redis has answered", ms(r.Late)+", most "+ms(r.LateMost), "150 ms")
	row("program, stripped", mb(r.Binary), "40 MB")
	row("memory (RSS), idle", mb(r.IdleRSS), "40 MB")
	row(fmt.Sprintf("memory (RSS), %d slots, %d POSTs to a server that answers 204", r.Slots, r.Busy), mb(r.BusyRSS), "60 MB")
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }
func mb(n int64) string         { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
