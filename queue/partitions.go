package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// MaxPartitions is the most partitions a queue may have.
const MaxPartitions = 256

// lookEach is how long a process goes on with the number of partitions it knows:
// the longest that a job waits which was put into one more by a newer process.
const lookEach = time.Minute

// reach knows all partitions that ever had jobs, so that none is forgotten when
// the number is made smaller: the highest number that any process ever had is
// in Redis, in a key that only grows.
type reach struct {
	prefix string
	own    int // of this process; jobs are put into these

	mu     sync.Mutex // one looks, the others wait for what it finds
	parts  atomic.Pointer[[]keys]
	looked atomic.Int64 // Unix ns of the last look; 0: none yet
}

func newReach(prefix string, own int) *reach {
	r := &reach{prefix: prefix, own: own}
	r.grow(own)
	return r
}

// grow makes the keys of n partitions known.
func (r *reach) grow(n int) []keys {
	var list []keys
	if was := r.parts.Load(); was != nil {
		list = append(list, *was...)
	}
	for p := len(list); p < min(n, MaxPartitions); p++ {
		list = append(list, newKeys(r.prefix, p))
	}
	r.parts.Store(&list)
	return list
}

// look returns all partitions. Once a minute it asks Redis for the highest number
// and tells it our own. An error means that Redis did not answer; the partitions
// are those known so far.
func (r *reach) look(ctx context.Context, rdb redis.UniversalClient) ([]keys, error) {
	if r.fresh() {
		return *r.parts.Load(), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fresh() {
		return *r.parts.Load(), nil
	}
	return r.ask(ctx, rdb)
}

func (r *reach) fresh() bool {
	at := r.looked.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < lookEach
}

func (r *reach) ask(ctx context.Context, rdb redis.UniversalClient) ([]keys, error) {
	key := newKeys(r.prefix, 0).highest()
	var highest int
	var err error
	if r.own == 1 { // partition 0 always exists: nothing to tell
		highest, err = rdb.Get(ctx, key).Int()
		if errors.Is(err, redis.Nil) {
			highest, err = 1, nil
		}
	} else {
		highest, err = scriptHighest.Run(ctx, rdb, []string{key}, r.own).Int()
	}
	if err != nil {
		return *r.parts.Load(), fmt.Errorf("read the number of partitions: %w", err)
	}
	r.looked.Store(time.Now().UnixNano())
	return r.grow(highest), nil
}

// all returns every partition that may hold jobs. If Redis does not answer, the
// caller's own call will say so.
func (c *Client) all(ctx context.Context) []keys {
	list, _ := c.reach.look(ctx, c.rdb)
	return list
}

// partitions are those that this pool reads.
func (p *Pool) partitions() []*partition { return *p.parts.Load() }

// addPartitions makes it n, if it is less, and returns the new ones.
func (p *Pool) addPartitions(n int) []*partition {
	var list []*partition
	if was := p.parts.Load(); was != nil {
		list = append(list, *was...)
	}
	had := len(list)
	for i := had; i < n; i++ {
		list = append(list, &partition{
			pool: p, index: i, keys: newKeys(p.cfg.Prefix, i), cursor: reclaimStart, foreign: i >= p.cfg.Partitions,
		})
	}
	p.parts.Store(&list)
	return list[had:]
}

// watchPartitions looks for partitions that other processes use, now or before,
// and has them read. Those of a higher number than ours are read until the end:
// another process may put jobs into them at any time.
func (p *Pool) watchPartitions(ctx context.Context, read func(*partition)) {
	for failures := 0; ctx.Err() == nil; {
		list, err := p.client.reach.ask(ctx, p.rdb)
		if err != nil {
			if ctx.Err() == nil {
				p.trouble("partitions", err)
			}
			failures++
			pause(ctx, failures)
			continue
		}
		failures = 0
		for _, part := range p.addPartitions(len(list)) {
			p.log.Info("reading a partition of another number of partitions", "partition", part.index, "partitions", p.cfg.Partitions)
			read(part)
		}
		wait(ctx, jittered(p.each(p.cfg.look)))
	}
}
