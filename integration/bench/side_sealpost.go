package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

// payload is the job of every queue: about 300 bytes, as a mail job has.
const payload = `{"action":{"type":"noop","smtp_secret":"RELAY","from":"alerts@example.test",` +
	`"to":"a@example.test;b@example.test","subject":"Temperature of $DEVICE$ is $VALUE$ $UNIT$",` +
	`"message":"The device has left its range."},"data":[{"variable":"temperature","value":73.5,"unit":"F",` +
	`"time":"2026-01-01T00:00:00Z","device":"boiler-7"}]}`

// stamped is the payload with the time of its sending in place of a value, in
// microseconds since the epoch; 0 for a job that is not counted.
const stamped = `{"action":{"type":"noop","smtp_secret":"RELAY","from":"alerts@example.test",` +
	`"to":"a@example.test;b@example.test","subject":"Temperature of $DEVICE$ is $VALUE$ $UNIT$",` +
	`"message":"The device has left its range."},"data":[{"variable":"sent","value":%d,"unit":"us",` +
	`"time":"2026-01-01T00:00:00Z","device":"boiler-7"}]}`

// sealpost is our queue with its defaults.
type sealpost struct{ hearing *hearing }

// ops are what the side can do.
func (s *sealpost) ops() map[string]op {
	return map[string]op{
		"enqueue": s.enqueue, "drain": s.drain, "both": s.both,
		"listen": s.listen, "pace": s.pace, "heard": s.heard,
	}
}

// connect returns a client as the program makes it.
func connect(r request) redis.UniversalClient {
	o := &redis.UniversalOptions{Addrs: []string{r.Redis}, MaxRetries: -1, DisableIdentity: true, PoolSize: 40}
	if len(r.Cluster) > 0 {
		o.Addrs, o.IsClusterMode = r.Cluster, true
	}
	return redis.NewUniversalClient(o)
}

const (
	producers = 2   // goroutines that enqueue
	perCall   = 100 // jobs of one Enqueue
)

// enqueue sends batches of 100 from two goroutines.
func (s *sealpost) enqueue(ctx context.Context, r request) (answer, error) {
	rdb := connect(r)
	defer rdb.Close()
	text := r.Payload
	if text == "" {
		text = payload
	}
	return answer{}, fill(ctx, rdb, r.Partitions, r.Jobs, text)
}

