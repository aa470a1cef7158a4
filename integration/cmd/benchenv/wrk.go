package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What makes the load: wrk, which takes half the processor time of our own
// clients, or these where there is no wrk.
const (
	loadAuto = "auto"
	loadWrk  = "wrk"
	loadOwn  = "own"
)

// generator is what makes the load by the setting, and its name for the report.
// wrk runs for whole seconds.
func generator(setting string, turn time.Duration) (path, name string, err error) {
	if setting == loadOwn || setting == loadAuto && turn < time.Second {
		return "", "our own clients", nil
	}
	path, err = exec.LookPath("wrk")
	if err != nil && setting == loadAuto {
		return "", "our own clients, as there is no wrk", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("-load wrk: %w (on Debian: apt-get install wrk)", err)
	}
	return path, "wrk, one thread", nil
}

// answered is what a generator saw.
type answered struct {
	requests  int
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of the generator
}

// byWrk is the load by wrk. The token goes into a script and not into the
// arguments, which everybody on the machine can read.
func (e entrant) byWrk(ctx context.Context, wrk string, connections int, turn time.Duration) (answered, error) {
	dir, err := os.MkdirTemp("", "sealpost-wrk-*")
	if err != nil {
		return answered{}, fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	var script strings.Builder
	for name, value := range e.header {
		fmt.Fprintf(&script, "wrk.headers[%q] = %q\n", name, value)
	}
	file := filepath.Join(dir, "headers.lua")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		return answered{}, fmt.Errorf("write the script of wrk: %w", err)
	}
	seconds := max(1, int(turn.Round(time.Second)/time.Second)) // wrk takes whole ones
	cmd := exec.CommandContext(ctx, wrk, "-t1", "-c"+strconv.Itoa(connections), fmt.Sprintf("-d%ds", seconds), "--latency", "-s", file, e.url)
	text, err := cmd.CombinedOutput()
	if err != nil {
		return answered{}, fmt.Errorf("run wrk: %w: %s", err, text)
	}
	a, err := parseWrk(string(text))
	a.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return a, err
}

var (
	wrkRate  = regexp.MustCompile(`(?m)^Requests/sec:\s+([0-9.]+)$`)
	wrkCount = regexp.MustCompile(`(?m)^\s*([0-9]+) requests in`)
	wrkP50   = regexp.MustCompile(`(?m)^\s+50%\s+([0-9.]+)(us|ms|s)$`)
	wrkP99   = regexp.MustCompile(`(?m)^\s+99%\s+([0-9.]+)(us|ms|s)$`)
)

// parseWrk reads the report of wrk. An answer of another status than 2xx and 3xx,
// or a broken connection, is an error.
func parseWrk(text string) (answered, error) {
	for _, bad := range []string{"Non-2xx or 3xx responses", "Socket errors"} {
		if _, rest, found := strings.Cut(text, bad); found {
			line, _, _ := strings.Cut(rest, "\n")
			return answered{}, fmt.Errorf("wrk: %s%s", bad, line)
		}
	}
	var a answered
	var err error
	find := func(of *regexp.Regexp) (number float64, unit string) {
		m := of.FindStringSubmatch(text)
		if m == nil {
			err = fmt.Errorf("wrk: its report has no %s", of)
			return 0, ""
		}
		number, _ = strconv.ParseFloat(m[1], 64) // the expression admits numbers only
		return number, m[len(m)-1]
	}
	a.perSecond, _ = find(wrkRate)
	count, _ := find(wrkCount)
	a.requests = int(count)
	for of, to := range map[*regexp.Regexp]*time.Duration{wrkP50: &a.p50, wrkP99: &a.p99} {
		number, unit := find(of)
		*to = time.Duration(number * float64(map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second}[unit]))
	}
	if err == nil && a.requests == 0 {
		err = fmt.Errorf("wrk: no request was answered")
	}
	return a, err
}
