package model

var outcomes = [...]string{"done", "cancelled", "delay", "dead", "park", "release"}

// settles writes the outcome, until Redis has taken it.
func (m *mover) settles(w int) {
	c := m.from.claims[w]
	l := int(c.life)
	m.crash(w, 0, "before the outcome is written")
	if c.tell != tellNothing {
		m.tells(w)
		return
	}
	held := false
	body := func(x *script) {
		switch c.out {
		case toDone, toCancelled:
			x.jobs[jobOf(l)].over = true
			x.traces[l].reported = x.traces[l].reported || c.out == toDone
			if want := uint8(1<<m.cfg.Parts - 1); c.out == toDone && c.meta.mask(accepted)&want != want {
				x.wrong = name(l) + " is recorded as done without being sent"
			}
			x.done(w, &c)
		case toDelay:
			held = x.delay(w, &c)
		case toDead:
			held = x.bury(w, &c)
		case toPark:
			held = x.park(w, &c)
		case toRelease:
			held = x.release(w, &c)
		}
	}
	m.run(progress, "worker's outcome "+outcomes[c.out]+" of", names[l], body, func(s *state) {
		s.claims[w] = claim{}
		if p := &s.procs[w]; held && c.untried && c.old && p.old && !s.now.lives[l].parked {
			p.view, p.old = guardOpen, false // the park went to ready: so this process learns it
		}
		if held {
			s.traces[l].known |= c.meta.mask(accepted)
		}
	}, func(*state) {})
}
