package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sealpost/sealpost/crashpoint"
)

// errPanic stands for a panic of a handler. Its value is not kept: it may hold
// what must not be seen.
var errPanic = errors.New("queue: the handler panicked; the log has the stack")

// Reasons that the queue gives itself; the others are the handlers'.
const (
	reasonPayload    = "payload"
	reasonPanic      = "panic"
	reasonUnknown    = "unknown"
	reasonCredential = "credential"
)

// route decides what happens to a job that has just been claimed.
func (p *Pool) route(c *claim, now time.Time) {
	switch {
	case c.bad != nil:
		p.finish(c, Reply{Stage: "decode", Reason: reasonPayload}, Permanent(c.bad), 0)
	case c.mark && c.Job.OnAmbiguous == "park":
		c.ambiguous.Store(true)
		p.finish(c, Reply{Certainty: Unknown, Reason: reasonUnknown}, errPerhapsSent, 0)
	case c.cancelled:
		p.end(c, Cancelled, "cancelled; its worker was lost")
	case p.expired(c):
		p.end(c, Expired, "expires_at passed before it was done")
	case c.Job.NotBefore.After(p.now()):
		p.handBack(c, c.Job.NotBefore.Sub(p.now())+time.Millisecond)
	default:
		p.toLane(c, now)
	}
}

// toLane prepares a job and starts it, or lets it wait.
func (p *Pool) toLane(c *claim, now time.Time) {
	work, err := p.prepare(c)
	if err != nil {
		c.kind = kindOf(c.Job)
		p.finish(c, Reply{Stage: "params", Reason: reasonPayload}, err, 0)
		return
	}
	c.work, c.kind = work, work.Kind()
	if p.heldBack(c) {
		return
	}
	crashpoint.Point("prepared")
	switch verdict, after := p.lanes.admit(c, now); verdict {
	case laneStart:
		p.work.put(c)
	case laneFull:
		p.handBackAll([]handback{{c, after}})
	case laneDrained:
		p.release(c)
	}
}

// prepare is Handler.Prepare at the edge where panics end.
func (p *Pool) prepare(c *claim) (work Work, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.panicked(c, v)
			work, err = nil, errPanic
		}
	}()
	work, err = p.handler.Prepare(c.Job)
	if err == nil && work == nil {
		err = Permanent(errors.New("queue: the handler made no work of the job"))
	}
	return work, err
}

// worker does jobs until there will be no more.
func (p *Pool) worker() {
	for c := p.work.take(); c != nil; c = p.work.take() {
		for c != nil {
			c = p.do(c)
		}
	}
}

// do makes one attempt and returns the next job of the same lane, or nil.
func (p *Pool) do(c *claim) *claim {
	if p.expired(c) {
		next := p.leave(c, endUntried, 0, time.Now())
		p.end(c, Expired, "expires_at passed before it was done")
		return next
	}
	if p.heldBack(c) || p.gated(c) || p.unprobed(c) {
		return p.leave(c, endUntried, 0, time.Now())
	}
	crashpoint.Point("do-before")
	start := time.Now()
	reply, err := p.attempt(c)
	crashpoint.Point("do-after")
	end := time.Now()
	took := end.Sub(start)
	p.tellGate(c, &reply, err) // before another job gets the slot, and tries the same login
	next := p.leave(c, endingOf(&reply, err), took, end)
	p.tellBreaker(c, &reply, err)
	p.finishAt(c, reply, err, took, end)
	return next
}

// leave takes a job out of its lane and returns the next one of it, or nil.
func (p *Pool) leave(c *claim, how ending, took time.Duration, end time.Time) *claim {
	next, back, change := p.lanes.done(c, how, took, end)
	p.handBackAll(back)
	if c.change = change; change != stays {
		p.laneChanged(c, change)
	}
	return next
}

// attempt is Work.Do at the edge where panics end.
func (p *Pool) attempt(c *claim) (reply Reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.panicked(c, v)
			reply, err = Reply{Stage: "panic", Reason: reasonPanic}, errPanic
			if c.began.Load() {
				reply.Certainty = Unknown
			}
		}
	}()
	return c.work.Do(p.jobs, &c.Claim)
}

