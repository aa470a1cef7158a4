package model

import (
	"cmp"
	"fmt"
)

// wrongWith says what does not hold in a state, "" if all holds:
//
//  1. What a producer was told is accepted is in a place, or was sent and
//     recorded, or an operator ended it.
//  2. A job is in exactly one place, unless a script on it stopped half-way.
//  3. No part is sent more often than once and once for each event that explains
//     one more: a crash after the send, a lease lost after Begin, an ambiguous
//     answer, a failover, a script that stopped, a producer without an id.
//  4. One probe of a guard is under way, unless it takes longer than its time.
//  5. No job is in a partition that nobody reads or will read.
//  6. A job counts no more losses than it lost workers, and no more attempts than
//     it had; a job beside one that kills its process loses Losses-2 at most.
//
// Three more are checked as a step is made: a job whose success was recorded, or
// without a part whose acceptance was recorded, is given to nobody (claim), no job is
// accepted twice without a cause (enqueue), and none is parked although what it
// waits for has happened: a newer version, or the end of the refusal (park).
func (c *Config) wrongWith(s *state) string {
	if s.wrong != "" {
		return s.wrong
	}
	for l := range s.now.lives {
		if text := s.wrongPlaces(l); text != "" {
			return text
		}
		if life := &s.now.lives[l]; life.dead && life.body && !s.traces[l].torn {
			if text := c.wrongLosses(s, l, &life.meta); text != "" {
				return text
			}
		}
	}
	if text := cmp.Or(s.wrongProbes(), c.wrongPartition(s)); text != "" {
		return text
	}
	for j := range c.Jobs {
		job := &s.jobs[j]
		if job.knows == told && !s.lively(j) {
			return fmt.Sprintf("job %d was accepted and is lost", j)
		}
		for part, n := range job.sends {
			if n > 1+job.excuses {
				return fmt.Sprintf("part %d of job %d was sent %d times, and only %d of them have a cause", part, j, n, job.excuses)
			}
		}
	}
	return c.wrongFollow(s)
}

func (s *state) wrongPlaces(l int) string {
	life := &s.now.lives[l]
	if !life.exists() {
		return ""
	}
	for i := range life.entries {
		e := &life.entries[i]
		if e.state == orphan && !s.holds(0, l, e.serial) && !s.holds(1, l, e.serial) {
			return name(l) + " has an entry that nobody will ever get"
		}
	}
	if s.traces[l].torn {
		return ""
	}
	n := life.places()
	if n > 1 {
		return fmt.Sprintf("%s is in %d places", name(l), n)
	}
	if n == 0 && life.body {
		return name(l) + " has a body and no place"
	}
	return ""
}

// wrongFollow checks that what shall follow a death is there. A job that lost
// its workers has nothing that follows it.
func (c *Config) wrongFollow(s *state) string {
	next := c.follows(0)
	if next < 0 || s.lively(next) {
		return ""
	}
	for l := range copies {
		life := &s.now.lives[l]
		byItself := int(life.meta.tries) >= c.Tries || life.meta.mask(refused) != 0
		if life.dead && life.body && byItself && !life.stream() {
			return name(l) + " is dead and the job that follows it is not there"
		}
	}
	return ""
}

// quiet reports whether nothing is left to do but for people.
func (c *Config) quiet(s *state) bool {
	for w := range s.claims {
		if s.claims[w].phase != idle {
			return false
		}
	}
	for l := range s.now.lives {
		life := &s.now.lives[l]
		if life.due || life.parked || life.stream() {
			return false
		}
	}
	for j := range c.Jobs {
		if c.produced(j) && s.jobs[j].knows < told {
			return false
		}
	}
	return s.lag != lagging
}
