package model

// A guard is what all processes know of a credential that was refused (the gate)
// or of a destination that does not answer (the breaker of its lane). Both are one
// machine: it shuts, after a pause one job may try, and a probe that says nothing
// is given up after a while. They differ in what becomes of the other jobs, which
// are parked or handed back, and in what opens it: a probe that works, or any answer.
const (
	guardOpen  uint8 = iota
	guardShut        // nobody may try before the pause is over
	guardDue         // who asks first may
	guardProbe       // somebody may, and nobody else for a while
)

// proc is what a process knows beside its claim.
type proc struct {
	view  uint8 // its copy of the guard: open, shut or due
	old   bool  // of before the last release
	stage uint8 // its number of partitions: one, two, and one again
	sees  bool  // it knows that some process had two
}

// What a probe that worked has still to do before its outcome is written.
const (
	tellNothing uint8 = iota
	tellOpen          // open the gate
	tellRelease       // then let the parked jobs go
)

func (c *Config) guarded() bool { return c.Gate || c.Lane }

// seen is the copy that a process makes of the guard.
func seen(guard uint8) uint8 {
	if guard == guardProbe {
		return guardShut
	}
	return guard
}

// guards is what a job meets before it begins. It reports whether that is all
// that it can do now.
func (m *mover) guards(w int) bool {
	c, view := &m.from.claims[w], m.from.procs[w].view
	if c.probe || view == guardOpen || m.cfg.Gate && m.from.newer { // version 2 was never refused
		return false
	}
	if view == guardShut {
		s := *m.from
		m.turnAway(&s, w, s.procs[w].old)
		m.emit(s, progress, "worker %d knows that %s must not be tried", w, names[c.life])
		return true
	}
	m.asks(w)
	return true
}

// turnAway parks the job untried, or hands it back.
func (m *mover) turnAway(s *state, w int, old bool) {
	c := &s.claims[w]
	c.phase, c.out = ended, toDelay
	if m.cfg.Gate {
		c.out, c.untried, c.old = toPark, true, old
	} else {
		m.countHandback(c)
	}
}

// countHandback is what a hand-back does to the count of attempts: nothing.
func (m *mover) countHandback(c *claim) {
	if m.cfg.Mistake == HandbackCounts {
		c.meta.tries++
	}
}

// asks is "ask" of gate.lua and "probe" of pace.lua, for a process to which the
// pause is over.
func (m *mover) asks(w int) {
	s := *m.from
	p := &s.procs[w]
	var text string
	switch s.now.guard {
	case guardOpen:
		p.view, p.old = guardOpen, false
		text = "worker %d asks for %s and hears that all may try"
	case guardDue:
		if m.cfg.Mistake != ProbesForAll {
			s.now.guard = guardProbe
		}
		s.claims[w].probe = true
		text = "worker %d asks for %s, which is the probe"
	default:
		p.view, p.old = guardShut, false
		m.turnAway(&s, w, false)
		text = "worker %d asks for %s and is refused"
	}
	m.emit(s, progress, text, w, names[s.claims[w].life])
	if !m.may() {
		return
	}
	for _, heard := range [...]bool{false, true} {
		from := *m.from
		if heard && from.now.guard == guardDue {
			from.now.guard = guardProbe
		} else if heard {
			continue
		}
		switch {
		case m.cfg.Lane: // this process alone decides
			from.claims[w].probe, from.slow = true, true
		case m.cfg.Mistake == AskErrorTries:
			from.claims[w].probe = true
		default:
			m.turnAway(&from, w, from.procs[w].old)
		}
		m.emit(from, fault, "worker %d asks for %s and gets no answer", w, names[from.claims[w].life])
	}
}

// shut is a refused login, or a destination that did not answer, as it is told to
// all. What was under way when the guard shut says nothing new.
func (m *mover) shut(s state, w int, name string) {
	c, p := &s.claims[w], &s.procs[w]
	if m.cfg.Gate && p.view == guardShut || m.cfg.Lane && p.view != guardOpen && !c.probe {
		m.emit(s, progress, name, w, names[c.life])
		return
	}
	if m.may() {
		m.emit(s, fault, name+", and cannot tell", w, names[c.life])
		unheard := s
		unheard.now.guard = guardShut
		m.emit(unheard, fault, name+", and hears nothing of what it told", w, names[c.life])
	}
	s.now.guard, p.view, p.old = guardShut, guardShut, false
	m.emit(s, progress, name, w, names[c.life])
}

