package queue

import (
	"context"
	"log/slog"
	"slices"
)

// settlement is the script call for all outcomes of one move in one partition.
type settlement struct {
	call
	part    *partition
	move    move
	secret  string
	version int64
	beside  string
	claims  []*claim
	logs    []string // log keys, in the order in which they were met
	base    int      // len(keys) before the log keys
	records [][]any  // moveDone: fields and values of each of logs
	moved   bool     // moveDone: an entry id is not its job's jid
}

// group adds the outcome of c to the settlement of its kind.
func (s *settler) group(groups []*settlement, c *claim) []*settlement {
	o := &c.out
	for _, g := range groups {
		if g.part == c.part && g.move == o.move && g.secret == o.secret && g.version == o.version && g.beside == o.beside {
			g.add(c)
			return groups
		}
	}
	k := c.part.keys
	g := &settlement{part: c.part, move: o.move, secret: o.secret, version: o.version, beside: o.beside}
	ttl := retentionSeconds(s.pool.cfg.LogRetention)
	me := s.pool.consumer
	switch g.keys = k.with(); o.move {
	case moveDone:
		g.script, g.args = scriptDone, []any{ttl, k.parkedPrefix()} // complete adds the rest
	case moveDelay:
		g.script, g.args = scriptDelay, []any{ttl, me}
	case moveDead:
		g.script, g.args = scriptDead, []any{ttl, me, DedupWindow.Milliseconds(), max(DedupWindow, s.pool.cfg.LogRetention).Milliseconds()}
	case movePark:
		g.keys = append(g.keys, k.parked(g.parked()))
		g.script, g.args = scriptPark, []any{ttl, me, o.secret, o.version, o.beside}
	case moveRelease:
		g.script, g.args = scriptRelease, []any{ttl, me}
	}
	g.base = len(g.keys)
	g.add(c)
	return append(groups, g)
}

// parked is the name of the parked set.
func (g *settlement) parked() string { return Credential{g.secret, g.version}.name() + g.beside }

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
		g.moved = g.moved || c.eid != jid
		if o.field = field; log > 0 {
			g.record(log-g.base-1, o)
		}
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

// record adds the record of an outcome to those of g.logs[i].
func (g *settlement) record(i int, o *outcome) {
	for len(g.records) <= i {
		g.records = append(g.records, make([]any, 0, 2*settleBatch))
	}
	g.records[i] = append(g.records[i], &o.field, &o.record) // pointers: a string in an interface is an allocation
}

// complete makes the keys and arguments of the call, once all outcomes are
// added.
func (g *settlement) complete() {
	g.keys = append(g.keys, g.logs...)
	if g.move != moveDone {
		return
	}
	g.args = slices.Grow(g.args, 2+4*len(g.claims)+2*len(g.logs))
	g.args = append(g.args, len(g.claims), g.moved)
	for _, c := range g.claims {
		g.args = append(g.args, &c.eid)
	}
	for _, c := range g.claims {
		if g.moved {
			g.args = append(g.args, &c.Job.JID)
		}
	}
	for i, r := range g.records {
		g.args = append(append(g.args, g.base+i+1, len(r)/2), r...)
	}
}

// follow returns the job that becomes ready with a dead letter, and the index
// in KEYS of the dedup key of its id: 0 if it has no id, or one of another
// partition, which a script cannot reach.
func (g *settlement) follow(c *claim) (job []byte, dedup int) {
	if len(c.out.follow) == 0 {
		return nil, 0
	}
	j := &Job{}
	if err := decodeJob(j, c.out.follow); err != nil {
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
	codeReady     = 3 // of park: the credential was released meanwhile
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
		case code == codeReady && c.asOf > 0:
			s.pool.gate.outdated(g.parked(), c.asOf)
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