// fill puts n jobs into the queue.
func fill(ctx context.Context, rdb redis.UniversalClient, partitions, n int, text string) error {
	c := queue.NewClient(rdb, queue.ClientOptions{Partitions: partitions})
	jobs := slices.Repeat([]json.RawMessage{json.RawMessage(text)}, perCall)
	var taken atomic.Int64
	errs := make(chan error, producers)
	var all sync.WaitGroup
	for range producers {
		all.Go(func() {
			for {
				first := int(taken.Add(perCall)) - perCall
				if first >= n {
					return
				}
				if _, err := c.Enqueue(ctx, jobs[:min(perCall, n-first)]...); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs // nil when none
}

// work runs a pool; stop ends it and waits.
func work(rdb redis.UniversalClient, r request, h queue.Handler) (stop func(), err error) {
	slots := max(r.Concurrency, 1)
	pool, err := queue.NewPool(queue.PoolConfig{
		Redis: rdb, Partitions: r.Partitions, Slots: slots, LaneSlots: slots,
		Name: "bench", Logger: slog.New(slog.DiscardHandler),
	}, h)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	return func() {
		cancel()
		<-ended // the measurement is over; what it says is of no use
		_ = rdb.Close()
	}, nil
}

// drain runs a pool until its handler has counted all jobs and the last outcome
// is in Redis.
func (s *sealpost) drain(ctx context.Context, r request) (answer, error) {
	rdb := connect(r)
	h := newCounter(r.Jobs)
	stop, err := work(rdb, r, h)
	if err != nil {
		return answer{}, err
	}
	return answer{finish: stop}, errors.Join(h.wait(ctx), settled(ctx, rdb, r.Partitions))
}

// both enqueues and drains at once.
func (s *sealpost) both(ctx context.Context, r request) (answer, error) {
	rdb := connect(r)
	h := newCounter(r.Jobs)
	stop, err := work(rdb, r, h)
	if err != nil {
		return answer{}, err
	}
	err = fill(ctx, rdb, r.Partitions, r.Jobs, payload)
	return answer{finish: stop}, errors.Join(err, h.wait(ctx), settled(ctx, rdb, r.Partitions))
}

// settled waits for the last batch of outcomes, which is written within 2 ms.
func settled(ctx context.Context, rdb redis.UniversalClient, partitions int) error {
	for p := range max(partitions, 1) {
		for {
			left, err := rdb.XLen(ctx, queue.StreamKey("", p)).Result()
			if err != nil {
				return err
			}
			if left == 0 {
				break
			}
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// counter is a handler that does nothing but count.
type counter struct {
	done atomic.Int64
	want int64
	all  chan struct{}
}

func newCounter(n int) *counter { return &counter{want: int64(n), all: make(chan struct{})} }

// one counts.
func (c *counter) one() {
	if c.done.Add(1) == c.want {
		close(c.all)
	}
}

// wait waits until all have been counted.
func (c *counter) wait(ctx context.Context) error {
	select {
	case <-c.all:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Prepare takes every job as it is.
func (c *counter) Prepare(*queue.Job) (queue.Work, error) { return noop{c.one}, nil }

// noop is the work of a job.
type noop struct{ did func() }

// Kind is the label of the work.
func (noop) Kind() string { return "noop" }

// Lane is the same for all: they share one destination.
func (noop) Lane() string { return "noop" }

// Do counts.
func (w noop) Do(context.Context, *queue.Claim) (queue.Reply, error) {
	w.did()
	return queue.Reply{Stage: "done", Certainty: queue.Accepted}, nil
}

// hearing is a pool that notes how long each job was under way.
type hearing struct {
	*counter
	mu    sync.Mutex
	taken []float64 // ms
	stop  func()
}

// Prepare reads when the job was sent.
func (h *hearing) Prepare(j *queue.Job) (queue.Work, error) {
	_, text, _ := strings.Cut(string(j.Data), `"value":`)
	text, _, _ = strings.Cut(text, ",")
	sent, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read the time of a job: %w", err)
	}
	return noop{func() { h.hear(sent) }}, nil
}

func (h *hearing) hear(sent int64) {
	now := time.Now().UnixMicro()
	if sent > 0 {
		h.mu.Lock()
		h.taken = append(h.taken, float64(now-sent)/1000)
		h.mu.Unlock()
	}
	h.one()
}

// listen starts a pool that waits for the jobs of pace.
func (s *sealpost) listen(_ context.Context, r request) (answer, error) {
	s.hearing = &hearing{counter: newCounter(r.Warm + r.Jobs)}
	var err error
	s.hearing.stop, err = work(connect(r), r, s.hearing)
	return answer{}, err
}

// heard waits until all jobs have been heard.
func (s *sealpost) heard(ctx context.Context, _ request) (answer, error) {
	err := s.hearing.wait(ctx)
	slices.Sort(s.hearing.taken)
	n := len(s.hearing.taken)
	if n == 0 {
		return answer{finish: s.hearing.stop}, errors.Join(err, errors.New("nothing was heard"))
	}
	return answer{P50: s.hearing.taken[n/2], P99: s.hearing.taken[n*99/100], Count: n, finish: s.hearing.stop}, err
}

// pace sends jobs one by one at a rate, each from a goroutine of its own, so that
// a slow one does not hold up the next.
func (s *sealpost) pace(ctx context.Context, r request) (answer, error) {
	rdb := connect(r)
	defer rdb.Close()
	c := queue.NewClient(rdb, queue.ClientOptions{})
	each := time.Second / time.Duration(r.Rate)
	next := time.Now()
	errs := make(chan error, r.Warm+r.Jobs)
	var all sync.WaitGroup
	for i := range r.Warm + r.Jobs {
		next = next.Add(each)
		time.Sleep(time.Until(next))
		all.Go(func() {
			sent := int64(0)
			if i >= r.Warm {
				sent = time.Now().UnixMicro()
			}
			if _, err := c.Enqueue(ctx, json.RawMessage(fmt.Sprintf(stamped, sent))); err != nil {
				errs <- err
			}
		})
	}
	all.Wait()
	close(errs)
	return answer{}, <-errs // nil when none
}
