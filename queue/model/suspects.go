package model

import "fmt"

// With Suspicion, jobs that lost so many workers are suspects, which are taken over
// only as far as the process has slots for them: all its slots, but a loner wants
// them for itself. With Killer the two workers are slots of one process, which job 0
// kills whenever it has begun: what becomes of job 1, which did nothing?

// mayRun reports whether a process has a slot for a job with so many losses, as
// the other slot of the process has it.
func (m *mover) mayRun(w int, losses uint8) bool {
	c := m.cfg
	if !c.Killer || c.Suspicion == 0 || int(losses) < c.Suspicion || c.Mistake == SuspectsWait {
		return true
	}
	other := &m.from.claims[1-w]
	if other.phase == idle || other.phase == ended || int(other.meta.losses) < c.Suspicion {
		return true
	}
	alone := int(losses) >= c.Loner || int(other.meta.losses) >= c.Loner
	return !alone || c.Mistake == LonersTogether
}

// leaves leaves a suspect in the pending list of the dead worker.
func (m *mover) leaves(w, l, i int) {
	if m.cfg.Mistake != LeftCounts {
		return // nothing has happened
	}
	s := *m.from
	s.now.lives[l].entries[i].runs++
	m.emit(s, progress, "worker %d has no slot for %s and leaves it", w, names[l])
}

// waits is a suspect that was read from the stream and has no slot: it is handed
// back. It reports whether it is one.
func (m *mover) waits(w int) bool {
	c := &m.from.claims[w]
	if m.mayRun(w, c.meta.losses) {
		return false
	}
	s := *m.from
	s.claims[w].phase, s.claims[w].out = ended, toDelay
	m.emit(s, progress, "worker %d has no slot for %s and hands it back", w, names[c.life])
	return true
}

// kills is the death of the process by job 0. It takes longer than the outcome of
// another job to be written, or one without a slot to be handed back: these might
// lose one worker more.
func (m *mover) kills(w int) {
	other := &m.from.claims[1-w]
	if other.phase == ended || other.phase == claimed && !m.mayRun(1-w, other.meta.losses) {
		return
	}
	s := *m.from
	for v := range s.claims {
		m.die(&s, v, 0)
	}
	m.emit(s, progress, "%s kills the process", names[m.from.claims[w].life])
}

// lose counts a worker that lost a job.
func (c *Config) lose(s *state, l int) {
	if c.Suspicion > 0 && s.traces[l].next != 0 {
		s.traces[l].lost = min(s.traces[l].lost+1, maxCount)
	}
}

// wrongLosses compares the losses of a job that is given to a worker with what
// happened to it.
func (c *Config) wrongLosses(s *state, l int, m *meta) string {
	switch t := &s.traces[l]; {
	case c.Suspicion > 0 && m.losses > t.lost:
		return fmt.Sprintf("%s counts %d losses and lost %d workers", name(l), m.losses, t.lost)
	case c.Killer && jobOf(l) != 0 && int(m.losses) > c.Losses-2:
		return fmt.Sprintf("%s lost %d workers by another's doing", name(l), m.losses)
	case c.Lane && m.tries > t.failed:
		return fmt.Sprintf("%s counts %d attempts and had %d", name(l), m.tries, t.failed)
	}
	return ""
}
