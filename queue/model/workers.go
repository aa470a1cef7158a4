package model

// reads are the ways in which an idle worker gets a job.
func (m *mover) reads(w int) {
	if !m.from.now.group {
		s := *m.from
		s.now.group = true
		if m.cfg.Mistake == GroupAtEnd {
			s.now.each(func(_ int, e *entry) {
				if e.state == fresh {
					e.state = orphan
				}
			})
		}
		m.emit(s, progress, "worker %d makes the group", w)
		return
	}
	for l := range m.from.now.lives {
		for i := range m.from.now.lives[l].entries {
			e := &m.from.now.lives[l].entries[i]
			switch {
			case !m.reader(w, l):
			case e.state == fresh:
				m.read(w, l, i)
			case e.holder() >= 0:
				m.takeOver(w, l, i)
			}
		}
	}
}

// read is XREADGROUP.
func (m *mover) read(w, l, i int) {
	s := *m.from
	e := &s.now.lives[l].entries[i]
	e.state, e.runs = pending+uint8(w), 1
	if m.may() {
		unheard := s
		m.cfg.lose(&unheard, l)
		m.emit(unheard, fault, "worker %d reads %s, answer lost", w, names[l])
	}
	m.cfg.claim(&s, w, l, e)
	if m.cfg.Mistake == AckBeforeSend {
		e.state = none
	}
	m.emit(s, progress, "worker %d reads %s", w, names[l])
}

// claim gives entry e to worker w.
func (cfg *Config) claim(s *state, w, l int, e *entry) {
	c := &s.claims[w]
	*c = claim{phase: claimed, life: uint8(l), serial: e.serial, young: true, meta: e.meta}
	c.meta.losses += e.runs - 1
	t := &s.traces[l]
	switch {
	case t.torn:
	case t.reported:
		s.wrong = name(l) + " is given to a worker although its success was recorded"
	case t.known&^c.meta.mask(accepted) != 0:
		s.wrong = name(l) + " is given to a worker without a part that was recorded as accepted"
	default:
		s.wrong = cfg.wrongLosses(s, l, &c.meta)
	}
}

// holds reports whether worker w knows that it has the entry.
func (s *state) holds(w, l int, serial uint8) bool {
	c := &s.claims[w]
	return c.phase != idle && int(c.life) == l && c.serial == serial
}

// takeOver is reclaim.lua. Workers that are gone, or do not know that they have
// the entry, do not renew its lease: it runs out. That the lease of another runs
// out is a fault, and if it has begun the job it may well be sent twice.
func (m *mover) takeOver(w, l, i int) {
	e := &m.from.now.lives[l].entries[i]
	h := e.holder()
	knows := h < gone && m.from.holds(h, l, e.serial)
	if knows && (h == w || m.cfg.Mistake != TakeWithoutIdle && !m.may()) {
		return
	}
	k := progress
	from := *m.from
	if knows && m.cfg.Mistake != TakeWithoutIdle {
		k = fault
		from.claims[h].young = false
		m.cfg.lose(&from, l)
		if from.claims[h].phase >= begun {
			from.excuse(&from.jobs[jobOf(l)])
		}
	}
	e = &from.now.lives[l].entries[i]
	if !e.inStream() { // XAUTOCLAIM forgets deleted entries
		*e = entry{}
		m.emit(from, k, "worker %d forgets an entry of %s that was deleted", w, names[l])
		return
	}
	crashes := e.meta.losses + e.runs
	if int(crashes) < m.cfg.losses() && !m.mayRun(w, crashes) {
		m.leaves(w, l, i)
		return
	}
	e.state, e.runs = pending+uint8(w), e.runs+1
	if int(crashes) >= m.cfg.losses() {
		m.poison(w, l, i, k, &from)
		return
	}
	if m.may() && k != fault {
		unheard := from
		m.cfg.lose(&unheard, l)
		m.emit(unheard, fault, "worker %d takes over %s, answer lost", w, names[l])
	}
	m.cfg.claim(&from, w, l, e)
	if from.now.lives[l].cancel {
		c := &from.claims[w]
		c.phase, c.out = ended, toCancelled
	}
	m.emit(from, k, "worker %d takes over %s", w, names[l])
}

// poison buries a job that has lost too many workers, in the same script.
func (m *mover) poison(w, l, i int, k kind, from *state) {
	e := from.now.lives[l].entries[i]
	was := m.from
	m.from = from
	m.run(k, "takeover buries", names[l], func(x *script) {
		letter := e.meta
		letter.losses = uint8(m.cfg.losses())
		if m.cfg.Mistake == BurialAfterAck {
			x.drop(l, e.serial)
		}
		x.put(l, letter, &x.life(l).dead)
		x.drop(l, e.serial)
		x.forget(l)
	}, nil, nil)
	m.from = was
}

