package queuetest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

// NewRedis returns a Redis and a key prefix that nothing else uses.
type NewRedis func(testing.TB) (redis.UniversalClient, string)

// Conform checks every move of the protocol (queue/DESIGN.md), and what a
// crash before and after it leaves, on the Redis that newRedis gives. The rules
// run at the same time, each with a prefix of its own.
func Conform(t *testing.T, newRedis NewRedis) {
	for _, group := range [][]rule{basicRules, outcomeRules, partRules, gateRules, besideRules, causeRules, pauseRules, checkRules, deliveryRules, placeRules, crashRules, drainRules, recallRules} {
		for _, r := range group {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				rdb, prefix := newRedis(t)
				r.check(t, newRig(t, rdb, prefix))
			})
		}
	}
}

// rule is one sentence of the protocol.
type rule struct {
	name  string
	check func(*testing.T, *rig)
}

// rig is a queue of one test.
type rig struct {
	t      *testing.T
	ctx    context.Context
	rdb    redis.UniversalClient
	prefix string
	base   string // of every key of partition 0
	client *queue.Client
}

func newRig(t *testing.T, rdb redis.UniversalClient, prefix string) *rig {
	r := &rig{t: t, ctx: context.Background(), rdb: rdb, prefix: prefix}
	r.base = strings.TrimSuffix(queue.StreamKey(prefix, 0), "jobs")
	r.client = queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	return r
}

// config is a pool's: short leases, and retries that come at once.
func (r *rig) config() queue.PoolConfig {
	return queue.PoolConfig{
		Redis: r.rdb, Prefix: r.prefix, Slots: 16, LaneSlots: 8, Lease: queue.MinLease, Grace: 5 * time.Second,
		Backoff: func(int) time.Duration { return time.Millisecond }, Name: "tester",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// run starts a pool.
func (r *rig) run(do Func) (h *Handler, stop func()) {
	r.t.Helper()
	h = &Handler{Do: do}
	return h, Run(r.t, r.config(), h)
}

// enqueue puts one job and returns its id. extra is more fields, as JSON.
func (r *rig) enqueue(extra ...string) string {
	r.t.Helper()
	receipts, err := r.client.Enqueue(r.ctx, Job(extra...))
	if err != nil {
		r.t.Fatalf("Enqueue: %v", err)
	}
	return receipts[0].ID
}

// Job returns the JSON of a job with more fields, such as `"id":"a"`.
func Job(extra ...string) json.RawMessage {
	return json.RawMessage(`{` + strings.Join(append([]string{`"action":{"type":"test"}`}, extra...), ",") + `}`)
}

// state is where the job is, "" if nowhere.
func (r *rig) state(id string) queue.State {
	s, err := r.client.Show(r.ctx, id)
	if err != nil {
		return ""
	}
	return s.State
}

// becomes waits until the job is in state, and returns all that is known then.
func (r *rig) becomes(id string, state queue.State) queue.Status {
	r.t.Helper()
	Eventually(r.t, "job "+id+" becomes "+string(state), func() bool { return r.state(id) == state })
	s, err := r.client.Show(r.ctx, id)
	if err != nil {
		r.t.Fatalf("Show: %v", err)
	}
	return s
}

// nothingLeft fails if an ended job left something behind besides its log.
func (r *rig) nothingLeft() {
	r.t.Helper()
	for _, key := range []string{"due", "body", "dead", "moved", "cancel", "mark", "parks"} {
		if n, err := r.rdb.Exists(r.ctx, r.base+key).Result(); err != nil || n != 0 {
			r.t.Errorf("key %q: got %d, %v; want none", key, n, err)
		}
	}
	if n, err := r.rdb.XLen(r.ctx, r.base+"jobs").Result(); err != nil || n != 0 {
		r.t.Errorf("stream: got %d entries, %v; want 0", n, err)
	}
	if p, err := r.rdb.XPending(r.ctx, r.base+"jobs", "w").Result(); err == nil && p.Count != 0 {
		r.t.Errorf("pending: got %d, want 0", p.Count)
	}
}

// steal gives a running entry to another consumer, as if its lease had run out
// long ago, and returns its id.
func (r *rig) steal() string {
	r.t.Helper()
	var eid string
	Eventually(r.t, "an entry is pending", func() bool {
		p, err := r.rdb.XPendingExt(r.ctx, &redis.XPendingExtArgs{Stream: r.base + "jobs", Group: "w", Start: "-", End: "+", Count: 1}).Result()
		if err != nil || len(p) == 0 {
			return false
		}
		eid = p[0].ID
		return true
	})
	r.age(eid, "thief", 1)
	return eid
}

// age gives entry eid to consumer with a lease that ran out long ago and a
// number of deliveries.
func (r *rig) age(eid, consumer string, deliveries int) {
	r.t.Helper()
	long := time.Hour.Milliseconds()
	err := r.rdb.Do(r.ctx, "XCLAIM", r.base+"jobs", "w", consumer, 0, eid, "IDLE", long, "RETRYCOUNT", deliveries, "JUSTID").Err()
	if err != nil {
		r.t.Fatalf("XCLAIM: %v", err)
	}
}

// claim reads one entry as a worker that dies at once.
func (r *rig) claim(consumer string) string {
	r.t.Helper()
	if err := r.rdb.XGroupCreateMkStream(r.ctx, r.base+"jobs", "w", "0").Err(); err != nil && !strings.Contains(err.Error(), "BUSYGROUP") {
		r.t.Fatalf("XGROUP CREATE: %v", err)
	}
	got, err := r.rdb.XReadGroup(r.ctx, &redis.XReadGroupArgs{Group: "w", Consumer: consumer, Streams: []string{r.base + "jobs", ">"}, Count: 1}).Result()
	if err != nil || len(got) == 0 {
		r.t.Fatalf("XREADGROUP: got %v, %v", got, err)
	}
	return got[0].Messages[0].ID
}

// gate is a handler that stops in the middle of each attempt.
type gate struct {
	in  chan *queue.Claim
	out chan error
}

func newGate() *gate { return &gate{in: make(chan *queue.Claim, 100), out: make(chan error)} }

func (g *gate) do(_ context.Context, c *queue.Claim) (queue.Reply, error) {
	g.in <- c
	return queue.Reply{}, <-g.out
}

// wait returns the claim of the next attempt that has begun.
func (g *gate) wait(t *testing.T) *queue.Claim {
	t.Helper()
	select {
	case c := <-g.in:
		return c
	case <-time.After(waitTime):
		t.Fatalf("no attempt began within %v", waitTime)
		return nil
	}
}
