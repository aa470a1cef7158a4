package model

import "fmt"

// Ends checks that the queue comes to rest: when nothing more goes wrong, and
// people and hand-backs leave it alone, every way out of every state is finite,
// and ends with all jobs ended or dead and no worker busy. It needs an instance
// without a mistake, and about 100 bytes for each step.
func Ends(c Config) Result {
	r, seen := c.search()
	if r.Wrong != "" || r.Cut {
		return r
	}
	next, into := c.graph(seen)
	var rest []uint32 // states whose ways out have all been seen to end
	for i := range next {
		if next[i] == 0 {
			rest = append(rest, uint32(i))
			if s := decode(seen.code(i)); !c.quiet(&s) {
				r.Wrong = "there is something to do and nobody does it"
				r.Path = c.path(seen, i, "")
				return r
			}
		}
	}
	n := 0
	for ; n < len(rest); n++ {
		for _, from := range into[rest[n]] {
			if next[from]--; next[from] == 0 {
				rest = append(rest, from)
			}
		}
	}
	if n < seen.len() {
		r.Wrong = fmt.Sprintf("%d states can go in circles", seen.len()-n)
		for i := range next {
			if next[i] > 0 {
				r.Path = c.path(seen, i, "")
				break
			}
		}
	}
	return r
}

// Resumes checks that nothing is stuck: from every state a way of steps that
// happen by themselves leads to one in which all jobs have ended or are dead. It
// says less than [Ends], for instances in which a job may be turned away as long as
// a pause has not ended.
func Resumes(c Config) Result {
	r, seen := c.search()
	if r.Wrong != "" || r.Cut {
		return r
	}
	_, into := c.graph(seen)
	resumes := make([]bool, seen.len())
	var reached []uint32
	for i := range resumes {
		if s := decode(seen.code(i)); c.quiet(&s) {
			resumes[i] = true
			reached = append(reached, uint32(i))
		}
	}
	for n := 0; n < len(reached); n++ {
		for _, from := range into[reached[n]] {
			if !resumes[from] {
				resumes[from] = true
				reached = append(reached, from)
			}
		}
	}
	for i := range resumes {
		if !resumes[i] {
			r.Wrong = fmt.Sprintf("%d states are stuck: no way leads from them to an end", seen.len()-len(reached))
			r.Path = c.path(seen, i, "")
			break
		}
	}
	return r
}

// graph is the steps that happen by themselves: how many lead out of each
// state, and from where they lead into it.
func (c *Config) graph(seen *store) (next []int, into [][]uint32) {
	next, into = make([]int, seen.len()), make([][]uint32, seen.len())
	buf := make([]byte, 0, 512)
	for i := range seen.len() {
		from := decode(seen.code(i))
		c.moves(&from, func(to *state, k kind, _ string, _ ...any) {
			if k != progress || to.beyond {
				return
			}
			to.tidy()
			buf = codeOf(*to, buf)
			if at, _ := seen.add(buf, i); at != i {
				next[i]++
				into[at] = append(into[at], uint32(i))
			}
		})
	}
	return next, into
}
