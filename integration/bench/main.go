// Bench measures Sealpost beside what people would use instead, on this machine,
// and prints one table.
//
// A scenario has sides: Sealpost, its peers, and where there is one the limit of
// what is below them. The sides take turns within each round, and the medians of
// all rounds are compared, with the processor time for each item, which is
// steadier than a rate on a machine that others use too. Each side is a process
// of its own that is told what to do by lines of JSON (wire.go), so that it is
// known what each has used.
//
// It is a module of its own, so that nobody who uses Sealpost depends on its
// peers. Those of npm are installed into a cache of the user's. A peer that cannot
// be installed is left out, and the table says why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	only   []string // scenarios; none: all
	rounds int
	jobs   int // no-op jobs of one turn
	short  bool
	aof    bool
	out    string
	cache  string
	note   string

	profiles string // directory
}

// scenarios are all there are, in the order of the table.
func scenarios() []scenario {
	return []scenario{drain{}, both{}, latency{}, mails{}, mails{far: true}, wholeMail{}, wholeSQS{}, wholeSQS{fauxqs: true}, environment{}, partitions{}}
}

// run reads the flags, and measures, prints and writes the report, or does what a
// side has to do.
func run(ctx context.Context) error {
	s, child, err := parse()
	if err != nil {
		return err
	}
	if child != "" {
		return serve(ctx, child, s.profiles)
	}
	w, err := newWorld(s)
	if err != nil {
		return err
	}
	defer w.close()
	r, err := newReport(ctx, w)
	if err != nil {
		return err
	}
	var failed []error
	for _, sc := range scenarios() {
		if len(s.only) > 0 && !slices.Contains(s.only, sc.name()) || ctx.Err() != nil {
			continue
		}
		got, err := w.play(ctx, sc)
		if err != nil { // what others have shown stands
			failed = append(failed, fmt.Errorf("%s: %w", sc.name(), err))
			continue
		}
		r.take(sc.name(), got)
	}
	fmt.Print(r.markdown())
	if s.out != "" {
		failed = append(failed, r.write(s.out))
	}
	return errors.Join(append(failed, ctx.Err())...)
}

// parse reads the flags; child is the side that this process is, if any.
func parse() (s settings, child string, err error) {
	only := flag.String("only", "", "scenarios, with commas between: "+strings.Join(names(), ","))
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; medians are compared")
	flag.IntVar(&s.jobs, "jobs", 200_000, "no-op jobs of a turn; slower peers get an eighth")
	flag.BoolVar(&s.short, "short", false, "one round with little work: does it still run")
	flag.BoolVar(&s.aof, "aof", false, "Redis with an append-only file, flushed each second")
	flag.StringVar(&s.out, "out", "", "directory for all.md and all.json, where scenarios that do not run now keep their figures; none: print only")
	flag.StringVar(&s.cache, "cache", "", "directory for the peers from npm (the user's cache)")
	flag.StringVar(&s.note, "note", "", "a sentence for the report, such as what else the machine does")
	flag.StringVar(&s.profiles, "profiles", "", "directory for CPU profiles of the sides in Go; none: no profiles")
	flag.StringVar(&child, "child", "", "be one side (used by the benchmark itself)")
	flag.Parse()
	if *only != "" {
		s.only = strings.Split(*only, ",")
	}
	for _, name := range s.only {
		if !slices.Contains(names(), name) {
			return s, "", fmt.Errorf("-only %q: want some of %s", name, strings.Join(names(), ","))
		}
	}
	if s.short {
		s.rounds, s.jobs = 1, min(s.jobs, 2000)
	}
	if s.jobs < 1000 || s.rounds < 1 {
		return s, "", errors.New("-jobs and -rounds: want at least 1000 and 1")
	}
	if s.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return s, "", fmt.Errorf("find the user's cache, or say -cache: %w", err)
		}
		s.cache = filepath.Join(dir, "sealpost-bench")
	}
	return s, child, nil
}

// names are those of the scenarios.
func names() []string {
	var out []string
	for _, sc := range scenarios() {
		out = append(out, sc.name())
	}
	return out
}

// sizes are those that a scenario is measured at: all, or the first in a short run.
func (s settings) sizes(all []int) []int {
	if s.short {
		return all[:1]
	}
	return all
}

// some is how much work a turn has: n, or little of it in a short run.
func (s settings) some(n int) int {
	if s.short {
		return max(n/50, 20)
	}
	return n
}
