package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sealpost/sealpost/queue"
)

const simSecret = "0123456789abcdef01234567"

// farSide is the world's one server. It has a ledger of what it accepted.
type farSide struct {
	world *world

	mu       sync.Mutex
	version  int64 // of the secret that we have
	works    int64 // lowest version that it takes
	sent     int
	attempts int
	lost     int // how often a line was cut or mended
}

// spoil changes the password at the far side.
func (f *farSide) spoil() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.works = f.version + 1
}

// rotate is a person who stores the new password. Half of the time nobody tells
// the queue.
func (f *farSide) rotate() {
	f.mu.Lock()
	f.version++
	version := f.version
	f.mu.Unlock()
	f.world.counts.rotations++
	if f.world.rng.IntN(2) == 0 {
		if _, err := f.world.client.CredentialChanged(context.Background(), simSecret, version); err != nil {
			f.world.t.Errorf("CredentialChanged: %v", err)
		}
	}
}

// newest is what the sweep asks.
func (f *farSide) newest(context.Context, string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version, nil
}

func (f *farSide) counts() (sent, attempts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent, f.attempts
}

// excuse gives every job that p has, or had a moment ago, a cause to be done again.
func (f *farSide) excuse(p *simPool) {
	const moment = 15 * time.Second // more than go-redis and the settler try
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost++
	for _, j := range f.world.jobs {
		if j.running[p] > 0 || j.at == p && time.Since(j.ended) < moment {
			j.excuses++
		}
	}
}

// held checks that no worker keeps a job and does nothing with it, for longer
// than two readers may sleep and a lane may wait.
func (f *farSide) held(id string, s queue.Status, j *simJob) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tries := 0
	for _, n := range j.running {
		tries += n
	}
	if s.State != queue.Running || tries > 0 {
		j.idle = time.Time{}
		return
	}
	if j.idle.IsZero() {
		j.idle = time.Now()
	}
	most := 20*time.Minute + time.Duration(f.world.pace)*1200*time.Millisecond
	if d := time.Since(j.idle); d > most {
		f.world.t.Errorf("job %s is held since %v and nobody does it: %+v", id, d, s)
	}
}

func (f *farSide) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.world.jobs, id)
}

// simHandler is what a pool does with jobs.
type simHandler struct{ pool *simPool }

func (h simHandler) Prepare(job *queue.Job) (queue.Work, error) { return simWork(h), nil }

type simWork struct{ pool *simPool }

func (simWork) Kind() string { return "sim" }
func (simWork) Lane() string { return "sim" }

// Do is an attempt at the far side.
func (w simWork) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	f := w.pool.world.far
	j, version := f.begin(w.pool, c)
	if j == nil {
		return queue.Reply{}, queue.Permanent(errors.New("a job that nobody knows"))
	}
	defer f.end(w.pool, j)
	if err := c.Begin(ctx); err != nil {
		return queue.Reply{}, err
	}
	f.mu.Lock()
	took := simTime(j.rng)
	f.mu.Unlock()
	wait := time.NewTimer(took)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return queue.Reply{}, context.Cause(ctx)
	case <-wait.C:
	}
	return f.answer(j, version)
}

// simTime is how long an attempt takes: mostly a second, sometimes ten minutes,
// which is ten leases.
func simTime(rng *rand.Rand) time.Duration {
	if rng.IntN(30) == 0 {
		return time.Duration(rng.Int64N(int64(10 * time.Minute)))
	}
	return time.Duration(rng.Int64N(int64(2 * time.Second)))
}

// begin finds the job and checks what its claim says of the attempts before.
func (f *farSide) begin(p *simPool, c *queue.Claim) (*simJob, int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.world.jobs[c.Job.ID]
	if j == nil {
		f.world.t.Errorf("job %s is done although it has ended: %s", c.Job.ID, c.Job.Action)
		return nil, 0
	}
	var action struct{ N int }
	if err := json.Unmarshal(c.Job.Action, &action); err != nil || action.N != j.n {
		f.world.t.Errorf("job %s has the action of another: %s", c.Job.ID, c.Job.Action)
	}
	f.attempts++
	j.idle = time.Time{}
	j.running[p]++
	if p.line.isDown() {
		j.excuses++
	}
	if n := c.Attempt - 1; n > j.failed || n < j.failed-j.excuses {
		f.world.t.Errorf("job %s: claim says attempt %d, and %d have failed, %d perhaps not recorded", c.Job.ID, c.Attempt, j.failed, j.excuses)
	}
	if most := f.lost - j.before; c.Crashes > most { // also one that only waited in a worker
		f.world.t.Errorf("job %s: claim says %d crashes, and lines were cut %d times since", c.Job.ID, c.Crashes, most)
	}
	return j, f.version
}

func (f *farSide) end(p *simPool, j *simJob) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j.running[p]--
	j.at, j.ended = p, time.Now()
	if p.line.isDown() {
		j.excuses++
	}
}

var errSim = errors.New("it went wrong")

// answer is what the far side says, and what it did.
func (f *farSide) answer(j *simJob, version int64) (queue.Reply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := queue.Reply{Secret: simSecret, SecretVersion: version}
	if version < f.works {
		return r, &queue.ParkedError{Secret: simSecret, Version: version, Err: errSim}
	}
	switch n := j.rng.IntN(100); {
	case n < 55:
		j.sent++
		f.sent++
		return r, nil
	case n < 70:
		j.failed++
		return r, errSim
	case n < 75:
		j.failed++
		return r, &queue.RetryAfterError{After: time.Duration(j.rng.Int64N(int64(2 * time.Hour))), Err: errSim}
	case n < 83:
		return r, &queue.ThrottledError{After: time.Duration(j.rng.Int64N(int64(10 * time.Minute))), Err: errSim}
	case n < 90:
		return r, &queue.HandbackError{After: time.Duration(j.rng.Int64N(int64(10 * time.Minute))), Err: errSim}
	case n < 93:
		j.failed++
		panic("a handler may do this")
	case n < 97: // accepted, and the answer is lost
		j.sent++
		f.sent++
		j.excuses++
		j.failed++
		r.Certainty = queue.Unknown
		return r, errSim
	}
	j.refused++
	return r, queue.Permanent(errSim)
}

// check compares the end of a job with what happened to it.
func (f *farSide) check(id string, s queue.Status, j *simJob) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.world.t
	used := j.failed
	switch s.State {
	case queue.Done:
		used++
		if j.sent == 0 {
			t.Errorf("job %s is done and was never sent: %+v", id, s)
		}
	case queue.Dead:
		used += j.refused
		if j.refused == 0 && j.failed < j.limit && s.Reason != "poison" {
			t.Errorf("job %s is dead after %d of %d attempts: %+v", id, j.failed, j.limit, s)
		}
	case queue.Expired:
		if j.expires.IsZero() || time.Now().Before(j.expires.Add(-queue.BackoffCap)) {
			t.Errorf("job %s is expired before its time %v: %+v", id, j.expires, s)
		}
	}
	if s.Used > used || s.Used < used-j.excuses-max(j.sent-1, 0) {
		t.Errorf("job %s: got %d attempts used, and there were %d: %+v, %+v", id, s.Used, used, s, j)
	}
	if j.sent > 1+j.excuses {
		t.Errorf("job %s was sent %d times, and %d of them have a cause", id, j.sent, j.excuses)
	}
}
