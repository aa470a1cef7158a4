package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Standing is how well this Redis keeps the promise of the durability level now.
// In a cluster it is that of the primary with the fewest replicas, and the worst
// appendfsync.
type Standing struct {
	Level       Durability
	Replicas    int           // connected and up to date with the stream
	AppendFsync string        // "always", "everysec", "no", "off" without a file, "" if Redis does not tell
	Waited      time.Time     // when the last wait of this process ended; zero: none yet
	Took        time.Duration // the last enqueue with its wait
	Failed      error         // what the last wait came to; nil: acknowledged
}

// String is for /readyz?verbose.
func (s Standing) String() string {
	parts := []string{string(s.Level), fmt.Sprintf("%d replicas connected", s.Replicas), "appendfsync " + orNotTold(s.AppendFsync)}
	switch {
	case s.Waited.IsZero():
	case s.Failed != nil:
		parts = append(parts, "last enqueue not acknowledged, "+time.Since(s.Waited).Round(time.Second).String()+" ago")
	default:
		parts = append(parts, "last enqueue acknowledged in "+s.Took.Round(100*time.Microsecond).String())
	}
	return strings.Join(parts, "; ")
}

func orNotTold(s string) string {
	if s == "" {
		return "not told"
	}
	return s
}

// Standing asks every primary. ErrNoDurability if the level cannot be kept: then
// every enqueue fails.
func (c *Client) Standing(ctx context.Context) (Standing, error) {
	s := Standing{Level: c.opts.Durability, Replicas: -1}
	if last := c.acked.Load(); last != nil {
		s.Waited, s.Took, s.Failed = last.at, last.took, last.err
	}
	var mu sync.Mutex
	err := c.eachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		replicas, facts, err := readStanding(ctx, node)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if s.Replicas < 0 || replicas < s.Replicas {
			s.Replicas = replicas
		}
		s.AppendFsync = worse(s.AppendFsync, facts)
		return c.suffices(replicas, facts)
	})
	s.Replicas = max(s.Replicas, 0)
	return s, err
}

// suffices is ErrNoDurability if a primary cannot keep the level.
func (c *Client) suffices(replicas int, facts diskFacts) error {
	switch {
	case c.opts.Durability == Replica && replicas == 0:
		return fmt.Errorf("%w: level replica needs a connected replica: attach one, or set SEALPOST_DURABILITY to memory", ErrNoDurability)
	case c.opts.Durability == Disk:
		_, err := facts.waits()
		return err
	}
	return nil
}

func (c *Client) eachPrimary(ctx context.Context, do func(context.Context, *redis.Client) error) error {
	switch rdb := c.rdb.(type) {
	case *redis.Client:
		return do(ctx, rdb)
	case *redis.ClusterClient:
		return rdb.ForEachMaster(ctx, do)
	}
	return fmt.Errorf("%w: want a client of one server, of sentinels or of a cluster, not %T", ErrNoDurability, c.rdb)
}

// readStanding counts the replicas that follow the node, and looks at its disk. A
// server that has no such INFO (in memory, for development) has neither.
func readStanding(ctx context.Context, node *redis.Client) (int, diskFacts, error) {
	text, err := node.Info(ctx, "replication").Result()
	if _, refused := errors.AsType[redis.Error](err); refused {
		return 0, diskFacts{aof: "0"}, nil
	}
	if err != nil {
		return 0, diskFacts{}, fmt.Errorf("ask Redis for its replicas: %w", err)
	}
	replicas := 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		if strings.HasPrefix(name, "slave") && strings.Contains(value, "state=online") {
			replicas++
		}
	}
	facts, err := readDisk(ctx, node)
	return replicas, facts, err
}

// worse returns the appendfsync that promises less: of what was seen, and of facts.
func worse(seen string, facts diskFacts) string {
	now := facts.fsync
	if facts.aof == "0" {
		now = "off"
	}
	for _, s := range []string{"off", "no", "everysec", "always"} {
		if seen == s || now == s {
			return s
		}
	}
	return ""
}
