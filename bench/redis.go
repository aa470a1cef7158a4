package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

// family is what the keys of all runs begin with; then come the Unix time of the
// start and random letters.
const family = "sealpost-bench-"

// stale is the age from which on a run is surely over: its process was killed.
const stale = 24 * time.Hour

// jobBytes is what a job may take in Redis at most: 350 in the stream, 200 for the
// record of its attempt while others wait, 100 for its id at a level above memory,
// and room for how allocators round up.
const jobBytes = 1000

// ErrNoRoom says that Redis has not the memory for so many jobs.
var ErrNoRoom = errors.New("bench: not enough memory in Redis")

// ErrLeft says that keys of the run are still in Redis.
var ErrLeft = errors.New("bench: keys are left in Redis")

// roomFor refuses a run that would fill Redis. Without a maxmemory Redis may use the
// half of what its machine has.
func roomFor(ctx context.Context, c Config) error {
	nodes, err := infos(ctx, c.Redis, "memory")
	if err != nil {
		return fmt.Errorf("ask Redis for its memory: %w", err)
	}
	need := int64(c.Jobs) * jobBytes
	for _, node := range nodes {
		used, ok := node.number("used_memory")
		if !ok {
			continue // Redis in memory, for development, does not tell
		}
		most, _ := node.number("maxmemory")
		if machine, ok := node.number("total_system_memory"); most == 0 && ok {
			most = machine / 2
		}
		if most > 0 && int64(used)+need > int64(most) {
			const mb = 1 << 20
			return fmt.Errorf("%w: %d jobs may take %d MB, and %d MB of %d MB are free; take fewer jobs",
				ErrNoRoom, c.Jobs, need/mb, max(int64(most-used), 0)/mb, int64(most)/mb)
		}
	}
	return nil
}

// info is a section of INFO by name.
type info map[string]string

// number is a field that is a number.
func (i info) number(name string) (float64, bool) {
	n, err := strconv.ParseFloat(i[name], 64)
	return n, err == nil
}

// onPrimaries calls do for each primary of a cluster, or for the one server. Calls
// may run side by side.
func onPrimaries(ctx context.Context, rdb redis.UniversalClient, do func(context.Context, redis.UniversalClient) error) error {
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return do(ctx, node) })
	}
	return do(ctx, rdb)
}

// infos are the sections of all primaries. A server that does not know the section
// has none, and that is no error.
func infos(ctx context.Context, rdb redis.UniversalClient, section string) ([]info, error) {
	var mu sync.Mutex
	var all []info
	err := onPrimaries(ctx, rdb, func(ctx context.Context, node redis.UniversalClient) error {
		text, err := node.Info(ctx, section).Result()
		if _, refused := errors.AsType[redis.Error](err); err != nil && !refused {
			return err
		}
		i := info{}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				i[name] = value
			}
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, i)
		return nil
	})
	return all, err
}

// redisCPU is the processor time that all primaries have used; ok if they tell.
func redisCPU(ctx context.Context, rdb redis.UniversalClient) (used time.Duration, ok bool) {
	nodes, err := infos(ctx, rdb, "cpu")
	if err != nil {
		return 0, false
	}
	for _, node := range nodes {
		for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
			seconds, told := node.number(name)
			if !told {
				return 0, false
			}
			used += time.Duration(seconds * float64(time.Second))
		}
	}
	return used, len(nodes) > 0
}

// samples of a stream's nodes that MEMORY USAGE looks at: of all it would hold up
// Redis for as long as a large stream takes.
const samples = 1000

// waiting is what a waiting job takes in Redis, nil if Redis does not tell.
func (r *run) waiting(ctx context.Context) *float64 {
	sum := 0.0
	for p := range r.Partitions {
		n, err := r.Redis.MemoryUsage(ctx, queue.StreamKey(r.prefix, p), samples).Result()
		if errors.Is(err, redis.Nil) {
			continue // it got no job
		}
		if err != nil {
			return nil
		}
		sum += float64(n)
	}
	return new(sum / float64(r.Jobs))
}

// page is how many keys Redis looks at in one step of a scan.
const page = 1000

// clean removes all keys of a run, and those of runs that were killed long ago.
func clean(ctx context.Context, rdb redis.UniversalClient, prefix string) error {
	err := onPrimaries(ctx, rdb, func(ctx context.Context, node redis.UniversalClient) error {
		for cursor := uint64(0); ; {
			keys, next, err := node.Scan(ctx, cursor, family+"*", page).Result()
			if err != nil {
				return err
			}
			pipe := node.Pipeline() // one key a command: those of a batch may be in several slots
			for _, key := range keys {
				if strings.HasPrefix(key, prefix+":") || isStale(key, time.Now()) {
					pipe.Unlink(ctx, key)
				}
			}
			if pipe.Len() > 0 {
				if _, err := pipe.Exec(ctx); err != nil {
					return err
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
	if err != nil {
		return fmt.Errorf("%w, remove those that begin with %s: %w", ErrLeft, prefix, err)
	}
	return nil
}

// isStale says whether a key is one of a run that began long ago.
func isStale(key string, now time.Time) bool {
	text, ok := strings.CutPrefix(key, family)
	if !ok {
		return false
	}
	text, _, _ = strings.Cut(text, "-")
	began, err := strconv.ParseInt(text, 10, 64)
	return err == nil && now.Sub(time.Unix(began, 0)) > stale
}
