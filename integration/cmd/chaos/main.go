// Chaos breaks an installation while it sends mail and says what was lost: one
// line, the causes of the duplicates, and exit code 1 if a job is lost, a
// duplicate has no cause, or a time that docs/reliability.md promises is missed. See package drill for what it does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/sealpost/sealpost/drill"
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
	c := drill.Config{Judge: true}
	flag.IntVar(&c.Jobs, "jobs", 10_000, "mails to send")
	flag.IntVar(&c.Workers, "workers", 2, "processes that work at once")
	flag.IntVar(&c.Connections, "connections", 0, "of a worker to the mail server (the default of secrets, 4)")
	flag.DurationVar(&c.WorkerEach, "interval", 0, "time between two kills of workers (1s)")
	flag.DurationVar(&c.RedisEach, "redis-interval", 0, "time between two kills of redis-server (5s)")
	flag.BoolVar(&c.Quiet, "quiet-server", false, "kill only workers: no faults of server and lines, no kills of redis-server, one password")
	flag.DurationVar(&c.Rolling, "rolling", 0, "no faults: restart one worker after the other at this interval, by SIGTERM")
	flag.BoolVar(&c.Outages, "outages", false, "no faults but the kills of redis-server: how soon does work go on?")
	soak := flag.Duration("soak", 0, "no kills: measure the workers for so long, with hostile mail servers among the good")
	flag.DurationVar(&c.For, "for", 10*time.Minute, "how long -rolling and -outages last")
	flag.IntVar(&c.Rate, "rate", 100, "jobs a second of -rolling, -outages and -soak; with -jobs, as many as are done unless it is given")
	flag.Uint64Var(&c.Seed, "seed", 1, "which mails are spoilt and which workers are killed")
	root := flag.String("root", ".", "the checkout to build")
	asJSON := flag.Bool("json", false, "print JSON")
	quiet := flag.Bool("quiet", false, "no progress")
	flag.Parse()
	if c.Soak = *soak > 0; c.Soak {
		c.For = *soak
	}
	if c.Rolling > 0 || c.Outages || c.Soak {
		c.Jobs = 0
	} else {
		c.For = 0
		if !given("rate") {
			c.Rate = 0
		}
	}

	if c.Dir, err = os.MkdirTemp("", "sealpost-chaos-*"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	if !*quiet {
		c.Progress = everySecond()
	}
	if c.Binary, err = program.Build(*root, c.Dir); err != nil {
		return err
	}
	result, err := drill.Run(ctx, c)
	if *asJSON {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(result))
	} else {
		fmt.Println(result)
		for cause, n := range result.Causes {
			fmt.Printf("%8d  %s\n", n, cause)
		}
		for _, facts := range result.Unknown {
			fmt.Println(facts)
		}
	}
	if err = errors.Join(err, result.Err()); err != nil {
		return fmt.Errorf("%w\nthe logs are in %s", err, c.Dir)
	}
	return os.RemoveAll(c.Dir)
}

// everySecond prints where a run is, once a second.
func everySecond() func(drill.Progress) {
	var last time.Time
	return func(p drill.Progress) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintf(os.Stderr, "%4.0f s: %d accepted, %d delivered, %d mails; killed %d workers, %d redis-servers\n",
			p.Seconds, p.Accepted, p.Delivered, p.Arrivals, p.Kills, p.RedisKills)
	}
}

// given reports whether a flag was set.
func given(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}
