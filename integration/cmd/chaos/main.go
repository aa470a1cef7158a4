// Chaos kills workers while they send mail and says what was lost: one line,
//
//	accepted 10000, delivered 10000, dead 0, lost 0, duplicated 12, kills 9, 10.2 s
//
// and exit code 1 if that is not nothing. See package chaos for what it does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/sealpost/sealpost/integration/chaos"
	"github.com/sealpost/sealpost/integration/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// run reads the flags, does one run and prints it.
func run(ctx context.Context) (err error) {
	var c chaos.Config
	flag.IntVar(&c.Jobs, "jobs", 10_000, "mails to send")
	flag.IntVar(&c.Workers, "workers", 2, "processes that work at once")
	flag.DurationVar(&c.Interval, "interval", 0, "time between two kills (1s)")
	flag.Uint64Var(&c.Seed, "seed", 1, "which workers are killed")
	root := flag.String("root", ".", "the checkout to build")
	asJSON := flag.Bool("json", false, "print JSON")
	quiet := flag.Bool("quiet", false, "no line for each kill")
	flag.Parse()

	if c.Dir, err = os.MkdirTemp("", "sealpost-chaos-*"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if !*quiet {
		c.Logf = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	if c.Binary, err = program.Build(*root, c.Dir); err != nil {
		return err
	}
	result, err := chaos.Run(ctx, c)
	if *asJSON {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(result))
	} else {
		fmt.Println(result)
	}
	if err = errors.Join(err, result.Err()); err != nil {
		return fmt.Errorf("%w\nthe logs are in %s\n%s", err, c.Dir, lastLines(c.Dir))
	}
	return os.RemoveAll(c.Dir)
}

// lastLines is the end of each server's log.
func lastLines(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "serve-*.log")) // the pattern is good
	var all strings.Builder
	for _, name := range names[max(0, len(names)-3):] {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it is only a help
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(name), strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return all.String()
}
