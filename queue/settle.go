package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	settleBatch   = 128                  // outcomes in one script call
	settlePause   = 2 * time.Millisecond // how long an outcome waits for others in a busy process
	settleTimeout = 5 * time.Second      // how long a stopping process goes on trying
	retryFirst    = 50 * time.Millisecond
	// A process is busy when it settles more than settleBusy jobs in settleWindow,
	// 5,000 a second. Only then outcomes wait for each other: many small calls would
	// take the time that the jobs need (go test -bench Drain). No process sends as
	// many mails.
	settleBusy   = 100
	settleFull   = 2 // full batches under way at once
	settleWindow = 20 * time.Millisecond

	// retryMost is the longest pause between two tries of a call that fails: work
	// goes on within a second of the return of Redis (chaos -outages).
	retryMost = 500 * time.Millisecond
)

// SettleCalls is how many script calls that write outcomes are under way at
// once, each on a connection of its own. What the far side accepted and Redis
// was not sent is sent again if the process is killed, so an outcome does not
// wait for the answer to those before it: with appendfsync always on a busy disk
// an answer takes 10 to 40 ms, in which a lane of 32 slots sends some 20 mails.
// With four calls a kill repeated 2.1 mails, with 32 1.1 (docs/reliability.md).
const SettleCalls = 32

// move is a script that ends a claim.
type move int

const (
	moveDone move = iota // to an end: outcome.state
	moveDelay
	moveDead
	movePark
	moveRelease
)

// outcome is what happens to a claim.
type outcome struct {
	move    move
	state   State         // the state after it
	after   time.Duration // moveDelay
	record  string        // of the attempt, "" if none was made: JSON; of moveDone, the log's value
	field   string        // its name in the log
	number  int           // of the record
	secret  string        // movePark
	version int64         // movePark
	beside  string        // movePark: see parkedOn
	follow  []byte        // moveDead: a job that becomes ready with it, or nil
}

// keep makes the text of the attempt's record.
func (o *outcome) keep(r *record) {
	if o.record = ""; o.move == moveDone {
		o.record = r.ending(o.state)
		return
	}
	o.record = r.json()
}

// settler writes outcomes to Redis, many in one round trip. An outcome that
// cannot be written is tried again until it is, or the process ends; then the
// lease runs out and another worker gets the job.
type settler struct {
	pool    *Pool
	in      chan *claim
	stop    chan struct{} // no more outcomes come
	stopped chan struct{} // run has returned
	stuck   atomic.Bool   // Redis takes no outcomes
	flights chan struct{} // has one for each call under way
	full    chan struct{} // the same, of full batches of a busy process
	failed  chan struct{} // has one when a call failed
	load    load

	mu    sync.Mutex
	later []*claim  // could not be written
	retry time.Time // when later is tried again
	pause time.Duration
}

func newSettler(p *Pool) *settler {
	return &settler{
		pool: p, in: make(chan *claim, 2*settleBatch),
		stop: make(chan struct{}), stopped: make(chan struct{}),
		flights: make(chan struct{}, SettleCalls), full: make(chan struct{}, settleFull), failed: make(chan struct{}, 1),
	}
}

// put hands an outcome over. It blocks while Redis is slower than the workers.
func (s *settler) put(c *claim) {
	select {
	case s.in <- c:
	case <-s.stopped: // a handler that ignored its context for too long
	}
}

// run writes outcomes until stop is closed and all are written, or
// settleTimeout after that.
func (s *settler) run(ctx context.Context) {
	defer close(s.stopped)
	var giveUp time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		batch, open := s.gather(timer)
		if !open && giveUp.IsZero() {
			giveUp = time.Now().Add(settleTimeout)
		}
		batch = s.due(batch)
		for len(batch) > 0 {
			n := min(len(batch), settleBatch)
			s.launch(ctx, batch[:n])
			batch = batch[n:]
		}
		if open {
			continue
		}
		s.land()
		left := s.postponed()
		if left == 0 && len(s.in) == 0 {
			return
		}
		if time.Now().After(giveUp) {
			s.pool.log.Warn("stopped with outcomes that Redis did not take; the jobs will be done again", "jobs", left)
			return
		}
	}
}

// launch writes a batch. A busy process waits for the answer, as more outcomes
// gather then for the next call, unless the batch is full: the next one is made
// while Redis writes it.
func (s *settler) launch(ctx context.Context, batch []*claim) {
	flights := s.flights
	if s.load.busy() {
		if len(batch) < settleBatch {
			s.flush(ctx, batch)
			return
		}
		flights = s.full
	}
	flights <- struct{}{}
	go func() {
		s.flush(ctx, batch)
		<-flights
	}()
}