// panicked logs the type and the stack of a panic, never its value.
func (p *Pool) panicked(c *claim, v any) {
	p.log.Error("handler panicked", "job", c.Job.ID, "kind", c.kind, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
}

func (p *Pool) expired(c *claim) bool {
	return !c.Job.ExpiresAt.IsZero() && !c.Job.ExpiresAt.After(p.now())
}

// finish is finishAt for what ends now.
func (p *Pool) finish(c *claim, reply Reply, err error, took time.Duration) {
	p.finishAt(c, reply, err, took, time.Now())
}

// finishAt turns the result of an attempt into the job's next place.
func (p *Pool) finishAt(c *claim, reply Reply, err error, took time.Duration, end time.Time) {
	if errors.Is(err, ErrLeaseLost) && !c.ambiguous.Load() {
		p.drop(c)
		return
	}
	c.meta.merge(reply.Parts)
	p.decide(c, &reply, err)
	c.out.number = c.meta.Next
	if c.out.move == moveRelease {
		p.hand(c)
		return
	}
	now := p.clock.at(end)
	if _, handback := errors.AsType[*HandbackError](err); !handback || c.out.move == moveDone {
		r := c.record(&reply, now, took)
		c.out.keep(&r)
		c.meta.Next++
	}
	seen := Attempted{
		Kind: c.kind, Reason: reply.Reason, Outcome: c.out.state, Duration: took,
		Age: max(now.Sub(time.UnixMilli(c.meta.Enqueued)), 0),
	}
	p.hand(c)
	p.cfg.Observer.attempted(seen)
}

// decide fills c.out and counts in c.meta. It also completes the reply.
func (p *Pool) decide(c *claim, reply *Reply, err error) {
	if err == nil {
		reply.Certainty = Accepted
		c.meta.Attempts++
		c.out = outcome{move: moveDone, state: Done}
		return
	}
	c.explain(reply, err)
	if _, ok := errors.AsType[*PermanentError](err); ok {
		c.meta.Attempts++
		c.out = outcome{move: moveDead, state: Dead, follow: reply.OnDead}
		return
	}
	maybe := reply.Certainty == Unknown || reply.Certainty == Accepted
	if (maybe || c.ambiguous.Load()) && c.Job.OnAmbiguous == "park" {
		p.hold(c, reply)
		return
	}
	if e, ok := errors.AsType[*ParkedError](err); ok && e.Secret != "" {
		c.meta.Secret, c.meta.Version, c.meta.Beside = e.Secret, e.Version, e.on().beside()
		c.out = outcome{move: movePark, state: Parked, secret: e.Secret, version: e.Version, beside: c.meta.Beside}
		return
	}
	if errors.Is(context.Cause(p.jobs), ErrDrainTimeout) {
		c.out = outcome{move: moveRelease, state: Ready}
		if maybe { // keep the record of what may have been sent
			c.out = outcome{move: moveDelay, state: Delayed, after: p.cfg.Backoff(c.Attempt)}
		}
		return
	}
	p.decideRetry(c, reply, err)
}

// decideRetry is decide for errors after which the job may succeed.
func (p *Pool) decideRetry(c *claim, reply *Reply, err error) {
	if e, ok := errors.AsType[*ThrottledError](err); ok {
		c.meta.Handbacks++
		c.out = outcome{move: moveDelay, state: Delayed, after: p.throttle(c, e, reply)}
	} else if e, ok := errors.AsType[*HandbackError](err); ok {
		c.meta.Handbacks++
		c.out = outcome{move: moveDelay, state: Delayed, after: p.handbackTime(c, e.After)}
	} else {
		c.meta.Attempts++
		if c.meta.Attempts >= p.limit(c) {
			c.meta.Text = clip(fmt.Sprintf("gave up after %d attempts: %s", c.meta.Attempts, c.meta.Text))
			c.out = outcome{move: moveDead, state: Dead, follow: reply.OnDead}
			return
		}
		after := p.cfg.Backoff(c.meta.Attempts)
		if e, ok := errors.AsType[*RetryAfterError](err); ok {
			after = max(after, min(e.After, BackoffCap))
		}
		c.out = outcome{move: moveDelay, state: Delayed, after: after}
	}
	if at := c.Job.ExpiresAt; !at.IsZero() && p.now().Add(c.out.after).After(at) {
		c.out = outcome{move: moveDone, state: Expired}
		reply.Text = clip("would be tried again after expires_at: " + reply.Text)
	}
}

// limit is how many attempts a job has.
func (p *Pool) limit(c *claim) int {
	if n := c.Job.MaxAttempts; n > 0 {
		return n
	}
	if w, ok := c.work.(Limited); ok && w.MaxAttempts() > 0 {
		return w.MaxAttempts()
	}
	return p.cfg.MaxAttempts
}

// handbackTime is when a job comes back that its handler gave back.
func (p *Pool) handbackTime(c *claim, after time.Duration) time.Duration {
	if after <= 0 {
		return p.lanes.after(c, time.Now())
	}
	return min(after, BackoffCap) + jittered(lanePause)
}

// throttle stops the job's lane, in all processes, and hands back what waits in it.
func (p *Pool) throttle(c *claim, e *ThrottledError, reply *Reply) time.Duration {
	after := min(max(e.After, 0), BackoffCap)
	if c.lane == nil {
		return max(after, throttleBase)
	}
	own, back := p.lanes.throttled(c, after, e.Lesson, time.Now())
	p.handBackAll(back)
	p.teach(c.lane, e, after, reply)
	return own
}

// hold makes a dead letter of a job that was perhaps sent and whose producer
// wants a person to decide.
func (p *Pool) hold(c *claim, reply *Reply) {
	c.meta.Attempts++
	reply.Reason, reply.Certainty = reasonUnknown, Unknown
	c.meta.Reason = reasonUnknown
	c.meta.Text = clip("perhaps sent, and on_ambiguous is park: " + c.meta.Text)
	c.out = outcome{move: moveDead, state: Dead}
}

// explain fills what the handler left out of a failed reply, and remembers it
// as the job's last failure.
func (c *claim) explain(reply *Reply, err error) {
	if reply.Certainty == "" {
		reply.Certainty = Rejected
	}
	if reply.Text == "" {
		reply.Text = err.Error()
	}
	reply.Text = clip(reply.Text)
	if reply.Reason == "" {
		reply.Reason = "transient"
	}
	if errors.Is(err, errPanic) {
		reply.Reason = reasonPanic
	}
	c.meta.Reason, c.meta.Text = reply.Reason, clip(err.Error())
	c.meta.because(c, reply)
}

// record is what the log keeps of the attempt that just ended.
func (c *claim) record(r *Reply, now time.Time, took time.Duration) record {
	return record{
		Lane: clip(c.destination()),
		At:   now.Add(-took).UnixMilli(), Worker: c.pool.cfg.Name, Kind: c.kind, Number: c.Attempt, Used: c.meta.Attempts,
		Handbacks: c.meta.Handbacks, Crashes: c.meta.Crashes, Millis: took.Milliseconds(),
		Secret: r.Secret, Version: r.SecretVersion, Stage: clip(r.Stage), Code: clip(r.Code), Text: clip(r.Text),
		Rule: clip(r.Rule), Reason: clip(r.Reason), Certainty: string(r.Certainty),
	}
}

// end ends a job without an attempt.
func (p *Pool) end(c *claim, state State, why string) {
	r := record{
		At: p.now().UnixMilli(), Worker: p.cfg.Name, Kind: c.kind, Used: c.meta.Attempts,
		Handbacks: c.meta.Handbacks, Crashes: c.meta.Crashes, Text: why, Reason: string(state),
	}
	if c.kind == "" {
		c.kind = kindOf(c.Job)
		r.Kind = c.kind
	}
	c.out = outcome{move: moveDone, state: state, number: c.meta.Next}
	c.out.keep(&r)
	p.hand(c)
}

// handBack gives a job back to Redis without an attempt.
func (p *Pool) handBack(c *claim, after time.Duration) {
	c.out = outcome{move: moveDelay, state: Delayed, after: after, number: c.meta.Next}
	p.hand(c)
}

// handBackAll hands back jobs for which their lane has no room.
func (p *Pool) handBackAll(back []handback) {
	for _, b := range back {
		b.c.meta.Handbacks++
		b.c.meta.Waits = b.c.lane.name
		p.handBack(b.c, b.after)
	}
}

// release puts a job back into the stream that was not begun.
func (p *Pool) release(c *claim) {
	c.out = outcome{move: moveRelease, state: Ready, number: c.meta.Next}
	p.hand(c)
}

// hand gives the outcome to the settler and frees the slot; when Redis takes
// no outcomes, the slot is free when it has taken this one.
func (p *Pool) hand(c *claim) {
	p.untake(c)
	crashpoint.Point("handed")
	c.slot = p.settler.stuck.Load()
	free := !c.slot
	p.settler.put(c)
	if free {
		p.slots.put(1)
	}
}

// drop forgets a job that another worker has by now.
func (p *Pool) drop(c *claim) {
	p.untake(c)
	c.part.held.remove([]*claim{c})
	p.slots.put(1)
	p.log.Debug("lease lost", "job", c.Job.ID, "kind", c.kind)
}
