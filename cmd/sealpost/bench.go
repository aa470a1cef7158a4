package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/bench"
	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/queue"
)

func (a *app) benchCommand() *cobra.Command {
	return group("bench", "Measure Sealpost on your own Redis", a.benchQueueCommand())
}

func (a *app) benchQueueCommand() *cobra.Command {
	var c bench.Config
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "How many jobs a second this Redis takes and gives, and how soon a job starts",
		Long: "Enqueues no-op jobs in bulk and drains them with the whole protocol on; then sends jobs one by\n" +
			"one at a steady rate and takes the time from enqueue to start. It works on the Redis of\n" +
			"SEALPOST_REDIS_URL, under keys of its own (sealpost-bench-*) that it removes at the end, also\n" +
			"after Ctrl-C: no real job is touched. It takes as much of Redis as it can get, so real\n" +
			"jobs are slower meanwhile. Needs no master key. Sealpost beside other queues: `make bench`.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkBench(c); err != nil {
				return err
			}
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			c.Partitions, c.Durability = cfg.Partitions, queue.Durability(cfg.Durability)
			if c.Slots < c.Partitions {
				return usage("--slots: want at least one for each of the %d partitions", c.Partitions)
			}
			return a.benchQueue(cmd.Context(), cfg, c)
		},
	}
	cmd.Flags().IntVar(&c.Jobs, "jobs", bench.DefaultJobs, "jobs to enqueue and to drain")
	cmd.Flags().IntVar(&c.Slots, "slots", bench.DefaultSlots, "jobs at once")
	cmd.Flags().IntVar(&c.Rate, "rate", bench.DefaultRate, "jobs a second whose start is timed")
	cmd.Flags().DurationVar(&c.For, "for", bench.DefaultFor, "how long those are sent")
	settingFlags(cmd, "SEALPOST_REDIS_URL", "SEALPOST_PARTITIONS", "SEALPOST_DURABILITY")
	return cmd
}

// checkBench refuses what no run can be made of.
func checkBench(c bench.Config) error {
	for _, f := range []struct {
		name     string
		is, most int
	}{{"jobs", c.Jobs, bench.MaxJobs}, {"slots", c.Slots, bench.MaxSlots}, {"rate", c.Rate, bench.MaxRate}} {
		if f.is < 1 || f.is > f.most {
			return usage("--%s: want 1 to %d", f.name, f.most)
		}
	}
	if c.For <= 0 || c.For > bench.MaxFor || float64(c.Rate)*c.For.Seconds() < 1 {
		return usage("--for: want up to %v, and with --rate at least one job", bench.MaxFor)
	}
	return nil
}

// reachLimit is for the first answer of Redis.
const reachLimit = 5 * time.Second

// benchQueue looks whether Redis is there and fit, measures and prints.
func (a *app) benchQueue(ctx context.Context, cfg config.Config, c bench.Config) error {
	options := cfg.Redis.Options()
	options.PoolSize = cfg.Partitions + queue.SettleCalls + 10*runtime.GOMAXPROCS(0) // as serve has it
	rdb := redis.NewUniversalClient(options)
	defer rdb.Close()
	reach, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	facts, err := factsOfAll(reach, rdb)
	if err != nil {
		return fmt.Errorf("no answer from Redis at %s; start Redis there, or set SEALPOST_REDIS_URL: %w", cfg.Redis, err)
	}
	for _, f := range facts {
		if f.evicts() {
			return fmt.Errorf("the Redis at %s has maxmemory-policy %s: it %w", cfg.Redis, f.policy, errEvicts)
		}
	}
	c.Redis = rdb
	bar := a.progress("bench", 0)
	c.Progress = func(stage string, done, of int64) { bar.at(done, fmt.Sprintf("%s: %d of %d", stage, done, of)) }
	result, err := bench.Run(ctx, c)
	bar.end()
	switch {
	case ctx.Err() != nil && !errors.Is(err, bench.ErrLeft):
		return errors.New("broken off; the keys of the run are removed")
	case err != nil:
		return err
	}
	return a.printBench(result)
}

// printBench prints what was measured.
func (a *app) printBench(r bench.Result) error {
	if a.asJSON() {
		return a.printJSON(r)
	}
	of := func(v *float64, unit string) string {
		if v == nil {
			return "Redis does not tell"
		}
		return fmt.Sprintf("%.1f %s", *v, unit)
	}
	return a.printPairs(
		[2]string{"jobs", fmt.Sprintf("%d, %d at once, partitions %d, durability %s", r.Jobs, r.Concurrency, r.Partitions, r.Durability)},
		[2]string{"enqueue", fmt.Sprintf("%.0f jobs/s, for %.2f s, by 100", r.EnqueuePerSecond, r.EnqueueSeconds)},
		[2]string{"drain", fmt.Sprintf("%.0f jobs/s, for %.2f s", r.DrainPerSecond, r.DrainSeconds)},
		[2]string{"enqueue to start", fmt.Sprintf("p50 %.2f ms, p99 %.2f ms, longest %.2f ms", r.P50, r.P99, r.Max)},
		[2]string{"  at a rate of", fmt.Sprintf("%.0f jobs/s of %d, for %.1f s, %d jobs", r.PacedPerSecond, r.PacedRate, r.PacedSeconds, r.PacedJobs)},
		[2]string{"CPU of a job", of(r.ClientCPU, "µs here") + ", " + of(r.RedisCPU, "µs of Redis, which others may share")},
		[2]string{"waiting job", of(r.Bytes, "bytes of Redis")},
		[2]string{"round trip", strconv.FormatFloat(r.Ping, 'f', 3, 64) + " ms to Redis"},
	)
}
