package model

// What guards.go and partitions.go add to a state is coded behind all else, and
// only if there is any of it: the large instances have none.

func (c *claim) flags() uint8 {
	return one(c.probe) | one(c.untried)<<1 | one(c.old)<<2 | c.tell<<3
}

func (c *claim) setFlags(v uint8) {
	c.probe, c.untried, c.old, c.tell = bit(v, 0), bit(v, 1), bit(v, 2), v>>3
}

func (p *proc) flags() uint8 { return p.view | one(p.old)<<2 | one(p.sees)<<3 | p.stage<<4 }

func (p *proc) setFlags(v uint8) { p.view, p.old, p.sees, p.stage = v&3, bit(v, 2), bit(v, 3), v>>4 }

func (r *redis) flags() uint8 { return r.guard | one(r.wide)<<2 }

func (r *redis) setFlags(v uint8) { r.guard, r.wide = v&3, bit(v, 2) }

func one(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

// guarded reports whether there is anything to code.
func (s *state) guarded() bool {
	for l := range s.traces {
		if s.traces[l].lost|s.traces[l].failed != 0 {
			return true
		}
	}
	for w := range s.claims {
		if s.claims[w].flags()|s.procs[w].flags() != 0 {
			return true
		}
	}
	return s.now.flags()|s.was.flags()|s.sender.flags() != 0 || s.slow
}

func (p *packer) guards(s *state) {
	if p.flag(s.guarded()); !s.guarded() {
		return
	}
	p.put(s.now.flags(), 3)
	p.put(s.was.flags(), 3)
	for w := range s.claims {
		p.put(s.claims[w].flags(), 5)
		p.put(s.procs[w].flags(), 6)
	}
	p.put(s.sender.flags(), 6)
	p.flag(s.slow)
	for l := range s.traces {
		if t := &s.traces[l]; t.next != 0 {
			p.put(t.lost, 3)
			p.put(t.failed, 2)
		}
	}
}

func (u *unpacker) guards(s *state) {
	if !u.flag() {
		return
	}
	s.now.setFlags(u.get(3))
	s.was.setFlags(u.get(3))
	for w := range s.claims {
		s.claims[w].setFlags(u.get(5))
		s.procs[w].setFlags(u.get(6))
	}
	s.sender.setFlags(u.get(6))
	s.slow = u.flag()
	for l := range s.traces {
		if t := &s.traces[l]; t.next != 0 {
			t.lost, t.failed = u.get(3), u.get(2)
		}
	}
}
