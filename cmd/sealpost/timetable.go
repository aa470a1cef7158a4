package main

import (
	"context"
	_ "time/tzdata" // the time zones of schedules, for images and machines without them

	"golang.org/x/sync/errgroup"

	"github.com/sealpost/sealpost/actions/timetable"
	"github.com/sealpost/sealpost/queue"
)

// runPool does jobs, and enqueues those that are due, until intake ends. Both
// have ended when it returns.
func (p *process) runPool(intake context.Context, pool *queue.Pool) error {
	runner := timetable.New(timetable.Config{Actions: p.opened.Load().actions, Jobs: p.jobs, Kinds: p.actions.Kinds(),
		Log: p.log, Count: p.metrics.TimeTriggers})
	group, ctx := errgroup.WithContext(intake)
	group.Go(func() error { return pool.Run(ctx) })
	group.Go(func() error {
		runner.Run(ctx)
		return nil
	})
	return group.Wait()
}
