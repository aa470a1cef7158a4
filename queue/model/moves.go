package model

import "fmt"

// kind says who is behind a step. Only progress happens by itself.
type kind uint8

const (
	progress kind = iota
	choice        // a person's, or a hand-back: it may happen for ever and need not
	fault
)

// visit is called with each state that one step leads to.
type visit func(next *state, k kind, name string, args ...any)

// mover makes the steps out of one state.
type mover struct {
	cfg  *Config
	from *state
	to   visit
	next state  // the one that to sees; here, and not made each time, as there are 10^8
	work state  // of a script
	x    script // likewise
}

// moves calls to with every step out of s.
func (c *Config) moves(s *state, to visit) {
	m := &mover{cfg: c, from: s, to: to}
	m.producers()
	for w := range c.Workers {
		switch s.claims[w].phase {
		case idle:
			m.reads(w)
		case claimed:
			m.begins(w)
		case begun:
			m.attempts(w)
		case ended:
			m.settles(w)
		}
	}
	for l := range s.now.lives {
		m.upkeep(l)
		if c.People {
			m.people(l)
		}
	}
	m.world()
	if m.cfg.guarded() {
		m.guardTime()
	}
	if m.cfg.Partitions {
		m.numbers()
	}
}

// may reports whether one more fault may happen.
func (m *mover) may() bool { return int(m.from.faults) < m.cfg.Faults }

func (m *mover) emit(s state, k kind, name string, args ...any) {
	if k == fault {
		s.faults++
	}
	m.next = s
	m.to(&m.next, k, name, args...)
}

// run makes a script run in every way: all of it; all of it but the caller gets
// no answer; and, stopped after each of its writes. then is what the caller does
// with the answer, lost what it does without one.
func (m *mover) run(k kind, name string, arg any, body func(*script), then, lost func(*state)) {
	x := m.script(-1, body)
	writes := x.n
	s := *x.state
	if m.may() && lost != nil {
		unheard := s
		lost(&unheard)
		m.emit(unheard, fault, name+" %v, answer lost", arg)
	}
	if then != nil {
		then(&s)
	}
	m.emit(s, k, name+" %v", arg)
	if !m.may() || !m.cfg.Aborts {
		return
	}
	for n := 1; n < writes; n++ {
		x := m.script(n, body)
		x.tear()
		if lost != nil {
			lost(x.state)
		}
		m.emit(*x.state, fault, name+" %v, stopped after write %d of %d", arg, n, writes)
	}
}

func (m *mover) script(most int, body func(*script)) *script {
	m.work = *m.from
	m.x = script{state: &m.work, cfg: m.cfg, most: most}
	body(&m.x)
	return &m.x
}

// tear remembers what a script left half done.
func (x *script) tear() {
	for l := range x.traces {
		if x.touched>>l&1 == 1 {
			j := &x.jobs[jobOf(l)]
			x.traces[l].torn = true
			j.excuses = maxCount // the copies go on apart, each with its own parts
			if x.now.dedup[jobOf(l)] == 0 {
				j.twice = true
			}
		}
	}
}

// excuse allows one more send, as it has a cause.
func (s *state) excuse(j *job) { j.excuses = min(j.excuses+1, maxCount) }

const maxCount = 7 // of sends and excuses; faults are fewer

// producers send their jobs until they are told.
func (m *mover) producers() {
	for j := range m.cfg.Jobs {
		job := &m.from.jobs[j]
		if !m.cfg.produced(j) || job.knows >= told || j >= 2 && m.from.jobs[j-2].knows < told {
			continue
		}
		if m.mayEnqueue() {
			m.enqueue(j)
		}
		if job.knows == unsure && m.may() {
			s := *m.from
			s.jobs[j].knows = silenced
			m.emit(s, fault, "the producer of job %d dies", j)
		}
	}
}

func (m *mover) enqueue(j int) {
	if m.cfg.Wait && m.from.lag == lagging && m.from.jobs[j].knows == unsure && m.from.now.dedup[j] != 0 && m.cfg.Mistake != DuplicateNoWait {
		return // it would only wait again
	}
	duplicate := false
	body := func(x *script) {
		was := x.lively(j)
		duplicate = x.enqueue(j)
		if !duplicate && was && !x.jobs[j].twice && !x.beyond {
			x.wrong = fmt.Sprintf("job %d was accepted twice without a cause", j)
		}
	}
	told := func(s *state) {
		s.jobs[j].knows = told
		waits := m.cfg.Wait && s.lag == lagging && m.cfg.Mistake != ToldWithoutWait
		if waits && !(duplicate && m.cfg.Mistake == DuplicateNoWait) {
			s.jobs[j].knows = unsure
		}
	}
	m.run(progress, "producer enqueues job", j, body, told, func(s *state) {
		s.jobs[j].knows = unsure
		if bit(m.cfg.NoID, j) {
			s.jobs[j].twice = true
			s.excuse(&s.jobs[j])
		}
	})
}

