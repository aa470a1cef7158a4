package queuetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

var outcomeRules = []rule{
	{"a failure is tried again and uses an attempt", ruleRetry},
	{"the last attempt makes a dead letter that keeps the reason", ruleAttemptLimit},
	{"a retry does not come before the time the other side named", ruleRetryAfter},
	{"a throttled attempt is recorded and not counted", ruleThrottled},
	{"a throttled lane lets other lanes through", ruleThrottledLane},
	{"a hand-back is counted apart and leaves no record", ruleHandback},
	{"a permanent failure is dead at once", rulePermanent},
	{"a panic is a failed attempt and its value is not kept", rulePanic},
	{"an unknown outcome is sent again by default", ruleUnknownResend},
	{"an unknown outcome is held when the producer says so", ruleUnknownPark},
	{"a full lane hands back without an attempt and loses nothing", ruleLaneFull},
}

// failTimes fails n times with err and then accepts.
func failTimes(n int, err error) Func {
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	return func(context.Context, *queue.Claim) (queue.Reply, error) {
		select {
		case <-left:
			return queue.Reply{Stage: "dial", Reason: "transient", Rule: "refused"}, err
		default:
			return queue.Reply{Stage: "done"}, nil
		}
	}
}

func ruleRetry(t *testing.T, r *rig) {
	h, _ := r.run(failTimes(2, errors.New("connection refused")))
	id := r.enqueue(`"id":"again"`)
	s := r.becomes(id, queue.Done)
	if h.Count(id) != 3 || s.Used != 3 || len(s.Attempts) != 3 {
		t.Fatalf("got %d calls and %+v, want 3 attempts", h.Count(id), s)
	}
	for i, a := range s.Attempts[:2] {
		if a.Number != i+1 || a.State != queue.Delayed || a.Text != "connection refused" || a.Rule != "refused" || a.Certainty != queue.Rejected {
			t.Errorf("attempt %d: got %+v", i, a)
		}
	}
	r.nothingLeft()
}

func ruleAttemptLimit(t *testing.T, r *rig) {
	h, _ := r.run(failTimes(99, errors.New("connection refused")))
	id := r.enqueue(`"max_attempts":3`)
	s := r.becomes(id, queue.Dead)
	if h.Count(id) != 3 || s.Used != 3 || !strings.Contains(s.Text, "after 3 attempts: connection refused") || s.Reason != "transient" {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	if s.DiedAt.IsZero() {
		t.Error("no time of death")
	}
}

func ruleRetryAfter(t *testing.T, r *rig) {
	fail := failTimes(1, &queue.RetryAfterError{After: 400 * time.Millisecond, Err: errors.New("try later")})
	began := make(chan time.Time, 2) // by one clock: records go by Redis', as each process knows it
	r.run(func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
		began <- time.Now()
		return fail(ctx, c)
	})
	s := r.becomes(r.enqueue(), queue.Done)
	first := <-began
	if gap := (<-began).Sub(first); gap < 390*time.Millisecond || s.Used != 2 {
		t.Errorf("got %v between attempts and %d used, want 400ms and 2", gap, s.Used)
	}
}

func ruleThrottled(t *testing.T, r *rig) {
	h, _ := r.run(failTimes(1, &queue.ThrottledError{Err: errors.New("too fast")}))
	id := r.enqueue()
	s := r.becomes(id, queue.Done)
	if h.Count(id) != 2 || s.Used != 1 || s.Handbacks != 1 || len(s.Attempts) != 2 || s.Attempts[0].Number != 1 || s.Attempts[1].Number != 1 {
		t.Errorf("got %d calls and %+v, want 2 calls and 1 attempt used", h.Count(id), s)
	}
	r.nothingLeft()
}

func ruleThrottledLane(t *testing.T, r *rig) {
	h, _ := r.run(func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		if strings.Contains(string(c.Job.Action), "slow") {
			return queue.Reply{}, &queue.ThrottledError{After: time.Hour, Err: errors.New("too fast")}
		}
		return queue.Reply{}, nil
	})
	slow := r.lane("slow")
	Eventually(t, "the slow lane is throttled", func() bool { return h.Count(slow) == 1 && r.state(slow) == queue.Delayed })
	second := r.lane("slow")
	r.becomes(r.lane("fast"), queue.Done)
	s := r.becomes(second, queue.Delayed)
	if h.Count(second) != 0 || time.Until(s.DueAt) < time.Minute {
		t.Errorf("second job of the throttled lane: got %d attempts, due %v", h.Count(second), s.DueAt)
	}
}

