package queue

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	settleBatch   = 128                  // outcomes in one script call
	settlePause   = 2 * time.Millisecond // how long an outcome waits for others
	settleTimeout = 5 * time.Second      // how long a stopping process goes on trying
	retryFirst    = 50 * time.Millisecond
	retryMost     = 2 * time.Second // longest pause between two tries of a call that fails
)

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
	record  string        // JSON of the attempt's record, "" if none was made
	number  int           // of the record
	secret  string        // movePark
	version int64         // movePark
	follow  []byte        // moveDead: a job that becomes ready with it, or nil
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
	later   []*claim      // could not be written
	retry   time.Time     // when later is tried again
	pause   time.Duration
}

func newSettler(p *Pool) *settler {
	return &settler{
		pool: p, in: make(chan *claim, 2*settleBatch),
		stop: make(chan struct{}), stopped: make(chan struct{}),
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
		if batch = append(s.later, batch...); len(s.later) > 0 && time.Now().Before(s.retry) {
			s.later, batch = batch, nil
		} else {
			s.later = nil
		}
		for len(batch) > 0 {
			n := min(len(batch), settleBatch)
			s.flush(ctx, batch[:n])
			batch = batch[n:]
		}
		s.stuck.Store(len(s.later) > 0)
		if open {
			continue
		}
		if len(s.later) == 0 && len(s.in) == 0 {
			return
		}
		if time.Now().After(giveUp) {
			s.pool.log.Warn("stopped with outcomes that Redis did not take; the jobs will be done again", "jobs", len(s.later))
			return
		}
	}
}

// gather waits for outcomes and returns up to settleBatch of them, or none
// when it is time to try the later ones. open is false after stop.
func (s *settler) gather(timer *time.Timer) (batch []*claim, open bool) {
	wait := time.Hour
	if len(s.later) > 0 {
		wait = max(time.Until(s.retry), 0)
	}
	timer.Reset(wait)
	select {
	case c := <-s.in:
		batch = append(make([]*claim, 0, settleBatch), c)
	case <-timer.C:
		return nil, !s.stopping()
	case <-s.stop:
		if len(s.later) > 0 {
			<-timer.C
		}
		for len(s.in) > 0 {
			batch = append(batch, <-s.in)
		}
		return batch, false
	}
	timer.Reset(settlePause)
	for len(batch) < settleBatch {
		select {
		case c := <-s.in:
			batch = append(batch, c)
		case <-timer.C:
			return batch, true
		case <-s.stop:
			return batch, true // the next gather sees it
		}
	}
	return batch, true
}

func (s *settler) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// settlement is the script call for all outcomes of one move in one partition.
type settlement struct {
	call
	part    *partition
	move    move
	secret  string
	version int64
	claims  []*claim
	logs    []string // log keys, in the order in which they were met
	base    int      // len(keys) before the log keys
}

