package model

// With Partitions each process has a number of partitions, one or two, and is
// started again with another. All jobs have ids that two partitions put into
// partition 1. The highest number that any process had is in Redis; processes
// read that many.

const stages = 3 // one partition, two, one again

func (p *proc) two() bool { return p.stage == 1 }

// reader reports whether worker w reads the partition of life l.
func (m *mover) reader(w, l int) bool {
	if !m.cfg.Partitions || l%copies == 0 {
		return true
	}
	p := &m.from.procs[w]
	return p.two() || p.sees && m.cfg.Mistake != ShrunkUnread
}

// tended reports whether any worker looks after the partition of life l.
func (m *mover) tended(l int) bool {
	for w := range m.cfg.Workers {
		if m.reader(w, l) {
			return true
		}
	}
	return false
}

// probesIn reports whether a pool looks in the partition of life l for a probe.
func (m *mover) probesIn(l int) bool {
	if m.cfg.Mistake != ProbeOwnPartitions || l%copies == 0 {
		return m.tended(l)
	}
	for w := range m.cfg.Workers {
		if m.from.procs[w].two() {
			return true
		}
	}
	return false
}

// mayEnqueue reports whether the producer has told how many partitions it has.
func (m *mover) mayEnqueue() bool {
	p := &m.from.sender
	return !m.cfg.Partitions || !p.two() || p.sees || m.cfg.Mistake == HighestLater
}

// numbers is how processes are started again, tell their number and look for
// that of others.
func (m *mover) numbers() {
	for w := range m.cfg.Workers {
		p := &m.from.procs[w]
		m.number(p, func(s *state) *proc { return &s.procs[w] }, "worker", w)
		if p.stage < stages-1 && m.from.claims[w].phase == idle && !m.forgotten(p) {
			s := *m.from
			s.procs[w] = proc{stage: p.stage + 1}
			m.emit(s, choice, "worker %d is started again, partitions: %d", w, 2-p.stage)
		}
	}
	p := &m.from.sender
	m.number(p, func(s *state) *proc { return &s.sender }, "producer", 0)
	if p.stage < stages-1 && !m.forgotten(p) {
		s := *m.from
		s.sender = proc{stage: p.stage + 1}
		for j := range s.jobs {
			if s.jobs[j].knows == unsure { // it may be sent again to the other partition
				s.jobs[j].twice = true
				s.excuse(&s.jobs[j])
			}
		}
		m.emit(s, choice, "producer is started again, partitions: %d", 2-p.stage)
	}
}

// forgotten reports whether a failover has lost the number of a process, which
// then is not started again before it has told its number once more. That takes a
// minute at most; in this minute the machine loses a job, as no process can know.
func (m *mover) forgotten(p *proc) bool { return p.two() && p.sees && !m.from.now.wide }

// number is highest.lua, which each process calls once a minute.
func (m *mover) number(p *proc, of func(*state) *proc, who string, n int) {
	if p.two() && (!m.from.now.wide || !p.sees) {
		s := *m.from
		s.now.wide, of(&s).sees = true, true
		m.emit(s, progress, who+" %d tells that it has 2 partitions", n)
	} else if !p.two() && m.from.now.wide && !p.sees {
		s := *m.from
		of(&s).sees = true
		m.emit(s, progress, who+" %d hears of 2 partitions", n)
	}
}

// wrongPartition says that a job is where nobody will ever look.
func (c *Config) wrongPartition(s *state) string {
	listens := c.Mistake != ShrunkUnread
	if !c.Partitions || s.now.wide && listens || s.sender.two() {
		return ""
	}
	for w := range c.Workers {
		if p := &s.procs[w]; p.two() || p.sees && listens {
			return ""
		}
	}
	for l := 1; l < lives; l += copies {
		if s.now.lives[l].places() > 0 {
			return name(l) + " is in a partition that nobody will read"
		}
	}
	return ""
}
