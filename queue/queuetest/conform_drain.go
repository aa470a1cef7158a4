package queuetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

var drainRules = []rule{
	{"a drain waits for running jobs", ruleDrainWaits},
	{"a drain puts back what was not begun", ruleDrainReleases},
	{"a job cut off by a drain uses no attempt", ruleDrainCuts},
	{"a cut-off job that was perhaps sent keeps its record", ruleDrainUnknown},
	{"a cut-off job that was cancelled is not put back", ruleDrainCancelled},
	{"a drain takes the worker's name out of Redis", ruleDrainReaps},
}

func ruleDrainWaits(t *testing.T, r *rig) {
	g := newGate()
	_, stop := r.run(g.do)
	id := r.enqueue()
	g.wait(t)
	done := make(chan struct{})
	go func() { stop(); close(done) }()
	select {
	case <-done:
		t.Fatal("the pool stopped while a job ran")
	case <-time.After(50 * time.Millisecond):
	}
	g.out <- nil
	<-done
	if s := r.becomes(id, queue.Done); s.Used != 1 {
		t.Errorf("got %+v", s)
	}
	r.nothingLeft()
}

func ruleDrainReleases(t *testing.T, r *rig) {
	cfg := r.config()
	cfg.LaneSlots = 1
	g := newGate()
	h := &Handler{Do: g.do}
	const jobs = 6
	for range jobs {
		r.enqueue()
	}
	stop := Run(t, cfg, h)
	g.wait(t)
	done := make(chan struct{})
	go func() { stop(); close(done) }()
	Eventually(t, "the waiting jobs are back", func() bool {
		s, err := r.client.Stats(r.ctx)
		return err == nil && s.Jobs[queue.Ready]+s.Jobs[queue.Delayed] == jobs-1
	})
	g.out <- nil
	<-done
	again, _ := r.run(nil)
	Eventually(t, "all are done", func() bool { return len(again.Order()) == jobs-1 })
	for _, id := range again.Order() {
		if s := r.becomes(id, queue.Done); s.Used != 1 || s.Crashes != 0 || len(s.Attempts) != 1 {
			t.Errorf("got %+v, want one attempt and no crash", s)
		}
	}
	r.nothingLeft()
}

func ruleDrainCuts(t *testing.T, r *rig) {
	cfg := r.config()
	cfg.Grace = 0
	begun := make(chan error, 1)
	h := &Handler{Do: func(ctx context.Context, _ *queue.Claim) (queue.Reply, error) {
		begun <- nil
		<-ctx.Done()
		begun <- context.Cause(ctx)
		return queue.Reply{}, ctx.Err()
	}}
	id := r.enqueue()
	stop := Run(t, cfg, h)
	<-begun
	stop()
	if err := <-begun; !errors.Is(err, queue.ErrDrainTimeout) {
		t.Errorf("got cause %v, want ErrDrainTimeout", err)
	}
	s := r.becomes(id, queue.Ready)
	if s.Used != 0 || s.Crashes != 0 || len(s.Attempts) != 0 {
		t.Errorf("got %+v, want no attempt used", s)
	}
	r.run(nil)
	if s := r.becomes(id, queue.Done); s.Used != 1 {
		t.Errorf("got %d attempts used, want 1", s.Used)
	}
	r.nothingLeft()
}

func ruleDrainUnknown(t *testing.T, r *rig) {
	cfg := r.config()
	cfg.Grace = 0
	begun := make(chan struct{}, 1)
	h := &Handler{Do: func(ctx context.Context, _ *queue.Claim) (queue.Reply, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return queue.Reply{Certainty: queue.Unknown, Stage: "dot"}, ctx.Err()
	}}
	id := r.enqueue()
	stop := Run(t, cfg, h)
	<-begun
	stop()
	s := r.becomes(id, queue.Delayed)
	if s.Used != 0 || len(s.Attempts) != 1 || s.Attempts[0].Certainty != queue.Unknown {
		t.Errorf("got %+v, want a record and no attempt used", s)
	}
	r.run(nil)
	r.becomes(id, queue.Done)
}

func ruleDrainReaps(t *testing.T, r *rig) {
	_, stop := r.run(nil)
	r.becomes(r.enqueue(), queue.Done)
	stop()
	consumers, err := r.rdb.XInfoConsumers(r.ctx, r.base+"jobs", "w").Result()
	if err != nil || len(consumers) != 0 {
		t.Errorf("got consumers %+v, %v; want none", consumers, err)
	}
}

func ruleDrainCancelled(t *testing.T, r *rig) {
	cfg := r.config()
	cfg.Grace = 0
	begun := make(chan struct{}, 1)
	h := &Handler{Do: func(ctx context.Context, _ *queue.Claim) (queue.Reply, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return queue.Reply{}, ctx.Err()
	}}
	id := r.enqueue()
	stop := Run(t, cfg, h)
	<-begun
	if err := r.client.Cancel(r.ctx, id); !errors.Is(err, queue.ErrRunning) {
		t.Errorf("got %v, want ErrRunning", err)
	}
	stop()
	r.becomes(id, queue.Cancelled)
	r.nothingLeft()
}
