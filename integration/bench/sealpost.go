package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

const (
	producers = 2   // goroutines that enqueue
	perCall   = 100 // jobs of one Enqueue
)

// sealpost is our queue with its defaults.
type sealpost struct {
	rdb        *redis.Client
	unrecorded bool // keeps no record of attempts
}

// retention is how long records of attempts are kept: 0 is the default, a day.
func (s sealpost) retention() time.Duration {
	if s.unrecorded {
		return -1
	}
	return 0
}

// enqueue sends batches of 100 from two goroutines.
func (s sealpost) enqueue(ctx context.Context, n int) error {
	c := queue.NewClient(s.rdb, queue.ClientOptions{LogRetention: s.retention()})
	jobs := make([]json.RawMessage, perCall)
	for i := range jobs {
		jobs[i] = json.RawMessage(payload)
	}
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

// drain runs a pool until its handler has counted n jobs and the last outcome
// is in Redis.
func (s sealpost) drain(ctx context.Context, n, concurrency int) (finish func(), err error) {
	h := &counter{want: int64(n), all: make(chan struct{})}
	pool, err := queue.NewPool(queue.PoolConfig{
		Redis: s.rdb, Slots: concurrency, LaneSlots: concurrency, LogRetention: s.retention(),
		Name: "bench", Logger: slog.New(slog.DiscardHandler),
	}, h)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	finish = func() {
		stop()
		<-ended
	}
	select {
	case <-h.all:
	case err := <-ended:
		ended <- err // for finish
		return finish, err
	}
	for {
		left, err := s.rdb.XLen(ctx, "sealpost:{q0}:jobs").Result()
		if err != nil || left == 0 {
			return finish, err
		}
		select {
		case <-time.After(time.Millisecond): // the last batch of outcomes waits up to 2 ms
		case <-ctx.Done():
			return finish, ctx.Err()
		}
	}
}

// counter is a handler that does nothing but count.
type counter struct {
	done atomic.Int64
	want int64
	all  chan struct{}
}

// Prepare takes every job as it is.
func (c *counter) Prepare(*queue.Job) (queue.Work, error) { return noop{c}, nil }

// noop is the work of a job.
type noop struct{ c *counter }

// Kind is the label of the work.
func (noop) Kind() string { return "noop" }

// Lane is the same for all: they share one destination.
func (noop) Lane() string { return "noop" }

// Do counts.
func (w noop) Do(context.Context, *queue.Claim) (queue.Reply, error) {
	if w.c.done.Add(1) == w.c.want {
		close(w.c.all)
	}
	return queue.Reply{Stage: "done", Certainty: queue.Accepted}, nil
}