// flush writes a batch in one round trip. What fails goes to later.
func (s *settler) flush(ctx context.Context, batch []*claim) {
	var groups []*settlement
	for _, c := range batch {
		groups = s.group(groups, c)
	}
	calls := make([]*call, len(groups))
	for i, g := range groups {
		g.keys = append(g.keys, g.logs...)
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
		s.pause = 0
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

func (s *settler) postpone(g *settlement, err error) {
	s.pool.trouble("settle", err)
	if s.pause = max(min(s.pause*2, retryMost), retryFirst); len(s.later) == 0 {
		s.retry = time.Now().Add(jittered(s.pause))
	}
	s.later = append(s.later, g.claims...)
}

// group adds the outcome of c to the settlement of its kind.
func (s *settler) group(groups []*settlement, c *claim) []*settlement {
	o := &c.out
	for _, g := range groups {
		if g.part == c.part && g.move == o.move && g.secret == o.secret && g.version == o.version {
			g.add(c)
			return groups
		}
	}
	k := c.part.keys
	g := &settlement{part: c.part, move: o.move, secret: o.secret, version: o.version}
	ttl := retentionSeconds(s.pool.cfg.LogRetention)
	me := s.pool.consumer
	switch g.keys = k.with(); o.move {
	case moveDone:
		g.script, g.args = scriptDone, []any{ttl, k.parkedPrefix()}
	case moveDelay:
		g.script, g.args = scriptDelay, []any{ttl, me}
	case moveDead:
		g.script, g.args = scriptDead, []any{ttl, me, DedupWindow.Milliseconds(), max(DedupWindow, s.pool.cfg.LogRetention).Milliseconds()}
	case movePark:
		g.keys = append(g.keys, k.parked(parkName(o.secret, o.version)))
		g.script, g.args = scriptPark, []any{ttl, me, o.secret, o.version}
	case moveRelease:
		g.script, g.args = scriptRelease, []any{ttl, me}
	}
	g.base = len(g.keys)
	g.add(c)
	return append(groups, g)
}

func (g *settlement) add(c *claim) {
	g.claims = append(g.claims, c)
	o := &c.out
	jid := c.Job.JID
	field := ""
	log := 0
	if c.pool.cfg.LogRetention > 0 {
		log = g.logKey(c.part.keys.logOf(jid))
		field = logField(jid, o.number)
	}
	switch g.move {
	case moveDone:
		g.args = append(g.args, c.eid, jid, log, field, string(o.state)+" "+o.record)
	case moveDelay:
		g.args = append(g.args, c.eid, jid, max(o.after.Milliseconds(), 0), c.meta.body(c.raw), log, field, o.record)
	case moveDead:
		follow, dedup := g.follow(c)
		g.args = append(g.args, c.eid, jid, c.meta.body(c.raw), log, field, o.record, follow, dedup)
	case movePark:
		g.args = append(g.args, c.eid, jid, c.meta.Enqueued, c.meta.body(c.raw), log, field, o.record, c.asOf)
	case moveRelease:
		g.args = append(g.args, c.eid, jid, c.meta.body(c.raw), log, field)
	}
}

// follow returns the job that becomes ready with a dead letter, and the index
// in KEYS of the dedup key of its id: 0 if it has no id, or one of another
// partition, which a script cannot reach.
func (g *settlement) follow(c *claim) (job []byte, dedup int) {
	if len(c.out.follow) == 0 {
		return nil, 0
	}
	j, err := decodeJob(c.out.follow)
	if err != nil {
		c.pool.log.Error("a job that should follow a dead letter is no job", "job", c.Job.ID, "kind", c.kind, "err", err)
		return nil, 0
	}
	if j.ID == "" || partitionOf(j.ID, c.pool.cfg.Partitions) != c.part.index {
		return c.out.follow, 0
	}
	return c.out.follow, g.logKey(c.part.keys.dedup(j.ID))
}

// logKey returns the index in KEYS, from 1, that a log key will have.
func (g *settlement) logKey(key string) int {
	for i := len(g.logs) - 1; i >= 0; i-- {
		if g.logs[i] == key {
			return g.base + i + 1
		}
	}
	g.logs = append(g.logs, key)
	return g.base + len(g.logs)
}

// Answers of the scripts that only the holder may call.
const (
	codeLost      = 0
	codeMoved     = 1
	codeCancelled = 2
)

// report tells the observer and the log what became of the jobs.
func (s *settler) report(g *settlement) {
	debug := s.pool.log.Enabled(context.Background(), slog.LevelDebug)
	codes, _ := g.cmd.Int64Slice() // done answers a number: then there are none
	for i, c := range g.claims {
		state, code := c.out.state, int64(codeMoved)
		if i < len(codes) {
			code = codes[i]
		}
		switch {
		case code == codeCancelled:
			state = Cancelled
		case code == codeLost:
			state = ""
		}
		switch state {
		case Done, Dead, Cancelled, Expired:
			s.pool.cfg.Observer.finished(c.kind, state)
		}
		if debug {
			s.pool.log.Debug("settled", "job", c.Job.ID, "kind", c.kind, "outcome", state, "attempt", c.Attempt, "lost", code == codeLost)
		}
	}
}
