// Bench measures the queue alone beside asynq, on the same Redis, in one run.
//
// Both enqueue jobs of the same size and drain them with a handler that does
// nothing but count, at several concurrencies. The peers take turns within
// each round and the medians of all rounds are printed, with the CPU time of
// the client and of Redis for each job, which is steadier than a rate on a
// machine that is shared. What one reader and pipelined acknowledgements can
// do without any queue around them is measured too: no queue on Redis Streams
// can be faster.
//
// It is a module of its own, so that nobody who uses Sealpost depends on asynq.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/sealpost/sealpost/integration/peers"
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
	jobs        int // of each peer but asynq
	asynqJobs   int // fewer: it takes several times as long
	rounds      int
	concurrency []int
	out         string
	aof         bool
}

// run reads the flags, measures, prints and writes the report.
func run(ctx context.Context) error {
	s, err := parse()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sealpost-bench-*")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	appendOnly := "no"
	if s.aof {
		appendOnly = "yes"
	}
	redis, err := peers.StartRedis(dir, "--appendonly", appendOnly)
	if err != nil {
		return err
	}
	defer redis.Kill()

	rows, err := measure(ctx, redis, s)
	if err != nil {
		return err
	}
	r, err := newReport(ctx, redis, s, rows)
	if err != nil {
		return err
	}
	fmt.Print(r.markdown())
	if s.out == "" {
		return nil
	}
	return r.write(s.out)
}

// parse reads the flags.
func parse() (settings, error) {
	var s settings
	flag.IntVar(&s.jobs, "jobs", 200_000, "jobs of a round")
	flag.IntVar(&s.asynqJobs, "asynq-jobs", 0, "jobs of a round of asynq (a quarter of -jobs)")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; medians are reported")
	levels := flag.String("concurrency", "10,50,200", "jobs at once")
	flag.StringVar(&s.out, "out", "", "directory for queue.md and queue.json; none: print only")
	flag.BoolVar(&s.aof, "aof", false, "Redis with an append-only file, flushed each second")
	flag.Parse()
	for _, text := range strings.Split(*levels, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return s, fmt.Errorf("-concurrency %q: want numbers from 1 with commas between", *levels)
		}
		s.concurrency = append(s.concurrency, n)
	}
	if s.asynqJobs == 0 {
		s.asynqJobs = max(s.jobs/4, 100)
	}
	if s.jobs < 1 || s.rounds < 1 {
		return s, fmt.Errorf("-jobs and -rounds: want at least 1")
	}
	return s, nil
}