// land waits until no call is under way.
func (s *settler) land() {
	for _, flights := range []chan struct{}{s.flights, s.full} {
		for range cap(flights) {
			flights <- struct{}{}
		}
		for range cap(flights) {
			<-flights
		}
	}
}

// due returns what is to be written now: batch, behind what was postponed if its
// time has come. While something is postponed, all wait.
func (s *settler) due(batch []*claim) []*claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.later) == 0 {
		return batch
	}
	all := append(s.later, batch...)
	if s.later = nil; time.Now().Before(s.retry) {
		s.later = all
		return nil
	}
	return all
}

// postponed returns how many outcomes could not be written.
func (s *settler) postponed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.later)
}

// wait is how long nothing is due if no outcome comes.
func (s *settler) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.later) == 0 {
		return time.Hour
	}
	return max(time.Until(s.retry), 0)
}

// gather waits for outcomes and returns up to settleBatch of them, or none
// when it is time to try the later ones. open is false after stop.
func (s *settler) gather(timer *time.Timer) (batch []*claim, open bool) {
	wait := s.wait()
	timer.Reset(wait)
	select {
	case c := <-s.in:
		batch = append(make([]*claim, 0, settleBatch), c)
	case <-timer.C:
		return nil, !s.stopping()
	case <-s.failed:
		return nil, !s.stopping() // to wait for less
	case <-s.stop:
		if wait < time.Hour {
			<-timer.C
		}
		for len(s.in) > 0 {
			batch = append(batch, <-s.in)
		}
		return batch, false
	}
	if s.load.busy() {
		timer.Reset(settlePause)
		batch = s.fill(batch, timer.C)
	}
	for len(batch) < settleBatch && len(s.in) > 0 {
		batch = append(batch, <-s.in)
	}
	s.load.add(len(batch), time.Now())
	return batch, true
}

// fill adds outcomes until the batch is full, or end.
func (s *settler) fill(batch []*claim, end <-chan time.Time) []*claim {
	for len(batch) < settleBatch {
		if len(s.in) > 0 { // without a select, which costs more than all else here
			batch = append(batch, <-s.in)
			continue
		}
		select {
		case c := <-s.in:
			batch = append(batch, c)
		case <-end:
			return batch
		case <-s.stop:
			return batch // the next gather sees it
		}
	}
	return batch
}

// load tells how many outcomes a process has.
type load struct {
	from time.Time // of the window
	n    int       // in it
	full bool      // the last window was
}

func (l *load) add(n int, now time.Time) {
	if since := now.Sub(l.from); since > settleWindow {
		l.full = l.n > settleBusy && since < 2*settleWindow
		l.from, l.n = now, 0
	}
	l.n += n
}

// busy reports whether outcomes come faster than any mail goes out.
func (l *load) busy() bool { return l.full || l.n > settleBusy }

func (s *settler) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// flush writes a batch in one round trip. What fails goes to later.
func (s *settler) flush(ctx context.Context, batch []*claim) {
	var groups []*settlement
	for _, c := range batch {
		groups = s.group(groups, c)
	}
	calls := make([]*call, len(groups))
	for i, g := range groups {
		g.complete()
		calls[i] = &g.call
	}
	for _, g := range groups {
		g.before()
	}
	runCalls(ctx, s.pool.rdb, calls)
	for _, g := range groups {
		if err := g.cmd.Err(); err != nil && err != redis.Nil {
			s.postpone(g, err)
			continue
		}
		g.after()
		s.landed()
		g.part.held.remove(g.claims)
		kept := 0
		for _, c := range g.claims {
			if c.slot {
				kept++
			}
		}
		s.pool.slots.put(kept)
		s.report(g)
	}
}

// postpone keeps what a call that failed was to write.
func (s *settler) postpone(g *settlement, err error) {
	s.pool.trouble("settle", err)
	s.mu.Lock()
	if now := time.Now(); len(s.later) == 0 && !now.Before(s.retry) { // not for each of the calls that failed at once
		s.pause = max(min(s.pause*2, retryMost), retryFirst)
		s.retry = now.Add(jittered(s.pause))
	}
	s.later = append(s.later, g.claims...)
	s.stuck.Store(true)
	s.mu.Unlock()
	select {
	case s.failed <- struct{}{}:
	default:
	}
}

// landed notes that Redis takes outcomes.
func (s *settler) landed() {
	if !s.stuck.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = 0
	s.stuck.Store(len(s.later) > 0)
}
