// Benchstart measures what the built program, stripped as "make build" does it,
// costs a machine before it does anything: its size, the time from its start to
// "ready" beside a Redis that answers and after one that comes up late, and its
// memory when it is idle and with 200 jobs at once.
//
// A job there is a POST to a server of the benchmark that answers 204: of what
// the program can do, that is nearest to nothing.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchstart:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	rounds int
	idle   time.Duration // before the memory of an idle process is read
	work   time.Duration // under load
	out    string
	binary string
}

// run reads the flags, measures, prints and writes the report.
func run(ctx context.Context) error {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 11, "starts of each kind; medians are reported")
	flag.DurationVar(&s.idle, "idle", 20*time.Second, "how long the process is idle before its memory is read")
	flag.DurationVar(&s.work, "for", 10*time.Second, "how long the process has 200 jobs at once")
	flag.StringVar(&s.out, "out", "", "directory for start.md and start.json; none: print only")
	flag.StringVar(&s.binary, "binary", "", "program to measure; none: build it from the module")
	flag.Parse()
	if s.rounds < 1 || s.idle < 0 || s.work <= 0 {
		return fmt.Errorf("-rounds, -idle and -for: want positive numbers")
	}
	dir, err := os.MkdirTemp("", "sealpost-benchstart-*")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	if s.binary == "" {
		if s.binary, err = build(ctx, dir); err != nil {
			return err
		}
	} else if s.binary, err = filepath.Abs(s.binary); err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	r, err := measure(ctx, dir, s)
	if err != nil {
		return err
	}
	text := r.markdown()
	fmt.Print(text)
	if s.out == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return fmt.Errorf("make the directory of the report: %w", err)
	}
	for name, content := range map[string][]byte{"start.md": []byte(text), "start.json": append(data, '\n')} {
		if err := os.WriteFile(filepath.Join(s.out, name), content, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// build builds the program with the flags of "make build".
func build(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/sealpost/sealpost").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	binary := filepath.Join(dir, "sealpost")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/sealpost")
	cmd.Dir = strings.TrimSpace(string(out))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sealpost: %w\n%s", err, out)
	}
	return binary, nil
}
