package model

// tidy drops what no longer matters and counts serials anew. It changes no
// name that a path shows.
func (s *state) tidy() {
	if s.lag != lagging {
		s.was = redis{}
	}
	for w := range s.claims {
		if s.claims[w].phase == idle {
			s.claims[w] = claim{}
		}
	}
	for l := range s.traces {
		if s.traces[l].next != 0 {
			s.tidyLife(l)
		}
	}
}

func (s *state) tidyLife(l int) {
	now, was := &s.now.lives[l], &s.was.lives[l]
	var used uint16 // serials that something names
	see := func(serial uint8) { used |= 1 << serial }
	for _, x := range [...]*life{now, was} {
		if !x.body {
			x.meta = meta{}
		}
		sortEntries(&x.entries)
		for i := range x.entries {
			see(x.entries[i].serial)
		}
		see(x.moved)
	}
	held := false
	for w := range s.claims {
		if c := &s.claims[w]; c.phase != idle && int(c.life) == l {
			held = true
			see(c.serial)
		}
	}
	if !now.exists() && !was.exists() && !held {
		s.traces[l] = trace{}
		return
	}
	var name [16]uint8
	next := uint8(2)
	name[1] = 1
	for serial := uint8(2); serial < 16; serial++ {
		if used>>serial&1 == 1 {
			name[serial] = next
			next++
		}
	}
	for _, x := range [...]*life{now, was} {
		for i := range x.entries {
			x.entries[i].serial = name[x.entries[i].serial]
		}
		x.moved = name[x.moved]
	}
	for w := range s.claims {
		if c := &s.claims[w]; int(c.life) == l {
			c.serial = name[c.serial]
		}
	}
	s.traces[l].next = next
}

// sortEntries puts the entries in the order of their serials, gaps last.
func sortEntries(es *[3]entry) {
	for _, p := range [...][2]int{{0, 1}, {1, 2}, {0, 1}} {
		a, b := &es[p[0]], &es[p[1]]
		if a.state == none {
			*a = entry{}
		}
		if b.state == none {
			*b = entry{}
		}
		if b.state != none && (a.state == none || a.serial > b.serial) {
			*a, *b = *b, *a
		}
	}
}

// rank orders workers, so that of two states that differ in the names of the
// workers one is the canonical one.
func (s *state) rank(w int) uint64 {
	c, p := &s.claims[w], &s.procs[w]
	r := uint64(c.phase)<<8 | uint64(c.life)<<5 | uint64(c.serial)<<1
	if c.young {
		r++
	}
	m := uint64(c.meta.tries) | uint64(c.meta.losses)<<2 | uint64(c.meta.parts[0])<<5 | uint64(c.meta.parts[1])<<7
	r = r<<15 | uint64(c.out)<<12 | uint64(c.sent)<<10 | m
	return r<<16 | uint64(c.flags())<<8 | uint64(p.flags())
}

// canonical gives the workers their order: the busier first, or else
// by the first entry that either has in Redis.
func (s *state) canonical() {
	a, b := s.rank(0), s.rank(1)
	if a > b || a == b && !s.secondFirst() {
		return
	}
	s.claims[0], s.claims[1] = s.claims[1], s.claims[0]
	s.procs[0], s.procs[1] = s.procs[1], s.procs[0]
	for _, r := range [...]*redis{&s.now, &s.was} {
		for l := range r.lives {
			for i := range r.lives[l].entries {
				e := &r.lives[l].entries[i]
				switch e.state {
				case pending, left:
					e.state++
				case pending + 1, left + 1:
					e.state--
				}
			}
		}
	}
}

// secondFirst reports whether worker 1 has an entry before any that worker 0 has.
func (s *state) secondFirst() bool {
	for _, r := range [...]*redis{&s.now, &s.was} {
		for l := range r.lives {
			for i := range r.lives[l].entries {
				if h := r.lives[l].entries[i].holder(); h == 0 || h == 1 {
					return h == 1
				}
			}
		}
	}
	return false
}
