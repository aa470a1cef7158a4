package queue

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// parkedOn is what jobs wait for: a newer version of one of these. The first is
// the secret that a refusal is blamed on. The others were used beside it and may be
// what is wrong: an account and its token are two secrets, and the answer does not
// say which one it refuses. So both the parked sets and the gate are of all together.
type parkedOn []Credential

// besideMark stands before each but the first in a name. No id has one.
const besideMark = "+"

// on is what the error says. The order of what is beside does not count.
func (e *ParkedError) on() parkedOn {
	o := parkedOn{{e.Secret, e.Version}}
	for _, c := range e.Beside {
		if c.Secret != "" && !strings.Contains(c.Secret, besideMark) && !o.has(c.Secret, 0) {
			o = append(o, c)
		}
	}
	slices.SortFunc(o[1:], func(a, b Credential) int { return strings.Compare(a.Secret, b.Secret) })
	return o
}

// name names a parked set and a refusal: "<secret>:<version>[+<secret>:<version>...]".
func (o parkedOn) name() string { return o[0].name() + o.beside() }

// beside is the name without the first.
func (o parkedOn) beside() string {
	var b strings.Builder
	for _, c := range o[1:] {
		b.WriteString(besideMark + c.name())
	}
	return b.String()
}

// name is that of a set of jobs that wait for this secret alone.
func (c Credential) name() string { return c.Secret + ":" + strconv.FormatInt(c.Version, 10) }

// parseOn is the reverse of name.
func parseOn(name string) (o parkedOn, ok bool) {
	for text := range strings.SplitSeq(name, besideMark) {
		i := strings.LastIndexByte(text, ':')
		if i < 0 {
			return nil, false
		}
		version, err := strconv.ParseInt(text[i+1:], 10, 64)
		if err != nil {
			return nil, false
		}
		o = append(o, Credential{text[:i], version})
	}
	return o, true
}

// has reports whether the secret is one of these, in this version; 0 means any.
func (o parkedOn) has(secret string, version int64) bool {
	return slices.ContainsFunc(o, func(c Credential) bool {
		return c.Secret == secret && (version == 0 || c.Version == version)
	})
}

// before reports whether the secret is one of these, in an older version.
func (o parkedOn) before(secret string, version int64) bool {
	return slices.ContainsFunc(o, func(c Credential) bool { return c.Secret == secret && c.Version < version })
}

// within reports whether all of these are in the list.
func (o parkedOn) within(list []Credential) bool {
	return !slices.ContainsFunc(o, func(c Credential) bool { return !slices.Contains(list, c) })
}

// applying returns the names of the refusals that may forbid what uses list, in
// the order of the list. One of other versions beside the same secret does not.
func (g *gate) applying(list []Credential) (names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range list {
		for _, o := range g.first[c] {
			if o.within(list) {
				names = append(names, o.name())
			}
		}
	}
	return names
}

// index makes the refusals found by their first secret. g.mu is held.
func (g *gate) index() {
	g.first = make(map[Credential][]parkedOn, len(g.known))
	for name := range g.known {
		if o, ok := parseOn(name); ok {
			g.first[o[0]] = append(g.first[o[0]], o)
		}
	}
	for _, list := range g.first {
		slices.SortFunc(list, func(a, b parkedOn) int { return cmp.Compare(a.name(), b.name()) })
	}
	g.closed.Store(len(g.known) > 0)
}
