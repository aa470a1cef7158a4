package queuetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

var crashRules = []rule{
	{"a job of a dead worker is done by another and the crash is counted", ruleReclaim},
	{"a job that kills its workers becomes a dead letter", rulePoison},
	{"a job that lost three workers runs alone, and the next stays where it is", ruleSuspects},
	{"crashes are remembered over a hand-back", rulePoisonOverPlaces},
	{"a retried poison job begins anew", rulePoisonRetried},
	{"a late success ends the retry of a later holder", ruleLateDone},
	{"a late success ends a dead letter of a later holder", ruleLateDoneDead},
	{"a late failure does not touch a job that another runs", ruleLateFailure},
	{"Begin tells a holder that it lost the job", ruleBeginLost},
	{"a job that was perhaps sent by a dead worker is held when its producer says so", ruleMarkFound},
	{"a job that was cancelled while a dead worker ran it is not done", ruleCancelledCrash},
	{"a consumer with pending jobs is not forgotten", ruleReap},
}

// ghost claims the only ready job as a worker that dies.
func (r *rig) ghost(deliveries int) {
	r.t.Helper()
	eid := r.claim("ghost")
	r.age(eid, "ghost", deliveries)
}

func ruleReclaim(t *testing.T, r *rig) {
	id := r.enqueue()
	r.ghost(1)
	if got := r.state(id); got != queue.Running {
		t.Errorf("before the takeover: got %q, want running", got)
	}
	recovered := make(chan int, 10)
	cfg := r.config()
	cfg.Observer.Recovered = func(n int) { recovered <- n }
	var crashes int
	h := &Handler{Do: func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		crashes = c.Crashes
		return queue.Reply{}, nil
	}}
	stop := Run(t, cfg, h)
	s := r.becomes(id, queue.Done)
	stop()
	if h.Count(id) != 1 || s.Crashes != 1 || crashes != 1 || s.Used != 1 || <-recovered != 1 {
		t.Errorf("got %d calls, claim with %d crashes, %+v", h.Count(id), crashes, s)
	}
	r.nothingLeft()
}

