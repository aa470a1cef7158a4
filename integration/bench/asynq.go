package main

import (
	"context"
	"io"
	"log"
	"sync"
	"sync/atomic"

	"github.com/hibiken/asynq"
)

// asynqProducers is how many goroutines enqueue: it has no call for many jobs
// at once, and is fastest with about 16 (more gained nothing on two cores).
const asynqProducers = 16

// asynqPeer is asynq as its documentation shows it.
type asynqPeer struct{ addr string }

func (a asynqPeer) redis() asynq.RedisClientOpt { return asynq.RedisClientOpt{Addr: a.addr} }

// enqueue adds tasks one by one from 16 goroutines.
func (a asynqPeer) enqueue(ctx context.Context, n int) error {
	c := asynq.NewClient(a.redis())
	defer c.Close()
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, asynqProducers)
	var producers sync.WaitGroup
	for range asynqProducers {
		producers.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := c.EnqueueContext(ctx, asynq.NewTask("noop", []byte(payload))); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	producers.Wait()
	close(errs)
	return <-errs // nil when none
}

// drain runs a server until its handler has counted n tasks. It does not wait
// for the last acknowledgements, which favours asynq a little.
func (a asynqPeer) drain(ctx context.Context, n, concurrency int) (finish func(), err error) {
	s := asynq.NewServer(a.redis(), asynq.Config{
		Concurrency: concurrency, LogLevel: asynq.FatalLevel, Logger: quiet{log.New(io.Discard, "", 0)},
	})
	var done atomic.Int64
	all := make(chan struct{})
	err = s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		if done.Add(1) == int64(n) {
			close(all)
		}
		return nil
	}))
	if err != nil {
		return nil, err
	}
	select {
	case <-all:
	case <-ctx.Done():
	}
	return s.Shutdown, ctx.Err()
}

// quiet is a logger for asynq that says nothing.
type quiet struct{ l *log.Logger }

// Debug throws it away; so do the others.
func (q quiet) Debug(args ...any) { q.l.Print(args...) }

// Info throws it away.
func (q quiet) Info(args ...any) { q.l.Print(args...) }

// Warn throws it away.
func (q quiet) Warn(args ...any) { q.l.Print(args...) }

// Error throws it away.
func (q quiet) Error(args ...any) { q.l.Print(args...) }

// Fatal throws it away too: a benchmark ends by itself.
func (q quiet) Fatal(args ...any) { q.l.Print(args...) }
