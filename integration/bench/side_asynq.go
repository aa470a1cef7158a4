package main

import (
	"context"
	"errors"
	"io"
	"log"
	"sync"
	"sync/atomic"

	"github.com/hibiken/asynq"
)

// asynqProducers is how many goroutines enqueue: asynq has no call for many jobs
// at once, and is fastest with about 16 (more gained nothing on two cores).
const asynqProducers = 16

// asynqQueue is asynq as its documentation shows it.
type asynqQueue struct{}

func (q asynqQueue) ops() map[string]op {
	return map[string]op{
		"enqueue": q.enqueue, "drain": q.drain, "both": q.both,
		"mails": q.mails, "messages": q.messages,
	}
}

// enqueue adds tasks one by one from 16 goroutines.
func (asynqQueue) enqueue(ctx context.Context, r request) (answer, error) {
	c := asynq.NewClient(asynq.RedisClientOpt{Addr: r.Redis})
	defer c.Close()
	text := r.Payload
	if text == "" {
		text = payload
	}
	var left atomic.Int64
	left.Store(int64(r.Jobs))
	errs := make(chan error, asynqProducers)
	var all sync.WaitGroup
	for range asynqProducers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := c.EnqueueContext(ctx, asynq.NewTask("job", []byte(text))); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return answer{}, <-errs // nil when none
}

// work runs a server with a handler.
func (asynqQueue) work(r request, handle asynq.HandlerFunc) (stop func(), err error) {
	s := asynq.NewServer(asynq.RedisClientOpt{Addr: r.Redis}, asynq.Config{
		Concurrency: r.Concurrency, LogLevel: asynq.FatalLevel, Logger: quiet{log.New(io.Discard, "", 0)},
	})
	return s.Shutdown, s.Start(handle)
}

// drain runs a server until its handler has counted all tasks. It does not wait
// for the last acknowledgements, which favours asynq a little.
func (q asynqQueue) drain(ctx context.Context, r request) (answer, error) {
	h := newCounter(r.Jobs)
	stop, err := q.work(r, func(context.Context, *asynq.Task) error {
		h.one()
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return answer{finish: stop}, h.wait(ctx)
}

// both enqueues and drains at once.
func (q asynqQueue) both(ctx context.Context, r request) (answer, error) {
	h := newCounter(r.Jobs)
	stop, err := q.work(r, func(context.Context, *asynq.Task) error {
		h.one()
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	_, err = q.enqueue(ctx, r)
	return answer{finish: stop}, errors.Join(err, h.wait(ctx))
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