// answered is an attempt that got an answer, of whatever kind.
func (m *mover) answered(s *state, w int) {
	c, p := &s.claims[w], &s.procs[w]
	switch {
	case m.cfg.Lane && p.view != guardOpen:
		s.now.guard, p.view = guardOpen, guardOpen
	case m.cfg.Gate && c.probe && c.out == toDone && p.view != guardOpen && !s.newer:
		c.tell = tellOpen
	}
}

// tells is what a probe that worked does before its outcome is written: the gate
// opens, and then the set is emptied. A process that gets no answer leaves it so.
func (m *mover) tells(w int) {
	s := *m.from
	c := &s.claims[w]
	name := names[c.life]
	if c.tell == tellOpen {
		s.now.guard, c.tell = guardOpen, tellRelease
		if m.emit(s, progress, "worker %d with %s opens the gate", w, name); m.may() {
			s.claims[w].tell = tellNothing
			m.emit(s, fault, "worker %d with %s opens the gate, answer lost", w, name)
		}
		return
	}
	c.tell = tellNothing
	x := script{state: &s, cfg: m.cfg, most: -1}
	x.releaseAll()
	if m.may() {
		m.emit(s, fault, "worker %d with %s lets all parked jobs go, answer lost", w, name)
	}
	s.procs[w].view, s.procs[w].old = guardOpen, false
	m.emit(s, progress, "worker %d with %s lets all parked jobs go", w, name)
}

// releaseAll is unpark.lua for all, which keeps its time: what anybody knew of the
// refusal before is old.
func (x *script) releaseAll() {
	for l := range x.now.lives {
		if x.life(l).parked {
			x.again(l, x.life(l).meta, &x.life(l).parked)
		}
	}
	for w := range x.claims {
		x.procs[w].old = x.procs[w].view != guardOpen
		x.claims[w].old = x.claims[w].untried
	}
}

// guardTime is what happens to a guard by itself: pauses end, processes read what
// it is, parked jobs are let go as probes, and a refusal that is gone comes back.
func (m *mover) guardTime() {
	switch m.from.now.guard {
	case guardShut:
		m.pauseEnds("the pause of the guard ends")
	case guardProbe:
		if m.cfg.Mistake != ProbeForGood {
			m.pauseEnds("nothing was heard of the probe for its time")
		}
	}
	for w := range m.cfg.Workers {
		if p := &m.from.procs[w]; p.view != seen(m.from.now.guard) || p.old {
			s := *m.from
			s.procs[w].view, s.procs[w].old = seen(s.now.guard), false
			m.emit(s, progress, "worker %d reads the guard", w)
		}
	}
	if m.cfg.Gate {
		m.tends()
	}
}

// pauseEnds lets the next job try. That a probe is under way by then is a fault: it
// takes longer than any attempt may.
func (m *mover) pauseEnds(text string) {
	s := *m.from
	s.now.guard = guardDue
	for w := range s.procs {
		if s.procs[w].view == guardShut {
			s.procs[w].view = guardDue
		}
	}
	if !s.probing(0) && !s.probing(1) {
		m.emit(s, progress, text)
	} else if m.may() {
		s.slow = true
		m.emit(s, fault, text+", and it is under way")
	}
}

// probing reports whether worker w has a probe under way.
func (s *state) probing(w int) bool {
	c := &s.claims[w]
	return c.probe && (c.phase == claimed || c.phase == begun)
}

// tends lets the oldest parked job go where a probe is due, and closes the gate
// again for a set whose refusal is gone: else nobody would ever look at it.
func (m *mover) tends() {
	due, oldest := -1, -1
	for w := range m.cfg.Workers {
		if m.from.procs[w].view == guardDue {
			due = w
		}
	}
	for l := range m.from.now.lives {
		if oldest < 0 && m.from.now.lives[l].parked {
			oldest = l
		}
	}
	if oldest < 0 {
		return
	}
	if due >= 0 && m.probesIn(oldest) {
		m.run(progress, "a probe is let go:", names[oldest], func(x *script) {
			x.again(oldest, x.life(oldest).meta, &x.life(oldest).parked)
		}, nil, nil)
	}
	if m.from.now.guard == guardOpen && m.cfg.Mistake != GateForgotten {
		s := *m.from
		s.now.guard = guardShut
		m.emit(s, progress, "a sweep closes the gate again for %s", names[oldest])
	}
}

// wrongProbes says whether two probes are under way, or may be in a moment, although
// none took longer than its time.
func (s *state) wrongProbes() string {
	a, b := s.probing(0), s.probing(1)
	switch {
	case s.slow || !a && !b:
	case a && b:
		return "two probes are under way"
	case s.now.guard == guardDue:
		return "a probe is under way and another may begin"
	}
	return ""
}