// lane puts a job into a lane.
func (r *rig) lane(name string) string {
	r.t.Helper()
	receipts, err := r.client.Enqueue(r.ctx, []byte(`{"action":{"type":"test","lane":"`+name+`"}}`))
	if err != nil {
		r.t.Fatalf("Enqueue: %v", err)
	}
	return receipts[0].ID
}

func ruleHandback(t *testing.T, r *rig) {
	h, _ := r.run(failTimes(2, &queue.HandbackError{After: 10 * time.Millisecond, Err: errors.New("breaker open")}))
	id := r.enqueue()
	s := r.becomes(id, queue.Done)
	if h.Count(id) != 3 || s.Used != 1 || s.Handbacks != 2 || len(s.Attempts) != 1 {
		t.Errorf("got %d calls and %+v, want 3 calls, 1 attempt, 2 hand-backs", h.Count(id), s)
	}
	r.nothingLeft()
}

func rulePermanent(t *testing.T, r *rig) {
	h, _ := r.run(func(context.Context, *queue.Claim) (queue.Reply, error) {
		return queue.Reply{Stage: "rcpt", Code: "550 5.1.1", Reason: "recipient", Rule: "no such user"}, queue.Permanent(errors.New("550 no such user"))
	})
	id := r.enqueue()
	s := r.becomes(id, queue.Dead)
	if h.Count(id) != 1 || s.Reason != "recipient" || s.Text != "550 no such user" || s.Attempts[0].Code != "550 5.1.1" {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
}

func rulePanic(t *testing.T, r *rig) {
	h, _ := r.run(func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		if c.Attempt == 1 {
			panic("hunter2")
		}
		return queue.Reply{}, nil
	})
	id := r.enqueue()
	s := r.becomes(id, queue.Done)
	if h.Count(id) != 2 || s.Used != 2 || s.Attempts[0].Reason != "panic" {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	for _, v := range r.rdb.HVals(r.ctx, r.logKeys()[0]).Val() {
		if strings.Contains(v, "hunter2") {
			t.Errorf("the panic's value is in the log: %s", v)
		}
	}
}

func ruleUnknownResend(t *testing.T, r *rig) {
	h, _ := r.run(func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		if c.Attempt == 1 {
			return queue.Reply{Certainty: queue.Unknown, Reason: "unknown"}, errors.New("line broke")
		}
		return queue.Reply{}, nil
	})
	id := r.enqueue()
	s := r.becomes(id, queue.Done)
	if h.Count(id) != 2 || s.Attempts[0].Certainty != queue.Unknown {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
}

func ruleUnknownPark(t *testing.T, r *rig) {
	h, _ := r.run(func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
		if err := c.Begin(ctx); err != nil {
			return queue.Reply{}, err
		}
		if err := c.Begin(ctx); err != nil { // a second step of the same attempt
			return queue.Reply{}, err
		}
		return queue.Reply{Certainty: queue.Unknown}, errors.New("line broke")
	})
	id := r.enqueue(`"on_ambiguous":"park"`)
	s := r.becomes(id, queue.Dead)
	if h.Count(id) != 1 || s.Reason != "unknown" || !strings.Contains(s.Text, "perhaps sent") || len(s.Attempts) != 1 || s.Attempts[0].Certainty != queue.Unknown {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	if n := r.rdb.Exists(r.ctx, r.base+"mark").Val(); n != 0 {
		t.Error("the mark is left behind")
	}
}

func ruleLaneFull(t *testing.T, r *rig) {
	cfg := r.config()
	cfg.Slots, cfg.LaneSlots = 8, 1
	release := make(chan struct{})
	h := &Handler{Do: func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		if strings.Contains(string(c.Job.Action), "slow") {
			<-release
		}
		return queue.Reply{}, nil
	}}
	var slow []string
	for range 12 {
		slow = append(slow, r.lane("slow"))
	}
	Run(t, cfg, h)
	Eventually(t, "the slow lane hands back", func() bool { return r.rdb.ZCard(r.ctx, r.base+"due").Val() > 4 })
	r.becomes(r.lane("fast"), queue.Done) // although a lane with a backlog came first
	running := 0
	for _, id := range slow {
		running += h.Count(id)
	}
	if running != 1 {
		t.Errorf("got %d jobs running in a lane of 1 slot", running)
	}
	close(release)
	handbacks := 0
	for _, id := range slow {
		s := r.becomes(id, queue.Done)
		handbacks += s.Handbacks
		if h.Count(id) != 1 || s.Used != 1 || len(s.Attempts) != 1 {
			t.Errorf("got %d calls and %+v, want 1", h.Count(id), s)
		}
	}
	if handbacks == 0 {
		t.Error("no hand-back was counted")
	}
	r.nothingLeft()
}
