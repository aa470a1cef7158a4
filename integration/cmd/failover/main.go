// Failover kills the primary of a Redis with replicas under load and says what was
// lost, one line for each kind of Redis and level of durability. Exit code 1 if an
// acknowledged job was lost at a level that promises to keep it. See package failover.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/sealpost/sealpost/integration/failover"
	"github.com/sealpost/sealpost/queue"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var c failover.Config
	flag.IntVar(&c.Failovers, "failovers", 20, "kills of each run")
	flag.DurationVar(&c.Least, "least", 0, "shortest lag of replication (200ms)")
	flag.DurationVar(&c.Most, "most", 0, "longest lag of replication (500ms)")
	quiet := flag.Bool("quiet", false, "no line for each failover")
	kinds := flag.String("redis", "sentinel,cluster", "kinds of Redis")
	levels := flag.String("level", "replica,memory", "levels of durability")
	flag.Parse()
	redis.SetLogger(&logging.VoidLogger{}) // each failover breaks all connections
	if !*quiet {
		c.Logf = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	var errs []error
	for kind := range strings.SplitSeq(*kinds, ",") {
		if c.Cluster = kind == "cluster"; !c.Cluster && kind != "sentinel" {
			return fmt.Errorf("-redis %s: want sentinel or cluster", kind)
		}
		for level := range strings.SplitSeq(*levels, ",") {
			if c.Level = queue.Durability(level); c.Level != queue.Replica && c.Level != queue.Memory {
				return fmt.Errorf("-level %s: want replica or memory", level)
			}
			errs = append(errs, one(ctx, c))
		}
	}
	return errors.Join(errs...)
}

// one does one run and prints it. At level memory a loss is what it costs.
func one(ctx context.Context, c failover.Config) (err error) {
	if c.Dir, err = os.MkdirTemp("", "sealpost-failover-*"); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	result, err := failover.Run(ctx, c)
	if err != nil {
		return fmt.Errorf("%w\nthe logs are in %s", err, c.Dir)
	}
	fmt.Println(result)
	if c.Level != queue.Memory && result.Err() != nil {
		return fmt.Errorf("%w\nthe logs are in %s", result.Err(), c.Dir)
	}
	return os.RemoveAll(c.Dir)
}