// lively reports whether job j has been enqueued and is somewhere, or has ended.
func (s *state) lively(j int) bool {
	for l := j * copies; l < (j+1)*copies; l++ {
		if s.now.lives[l].places() > 0 {
			return true
		}
	}
	return s.jobs[j].over
}

// upkeep is what any pool does for delayed and parked jobs.
func (m *mover) upkeep(l int) {
	life := &m.from.now.lives[l]
	if !m.tended(l) {
		return
	}
	if life.due {
		m.run(progress, "promote", names[l], func(x *script) {
			x.again(l, x.life(l).meta, &x.life(l).due)
		}, nil, nil)
	}
	if life.parked && m.from.now.version {
		m.run(progress, "unpark", names[l], func(x *script) {
			x.again(l, x.life(l).meta, &x.life(l).parked)
		}, nil, nil)
	}
}

// people retry, remove and cancel.
func (m *mover) people(l int) {
	life := &m.from.now.lives[l]
	if !life.exists() {
		return
	}
	if life.dead && life.body {
		m.run(choice, "operator retries", names[l], func(x *script) {
			kept := x.life(l).meta
			kept.tries, kept.losses = 0, 0
			for i, p := range kept.parts {
				if p == refused || m.cfg.Mistake == ForgetParts {
					kept.parts[i] = open
				}
			}
			x.again(l, kept, &x.life(l).dead)
		}, nil, nil)
		m.run(choice, "operator removes", names[l], func(x *script) {
			x.jobs[jobOf(l)].over = true
			x.take(l, &x.life(l).dead)
		}, nil, nil)
	}
	if x := m.script(-1, func(x *script) { x.cancel(l) }); x.n > 0 {
		m.run(choice, "operator cancels", names[l], func(x *script) { x.cancel(l) }, nil, nil)
	}
}

// world is what happens to all: a new secret, a replica that falls behind, a failover.
func (m *mover) world() {
	if m.cfg.Secret && !m.from.newer {
		s := *m.from
		s.newer = true
		m.emit(s, progress, "the secret gets version 2")
	}
	if m.from.newer && !m.from.now.version && m.cfg.Mistake != SweepForgets {
		s := *m.from
		s.now.version, s.now.guard = true, guardOpen
		m.emit(s, progress, "the queue is told of version 2")
	}
	if m.cfg.Mistake == BareDelconsumer {
		s := *m.from
		s.now.each(func(_ int, e *entry) {
			if e.holder() == gone && e.inStream() {
				e.state = orphan
			}
		})
		m.emit(s, progress, "DELCONSUMER of workers that are gone")
	}
	switch {
	case m.cfg.Failover && m.from.lag == inStep:
		s := *m.from
		s.was, s.lag = s.now, lagging
		m.emit(s, choice, "the replica gets nothing any more")
	case m.from.lag == lagging:
		s := *m.from
		s.failover(m.cfg)
		m.emit(s, progress, "failover to the replica")
	}
}

// failover takes back what the replica does not have, and with it what the
// ledgers may demand.
func (s *state) failover(cfg *Config) {
	for l := range s.traces {
		j := jobOf(l)
		if s.now.lives[l] == s.was.lives[l] && s.now.dedup[j] == s.was.dedup[j] {
			continue
		}
		t := &s.traces[l]
		t.known, t.reported = 0, false
		if l%copies == 0 || s.now.lives[l-1] == s.was.lives[l-1] || cfg.Partitions {
			s.excuse(&s.jobs[j])
		}
		s.jobs[j].twice = true
		cfg.lose(s, l)
	}
	s.slow = s.slow || s.now.guard != s.was.guard
	s.now, s.lag = s.was, failed
	if next := cfg.follows(0); next >= 0 && !s.lively(next) {
		s.jobs[next].knows = unsent
	}
}

// each calls do with every entry.
func (r *redis) each(do func(l int, e *entry)) {
	for l := range r.lives {
		for i := range r.lives[l].entries {
			if e := &r.lives[l].entries[i]; e.state != none {
				do(l, e)
			}
		}
	}
}

// names is how paths call a life: a second one of the same job is a copy.
var names = [lives]any{"job 0", "job 0 (copy)", "job 1", "job 1 (copy)", "job 2", "job 2 (copy)"}

func name(l int) string { return names[l].(string) }