func rulePoison(t *testing.T, r *rig) {
	id := r.enqueue(`"id":"killer"`)
	r.ghost(queue.MaxCrashes) // the takeover is one delivery more
	h, _ := r.run(nil)
	s := r.becomes(id, queue.Dead)
	if h.Count(id) != 0 || s.Reason != "poison" || s.Crashes != queue.MaxCrashes || !strings.Contains(s.Text, "5 times") {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	letters, _, err := r.client.DeadList(r.ctx, 0, "")
	if err != nil || len(letters) != 1 || letters[0].ID != "killer" {
		t.Errorf("DeadList: got %+v, %v", letters, err)
	}
}

// ruleSuspects has three jobs that lost three workers: a process takes one after
// the other, and those that it leaves count no loss, whoever is killed.
func ruleSuspects(t *testing.T, r *rig) {
	const n = 3
	suspects, neighbours := map[string]bool{}, []string{}
	for range n {
		r.enqueue()
		eid := r.claim("ghost")
		suspects[eid] = true
		r.age(eid, "ghost", 3)
	}
	for range n {
		r.enqueue()
		neighbours = append(neighbours, r.claim("other"))
	}
	cfg, g := r.config(), newGate()
	cfg.Lease = time.Hour // no lease runs out but those that do here
	Run(t, cfg, &Handler{Do: g.do})
	for left := n - 1; left >= 0; left-- {
		if c := g.wait(t); c.Crashes != 3 {
			t.Errorf("got a claim with %d crashes, want 3", c.Crashes)
		}
		// One that was lost once comes after them in the list, and is done beside the
		// suspect: so the list has been gone through.
		r.age(neighbours[left], "other", 1)
		if c := g.wait(t); c.Crashes != 1 {
			t.Errorf("got a neighbour with %d crashes, want 1", c.Crashes)
		}
		p, err := r.rdb.XPendingExt(r.ctx, &redis.XPendingExtArgs{Stream: r.base + "jobs", Group: "w", Start: "-", End: "+", Count: n, Consumer: "ghost"}).Result()
		if err != nil || len(p) != left {
			t.Fatalf("got %d jobs left with the dead worker, %v; want %d", len(p), err, left)
		}
		for _, e := range p {
			if !suspects[e.ID] || e.RetryCount != 3 {
				t.Errorf("got entry %s with %d deliveries left, want one of %v with 3", e.ID, e.RetryCount, suspects)
			}
		}
		g.out <- nil
		g.out <- nil
	}
	Eventually(t, "all are done", func() bool {
		n, err := r.rdb.XLen(r.ctx, r.base+"jobs").Result()
		return err == nil && n == 0
	})
	r.nothingLeft()
}

func rulePoisonOverPlaces(t *testing.T, r *rig) {
	id := r.enqueue()
	r.ghost(2) // the takeover finds 2 crashes
	h, stop := r.run(failTimes(1, &queue.HandbackError{After: time.Millisecond, Err: errors.New("busy")}))
	s := r.becomes(id, queue.Done)
	stop()
	if h.Count(id) != 2 || s.Crashes != 2 {
		t.Fatalf("got %d calls and %d crashes after a hand-back, want 2 and 2", h.Count(id), s.Crashes)
	}

	id = r.enqueue()
	r.ghost(queue.MaxCrashes - 1)
	_, stop = r.run(failTimes(1, &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")}))
	r.becomes(id, queue.Parked)
	stop()
	if n, err := r.client.ReleaseParked(r.ctx, "s1", 1); err != nil || n != 1 {
		t.Fatalf("ReleaseParked: got %d, %v", n, err)
	}
	r.ghost(1) // one more worker dies with the new entry's first delivery
	h, _ = r.run(nil)
	s = r.becomes(id, queue.Dead)
	if h.Count(id) != 0 || s.Reason != "poison" || s.Crashes != queue.MaxCrashes {
		t.Errorf("got %d calls and %+v, want poison after %d crashes", h.Count(id), s, queue.MaxCrashes)
	}
}

func rulePoisonRetried(t *testing.T, r *rig) {
	id := r.enqueue()
	r.ghost(queue.MaxCrashes)
	r.run(nil)
	r.becomes(id, queue.Dead)
	if n, err := r.client.RetryDead(r.ctx, id); err != nil || n != 1 {
		t.Fatalf("RetryDead: got %d, %v", n, err)
	}
	if s := r.becomes(id, queue.Done); s.Crashes != 0 {
		t.Errorf("got %d crashes, want 0", s.Crashes)
	}
	log, _ := r.deliveries(queue.DeliveryFilter{Limit: 10})
	states := map[queue.State]string{}
	for _, d := range log {
		states[d.State] = d.Kind + d.Reason
	}
	if len(log) != 2 || states[queue.Dead] != "testpoison" || states[queue.Done] != "test" {
		t.Errorf("got records %+v, want its burial and its end", log)
	}
	r.nothingLeft()
}

// sleeper is the config of a pool that does not notice a lost lease and takes
// nothing over: for longer than any entry is old here. Else it might take the job
// back from the thief before the other pool does, as it may.
func (r *rig) sleeper() queue.PoolConfig {
	cfg := r.config()
	cfg.Lease = 100 * time.Hour
	return cfg
}

// lateSetup has a first pool in the middle of an attempt while a second one
// has taken the job over, does it with second, and has brought it to state.
func (r *rig) lateSetup(second Func, state queue.State) (id string, first *gate) {
	r.t.Helper()
	first = newGate()
	Run(r.t, r.sleeper(), &Handler{Do: first.do})
	id = r.enqueue()
	first.wait(r.t)
	r.steal()
	cfg := r.config()
	cfg.Backoff = func(int) time.Duration { return time.Hour }
	Run(r.t, cfg, &Handler{Do: second})
	r.becomes(id, state)
	return id, first
}

func ruleLateDone(t *testing.T, r *rig) {
	id, first := r.lateSetup(failTimes(1, errors.New("refused")), queue.Delayed)
	first.out <- nil
	s := r.becomes(id, queue.Done)
	if len(s.Attempts) != 2 {
		t.Errorf("got %+v, want the records of both attempts", s.Attempts)
	}
	r.nothingLeft()
}

func ruleLateDoneDead(t *testing.T, r *rig) {
	id, first := r.lateSetup(failTimes(1, queue.Permanent(errors.New("no"))), queue.Dead)
	first.out <- nil
	r.becomes(id, queue.Done)
	r.nothingLeft()
}

func ruleLateFailure(t *testing.T, r *rig) {
	second := newGate()
	first := newGate()
	stop := Run(t, r.sleeper(), &Handler{Do: first.do})
	id := r.enqueue()
	first.wait(t)
	r.steal()
	Run(t, r.config(), &Handler{Do: second.do})
	second.wait(t)
	first.out <- errors.New("connection reset")
	stop() // its outcome has been written, and had no effect
	if got := r.state(id); got != queue.Running {
		t.Errorf("after the late failure: got %q, want running", got)
	}
	second.out <- nil
	if s := r.becomes(id, queue.Done); s.Used != 1 {
		t.Errorf("got %d attempts used, want 1", s.Used)
	}
	r.nothingLeft()
}

func ruleBeginLost(t *testing.T, r *rig) {
	cfg := r.sleeper()
	began := make(chan error, 1)
	ready, steal := make(chan struct{}), make(chan struct{})
	h := &Handler{Do: func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
		close(ready)
		<-steal
		err := c.Begin(ctx)
		began <- err
		return queue.Reply{}, err
	}}
	stop := Run(t, cfg, h)
	id := r.enqueue(`"on_ambiguous":"park"`) // so that Begin always asks Redis
	<-ready
	r.steal()
	close(steal)
	if err := <-began; !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("got %v, want ErrLeaseLost", err)
	}
	stop()
	if got := r.state(id); got != queue.Running {
		t.Errorf("got %q, want running (by the thief)", got)
	}
}

func ruleMarkFound(t *testing.T, r *rig) {
	g := newGate()
	do := func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
		if err := c.Begin(ctx); err != nil {
			return queue.Reply{}, err
		}
		return g.do(ctx, c)
	}
	Run(t, r.sleeper(), &Handler{Do: do})
	id := r.enqueue(`"on_ambiguous":"park"`)
	g.wait(t)
	r.steal() // the first worker is as good as dead
	h, _ := r.run(nil)
	s := r.becomes(id, queue.Dead)
	if h.Count(id) != 0 || s.Reason != "unknown" || !strings.Contains(s.Text, "perhaps sent") {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	g.out <- errors.New("too late")
}

func ruleReap(t *testing.T, r *rig) {
	id := r.enqueue()
	eid := r.claim("ghost")
	_, stop := r.run(nil)
	r.becomes(r.enqueue(), queue.Done)
	stop() // takes its own name out
	consumers, err := r.rdb.XInfoConsumers(r.ctx, r.base+"jobs", "w").Result()
	if err != nil || len(consumers) != 1 || consumers[0].Name != "ghost" {
		t.Errorf("got %+v, %v; want the ghost alone", consumers, err)
	}
	r.age(eid, "ghost", 1)
	r.run(nil)
	r.becomes(id, queue.Done)
}

func ruleCancelledCrash(t *testing.T, r *rig) {
	id := r.enqueue()
	eid := r.claim("ghost")
	if err := r.client.Cancel(r.ctx, id); !errors.Is(err, queue.ErrRunning) {
		t.Errorf("got %v, want ErrRunning", err)
	}
	r.age(eid, "ghost", 1)
	h, _ := r.run(nil)
	s := r.becomes(id, queue.Cancelled)
	if h.Count(id) != 0 || s.Kind != "test" {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	r.nothingLeft()
}
