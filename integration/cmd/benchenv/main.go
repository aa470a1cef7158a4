// Benchenv measures how fast the built program answers GET /environment, beside
// a bare net/http handler that has the answer already, one that does one GET of
// Redis for it, and the program itself on a store of many secrets.
//
// All are processes of their own, take turns within each round, and answer the same bytes to the same load generator; medians of all rounds
// are printed, with the processor time of the server for each request, which is
// steadier than a rate on a machine that is shared.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchenv:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	rounds      int
	connections int
	turn        time.Duration // that one peer is under load in a round
	secrets     int           // of the large store that the analysis may not see
	load        string        // generator
	by          string        // its name
	out         string
	bare        string // address: be the bare handler
	redis       string // address of its Redis
}

// run reads the flags, measures, prints and writes the report.
func run(ctx context.Context) error {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; medians are reported")
	flag.IntVar(&s.connections, "connections", 64, "connections, each with one request at a time")
	flag.DurationVar(&s.turn, "for", 4*time.Second, "how long one peer is under load in a round")
	flag.IntVar(&s.secrets, "others", 100_000, "secrets of the large store that the analysis may not see, with a tenth as many policies; 0: no large store")
	flag.StringVar(&s.load, "load", loadAuto, "what makes the load: wrk, own, or auto for wrk if it is there")
	flag.StringVar(&s.out, "out", "", "directory for environment.md and environment.json; none: print only")
	flag.StringVar(&s.bare, "bare", "", "be the bare handler on this address (used by the benchmark itself)")
	flag.StringVar(&s.redis, "redis", "", "address of the Redis of the bare handler")
	flag.Parse()
	if s.bare != "" {
		return serveBare(ctx, s.bare, s.redis)
	}
	if s.rounds < 1 || s.connections < 1 || s.turn <= 0 || s.secrets < 0 {
		return fmt.Errorf("-rounds, -connections, -for and -others: want positive numbers")
	}
	var wrk string
	var err error
	if wrk, s.by, err = generator(s.load, s.turn); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sealpost-benchenv-*")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(ctx, dir, s)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	rows, err := measure(ctx, w, s, wrk)
	if err != nil {
		return err
	}
	text := markdown(s, w, rows)
	fmt.Print(text)
	if s.out == "" {
		return nil
	}
	data, err := s.data(w, rows)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return fmt.Errorf("make the directory of the report: %w", err)
	}
	for name, content := range map[string][]byte{"environment.md": []byte(text), "environment.json": data} {
		if err := os.WriteFile(filepath.Join(s.out, name), content, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}
