package model

import (
	"bytes"
	"fmt"
	"hash/maphash"
)

// store is the set of visited states, by code, in the order of discovery.
type store struct {
	seed   maphash.Seed
	codes  []byte
	ends   []uint64 // of each code
	parent []uint32
	table  []uint32 // open addressing: 1 + index, 0 is free
}

func newStore() *store {
	return &store{seed: maphash.MakeSeed(), table: make([]uint32, 1<<16)}
}

func (t *store) len() int { return len(t.ends) }

func (t *store) code(i int) []byte {
	var start uint64
	if i > 0 {
		start = t.ends[i-1]
	}
	return t.codes[start:t.ends[i]]
}

// add returns the index of a code and whether it is new.
func (t *store) add(code []byte, parent int) (int, bool) {
	mask := uint64(len(t.table) - 1)
	at := maphash.Bytes(t.seed, code) & mask
	for ; t.table[at] != 0; at = (at + 1) & mask {
		if i := int(t.table[at] - 1); bytes.Equal(t.code(i), code) {
			return i, false
		}
	}
	t.codes = append(t.codes, code...)
	t.ends = append(t.ends, uint64(len(t.codes)))
	t.parent = append(t.parent, uint32(parent))
	t.table[at] = uint32(t.len())
	if t.len()*2 > len(t.table) {
		t.grow()
	}
	return t.len() - 1, true
}

func (t *store) grow() {
	t.table = make([]uint32, 2*len(t.table))
	mask := uint64(len(t.table) - 1)
	for i := range t.len() {
		at := maphash.Bytes(t.seed, t.code(i)) & mask
		for t.table[at] != 0 {
			at = (at + 1) & mask
		}
		t.table[at] = uint32(i + 1)
	}
}

// codeOf returns the code of a tidy state.
func codeOf(s state, buf []byte) []byte {
	s.canonical()
	return s.encode(buf[:0])
}

// Search visits every state that the instance can reach, nearest first, and
// stops at the first in which something does not hold.
func Search(c Config) Result {
	r, _ := c.search()
	return r
}

func (c *Config) search() (Result, *store) {
	seen := newStore()
	buf := make([]byte, 0, 512)
	seen.add(codeOf(state{}, buf), 0)
	var r Result
	end := 0 // index of the first state of the next depth
	for i := 0; i < seen.len() && r.Wrong == ""; i++ {
		if i == end {
			end = seen.len()
			r.Depth++
		}
		if c.Most > 0 && seen.len() >= c.Most {
			r.Cut = true
			break
		}
		from := decode(seen.code(i))
		c.moves(&from, func(next *state, _ kind, _ string, _ ...any) {
			if r.Wrong != "" {
				return
			}
			r.Steps++
			if next.beyond {
				r.Beyond++
				return
			}
			next.tidy()
			buf = codeOf(*next, buf)
			at, isNew := seen.add(buf, i)
			if wrong := next.wrong; isNew || wrong != "" {
				if wrong == "" {
					wrong = c.wrongWith(next)
				}
				if r.Wrong = wrong; wrong != "" {
					if !isNew {
						at = i
					}
					r.Path = c.path(seen, at, wrong)
				}
			}
		})
	}
	r.States = seen.len()
	r.Depth--
	return r, seen
}

// path names the steps to state number at. It makes them again from the start
// with one set of names, as codes give workers other ones.
func (c *Config) path(seen *store, at int, wrong string) []string {
	var way []int
	for i := at; i != 0; i = int(seen.parent[i]) {
		way = append(way, i)
	}
	var names []string
	var s state
	buf := make([]byte, 0, 512)
	for n := len(way) - 1; n >= 0; n-- {
		want := seen.code(way[n])
		s = c.next(s, &names, func(next *state) bool {
			buf = codeOf(*next, buf)
			return bytes.Equal(buf, want)
		})
	}
	if c.wrongWith(&s) != wrong { // the wrong step leads to a state that was known
		c.next(s, &names, func(next *state) bool { return next.wrong == wrong })
	}
	return names
}

// next makes the first step that fits, and adds its name.
func (c *Config) next(s state, names *[]string, fits func(*state) bool) (found state) {
	done := false
	c.moves(&s, func(next *state, _ kind, name string, args ...any) {
		if done {
			return
		}
		next.tidy()
		if fits(next) {
			done, found = true, *next
			*names = append(*names, fmt.Sprintf(name, args...))
		}
	})
	return found
}
