package model

// The code of a state is its bits without gaps, a few dozen bytes, so that ten
// million of them fit into memory. States that differ only in names have one
// code: workers are interchangeable, and the serials of entries are counted anew.

// packer writes bits.
type packer struct {
	b   []byte
	acc uint64
	n   uint
}

func (p *packer) put(v uint8, bits uint) {
	p.acc |= uint64(v) << p.n
	for p.n += bits; p.n >= 8; p.n -= 8 {
		p.b = append(p.b, byte(p.acc))
		p.acc >>= 8
	}
}

func (p *packer) flag(v bool) {
	if v {
		p.put(1, 1)
	} else {
		p.put(0, 1)
	}
}

func (p *packer) meta(m *meta) {
	p.put(m.tries|m.losses<<2|uint8(m.parts[0])<<5, 7)
	p.put(uint8(m.parts[1]), 2)
}

func (p *packer) redis(r *redis) {
	for i := range r.lives {
		l := &r.lives[i]
		if p.flag(l.exists()); !l.exists() {
			continue
		}
		for j := range l.entries {
			e := &l.entries[j]
			if p.put(e.state, 4); e.state != none {
				p.put(e.serial, 4)
				p.put(e.runs, 3)
				p.meta(&e.meta)
			}
		}
		for _, v := range [...]bool{l.due, l.dead, l.cancel, l.parked} {
			p.flag(v)
		}
		p.put(l.moved, 4)
		if p.flag(l.body); l.body {
			p.meta(&l.meta)
		}
	}
	for _, d := range r.dedup {
		p.put(d, 2)
	}
	p.flag(r.group)
	p.flag(r.version)
}

// encode appends the code of a canonical state to b.
func (s *state) encode(b []byte) []byte {
	p := packer{b: b}
	p.redis(&s.now)
	if p.put(s.lag, 2); s.lag == lagging {
		p.redis(&s.was)
	}
	for i := range s.claims {
		c := &s.claims[i]
		if p.put(c.phase, 2); c.phase != idle {
			p.put(c.life, 3)
			p.put(c.serial, 4)
			p.put(c.out, 3)
			p.put(c.sent, 2)
			p.flag(c.young)
			p.meta(&c.meta)
		}
	}
	for i := range s.jobs {
		j := &s.jobs[i]
		p.put(j.knows, 2)
		p.put(j.sends[0], 3)
		p.put(j.sends[1], 3)
		p.put(j.excuses, 3)
		p.flag(j.twice)
		p.flag(j.over)
	}
	for i := range s.traces {
		t := &s.traces[i]
		if p.put(t.next, 4); t.next != 0 {
			p.put(t.known, 2)
			p.flag(t.reported)
			p.flag(t.torn)
		}
	}
	p.put(s.faults, 4)
	p.flag(s.newer)
	p.guards(s)
	p.put(0, 7) // the last byte
	return p.b
}

// unpacker reads what packer wrote.
type unpacker struct {
	b   []byte
	acc uint64
	n   uint
}

func (u *unpacker) get(bits uint) uint8 {
	for u.n < bits {
		u.acc |= uint64(u.b[0]) << u.n
		u.b = u.b[1:]
		u.n += 8
	}
	v := uint8(u.acc & (1<<bits - 1))
	u.acc >>= bits
	u.n -= bits
	return v
}

func (u *unpacker) flag() bool { return u.get(1) == 1 }

func (u *unpacker) meta(m *meta) {
	v := u.get(7)
	*m = meta{v & 3, v >> 2 & 7, [2]part{part(v >> 5), part(u.get(2))}}
}

func (u *unpacker) redis(r *redis) {
	for i := range r.lives {
		l := &r.lives[i]
		if !u.flag() {
			continue
		}
		for j := range l.entries {
			e := &l.entries[j]
			if e.state = u.get(4); e.state != none {
				e.serial = u.get(4)
				e.runs = u.get(3)
				u.meta(&e.meta)
			}
		}
		l.due, l.dead, l.cancel, l.parked = u.flag(), u.flag(), u.flag(), u.flag()
		l.moved = u.get(4)
		if l.body = u.flag(); l.body {
			u.meta(&l.meta)
		}
	}
	for i := range r.dedup {
		r.dedup[i] = u.get(2)
	}
	r.group, r.version = u.flag(), u.flag()
}

// decode is the reverse of encode.
func decode(b []byte) (s state) {
	u := unpacker{b: b}
	u.redis(&s.now)
	if s.lag = u.get(2); s.lag == lagging {
		u.redis(&s.was)
	}
	for i := range s.claims {
		c := &s.claims[i]
		if c.phase = u.get(2); c.phase != idle {
			c.life, c.serial, c.out, c.sent, c.young = u.get(3), u.get(4), u.get(3), u.get(2), u.flag()
			u.meta(&c.meta)
		}
	}
	for i := range s.jobs {
		j := &s.jobs[i]
		j.knows, j.sends[0], j.sends[1], j.excuses, j.twice, j.over = u.get(2), u.get(3), u.get(3), u.get(3), u.flag(), u.flag()
	}
	for i := range s.traces {
		t := &s.traces[i]
		if t.next = u.get(4); t.next != 0 {
			t.known, t.reported, t.torn = u.get(2), u.flag(), u.flag()
		}
	}
	s.faults, s.newer = u.get(4), u.flag()
	u.guards(&s)
	return s
}
