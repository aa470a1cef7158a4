package queuetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

var pauseRules = []rule{
	{"a pause of all leaves the backlog in the stream, and a resume goes on", rulePauseAll},
	{"a pause outlives the processes", rulePauseRestart},
	{"a paused kind waits without an attempt and others go on", rulePauseKind},
	{"a paused lane waits, running jobs finish, and those behind them wait", rulePauseLane},
	{"pauses are told and checked, and each ends by itself", rulePauseNames},
}

func (r *rig) pause(p queue.Pause) {
	r.t.Helper()
	if changed, err := r.client.Pause(r.ctx, p); err != nil || !changed {
		r.t.Fatalf("Pause: %v, %v", changed, err)
	}
}

func (r *rig) resume(p queue.Pause) {
	r.t.Helper()
	if changed, err := r.client.Resume(r.ctx, p); err != nil || !changed {
		r.t.Fatalf("Resume: %v, %v", changed, err)
	}
}

// stillAfter fails if a job moves within two turns of every pool.
func (r *rig) stillAfter(ids []string, state queue.State, used int) {
	r.t.Helper()
	late := time.NewTimer(2500 * time.Millisecond)
	defer late.Stop()
	<-late.C
	for _, id := range ids {
		if s, err := r.client.Show(r.ctx, id); err != nil || s.State != state || s.Used != used {
			r.t.Errorf("job %s: got %+v, %v, want %s", id, s, err, state)
		}
	}
}

func rulePauseAll(t *testing.T, r *rig) {
	h, _ := r.run(nil)
	r.becomes(r.enqueue(), queue.Done)
	r.pause(queue.Pause{})
	// A pool learns of it within a second, and ends a read that blocks in half of one.
	late := time.NewTimer(2 * time.Second)
	defer late.Stop()
	<-late.C
	ids := r.enqueueMany(100)
	r.stillAfter(ids, queue.Ready, 0)
	if n := len(h.Order()); n != 1 {
		t.Errorf("%d jobs ran, want only the one before the pause", n)
	}
	r.resume(queue.Pause{})
	r.all(ids, queue.Done)
	r.nothingLeft()
}

func rulePauseRestart(t *testing.T, r *rig) {
	r.pause(queue.Pause{})
	ids := r.enqueueMany(5)
	r.run(nil)
	r.stillAfter(ids, queue.Ready, 0)
	if n, err := r.rdb.XInfoConsumers(r.ctx, r.base+"jobs", "w").Result(); err == nil && len(n) != 0 {
		t.Errorf("a pool read although all is paused: %+v", n)
	}
	r.resume(queue.Pause{})
	r.all(ids, queue.Done)
}

func rulePauseKind(t *testing.T, r *rig) {
	r.pause(queue.Pause{Kind: "other"})
	h, _ := r.run(nil)
	var ids []string
	for range 20 {
		receipts, err := r.client.Enqueue(r.ctx, []byte(`{"action":{"type":"other"}}`))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, receipts[0].ID)
	}
	free := r.enqueueMany(20)
	r.all(free, queue.Done)
	r.all(ids, queue.Delayed)
	s := r.becomes(ids[0], queue.Delayed)
	// A busy machine may look late, when the job has come back and was given back
	// again: each time costs 5 s at least, and none lies more than 10 s ahead.
	wait, ahead := s.DueAt.Sub(s.EnqueuedAt), time.Until(s.DueAt)
	if s.Used != 0 || s.Handbacks < 1 || len(s.Attempts) != 0 || wait < time.Duration(s.Handbacks)*5*time.Second || ahead > 11*time.Second {
		t.Errorf("got %+v, due %v after it came and in %v, want 5 to 10 s for each hand-back and no attempt", s, wait, ahead)
	}
	r.resume(queue.Pause{Kind: "other"})
	r.all(ids, queue.Done)
	if n := h.Count(ids[0]); n != 1 {
		t.Errorf("got %d attempts, want 1", n)
	}
}

func rulePauseLane(t *testing.T, r *rig) {
	g := newGate()
	cfg := r.config()
	cfg.LaneSlots = 1
	h := &Handler{Do: func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
		if bytes.Contains(c.Job.Action, []byte(scout)) {
			return queue.Reply{Stage: "done"}, nil
		}
		return g.do(ctx, c)
	}}
	Run(t, cfg, h)
	first := r.enqueue()
	g.wait(t)
	behind := r.enqueue()
	Eventually(t, "the second waits in the process", func() bool { return r.state(behind) == queue.Running })
	r.pause(queue.Pause{Lane: "lane"})
	r.pause(queue.Pause{Lane: scout})
	id := ""
	Eventually(t, "the pool has read the pauses, which it does once a second", func() bool {
		if id == "" || r.state(id) == queue.Done {
			id = r.lane(scout)
		}
		return r.state(id) == queue.Delayed
	})
	g.out <- nil
	r.becomes(first, queue.Done)
	if s := r.becomes(behind, queue.Delayed); s.Used != 0 || h.Count(behind) != 0 {
		t.Errorf("got %+v, want no attempt", s)
	}
	r.resume(queue.Pause{Lane: "lane"})
	g.wait(t)
	g.out <- nil
	r.becomes(behind, queue.Done)
}

func rulePauseNames(t *testing.T, r *rig) {
	for _, p := range []queue.Pause{{}, {Kind: "k"}, {Lane: "k/l"}} {
		r.pause(p)
		if changed, err := r.client.Pause(r.ctx, p); err != nil || changed {
			t.Errorf("again: %v, %v", changed, err)
		}
	}
	for _, p := range []queue.Pause{{Kind: "k", Lane: "l"}, {Kind: strings.Repeat("k", 257)}, {Lane: "a\nb"}} {
		if _, err := r.client.Pause(r.ctx, p); !errors.Is(err, queue.ErrPauses) {
			t.Errorf("%+v: got %v", p, err)
		}
	}
	s, err := r.client.Stats(r.ctx)
	if err != nil || len(s.Paused) != 3 || s.Paused[0].Kind+s.Paused[0].Lane != "" || s.Paused[1].Kind != "k" || s.Paused[2].Lane != "k/l" ||
		time.Since(s.Paused[0].Since) > time.Minute {
		t.Errorf("got %+v, %v", s.Paused, err)
	}
	r.resume(queue.Pause{Kind: "k"})
	if left, err := r.client.Paused(r.ctx); err != nil || len(left) != 2 {
		t.Errorf("got %+v, %v, want two", left, err)
	}
	fill := map[string]any{}
	for i := range 1000 {
		fill["lane:"+strings.Repeat("x", i%250)+string(rune('A'+i/250))] = "1"
	}
	if err := r.rdb.HSet(context.Background(), r.prefix+":{shared}:paused", fill).Err(); err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	if _, err := r.client.Pause(r.ctx, queue.Pause{Kind: "one-more"}); !errors.Is(err, queue.ErrPauses) {
		t.Errorf("too many: got %v", err)
	}
}