// begins are a claimed job's: Begin, a hand-back, a release, or a crash.
func (m *mover) begins(w int) {
	c := &m.from.claims[w]
	l := int(c.life)
	m.crash(w, 0, "before it begins")
	for _, back := range [...]struct {
		out  uint8
		name string
	}{{toDelay, "hands back"}, {toRelease, "releases"}} {
		s := *m.from
		s.claims[w].phase, s.claims[w].out = ended, back.out
		if back.out == toDelay {
			m.countHandback(&s.claims[w])
		}
		m.emit(s, choice, "worker %d "+back.name+" %s", w, names[l])
	}
	if m.waits(w) || m.cfg.guarded() && m.guards(w) {
		return
	}
	if c.young {
		s := *m.from
		s.claims[w].phase = begun
		m.emit(s, progress, "worker %d begins %s", w, names[l])
	}
	e := m.from.now.lives[l].find(c.serial)
	mine := e != nil && e.holder() == w
	if c.young && mine {
		return // the same as not to ask
	}
	s := *m.from
	if m.cfg.Mistake == StealBack && e != nil && e.inStream() {
		mine = true
		s.now.lives[l].find(c.serial).state = pending + uint8(w)
	}
	if mine {
		s.claims[w].phase = begun
		m.emit(s, progress, "worker %d asks, has the lease and begins %s", w, names[l])
		return
	}
	s.claims[w] = claim{}
	m.emit(s, progress, "worker %d asks and has lost %s", w, names[l])
}

// attempts are what the far side may answer.
func (m *mover) attempts(w int) {
	c := &m.from.claims[w]
	if m.cfg.Killer && jobOf(int(c.life)) == 0 {
		m.kills(w)
		return
	}
	todo := c.meta.mask(open) & (1<<m.cfg.Parts - 1)
	first := todo & -todo
	m.crash(w, 0, "before it sends")
	for sent := first; sent != 0; {
		m.crash(w, sent, "after it has sent")
		if sent == todo {
			break
		}
		sent = todo
	}
	m.answer(w, todo, 0, false, "all is accepted")
	if todo == 0 {
		return
	}
	m.answer(w, 0, 0, true, "nothing is accepted for now")
	m.answer(w, todo&^first, first, false, "one part is refused for good")
	if todo != first {
		m.answer(w, first, 0, true, "one part is accepted, the other not yet")
	}
	if m.cfg.Lane {
		s := *m.from
		m.fail(&s, w)
		m.shut(s, w, "worker %d: %s: the destination does not answer")
	}
	if (m.cfg.Secret || m.cfg.Gate) && !m.from.newer {
		s := *m.from
		s.claims[w].phase, s.claims[w].out = ended, toPark
		if m.cfg.Gate {
			m.shut(s, w, "worker %d: %s: the login is refused")
			return
		}
		m.emit(s, progress, "worker %d: %s: the login is refused", w, names[c.life])
	}
	if m.may() {
		s := *m.from
		s.send(w, todo)
		s.excuse(&s.jobs[jobOf(int(c.life))])
		m.fail(&s, w)
		m.emit(s, fault, "worker %d: %s is accepted and the answer is lost", w, names[c.life])
	}
}

// send is the far side's ledger.
func (s *state) send(w int, parts uint8) {
	c := &s.claims[w]
	j := &s.jobs[jobOf(int(c.life))]
	for i := range j.sends {
		if parts>>i&1 == 1 {
			j.sends[i] = min(j.sends[i]+1, maxCount)
			if j.excuses == maxCount {
				j.sends[i] = min(j.sends[i], 2) // "more than once" is enough to know
			}
		}
	}
}

// answer ends an attempt that got some parts accepted and some refused.
func (m *mover) answer(w int, yes, no uint8, again bool, text string) {
	s := *m.from
	c := &s.claims[w]
	s.send(w, yes)
	for i := range c.meta.parts {
		switch {
		case yes>>i&1 == 1:
			c.meta.parts[i] = accepted
		case no>>i&1 == 1:
			c.meta.parts[i] = refused
		}
	}
	c.sent = yes
	switch {
	case again:
		m.fail(&s, w)
	case c.meta.mask(refused) != 0:
		c.phase, c.out = ended, toDead
	default:
		c.phase, c.out = ended, toDone
	}
	m.answered(&s, w)
	m.emit(s, progress, "worker %d: %s: "+text, w, names[c.life])
}

const maxFailed = 3 // more than make a dead letter

// fail uses up an attempt.
func (m *mover) fail(s *state, w int) {
	c := &s.claims[w]
	c.phase, c.out = ended, toDelay
	if m.cfg.Lane {
		t := &s.traces[c.life]
		t.failed = min(t.failed+1, maxFailed)
	}
	if c.meta.tries++; int(c.meta.tries) >= m.cfg.Tries {
		c.out = toDead
	}
}

// crash ends worker w, which comes back with another name. sent is what the far
// side had accepted by then and nobody will record.
func (m *mover) crash(w int, sent uint8, when string) {
	if !m.may() {
		return
	}
	s := *m.from
	m.die(&s, w, sent)
	m.emit(s, fault, "worker %d dies with %s "+when, w, names[m.from.claims[w].life])
}

// die is what is left of a worker that is killed.
func (m *mover) die(s *state, w int, sent uint8) {
	if c := s.claims[w]; c.phase != idle {
		s.send(w, sent)
		if sent|c.sent != 0 {
			s.excuse(&s.jobs[jobOf(int(c.life))])
		}
		m.cfg.lose(s, int(c.life))
	}
	s.claims[w] = claim{}
	s.procs[w] = proc{stage: s.procs[w].stage}
	if m.cfg.Lane { // a process that starts reads it before it reads jobs
		s.procs[w].view = seen(s.now.guard)
	}
	for _, r := range [...]*redis{&s.now, &s.was} {
		r.each(func(_ int, e *entry) {
			if e.holder() == w {
				e.state += gone - uint8(w)
			}
		})
	}
}
