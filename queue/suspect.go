package queue

import (
	"slices"
	"time"
)

// Most jobs that lost their worker are the innocent neighbours of the one that did
// it, if it was a job at all. So the first loss makes none a suspect: such jobs go
// before all others of their lane. A job that lost two is a suspect. Few of these
// run at once and none waits beside them: the others stay in the pending list of the
// worker that died, where they can die of nothing, until a slot is free. From the
// third loss on a job runs alone (0012).
const (
	suspicion    = 2 // losses that make a suspect
	loner        = 3 // losses after which a suspect runs alone, two before MaxCrashes
	suspectLane  = "\x00suspect"
	suspectSlots = 4                     // one alone did 4 to 10 a second on busy cores, and a kill each second made 8 suspects (chaos)
	suspectLook  = 50 * time.Millisecond // between looks whether the next suspect may run
	// takeOverMost is how many jobs a process has taken over and not ended when it
	// takes no more. What waits to be taken over can die of nothing, and what runs at
	// once is done soon: of 100 taken at once a fifth was lost again by a kill each second
	// and became suspects (chaos). As many as a lane has slots, so that each starts soon.
	takeOverMost = DefaultLaneSlots
	// suspectStep is the longest time between two hand-backs of suspects that were
	// read, after a retry. Spaced by the first attempt, which opens a connection, 100
	// jobs came back over half a minute.
	suspectStep = 20 * time.Millisecond
)

// takenOver reports whether the job lost its last worker, and was given to this
// one in its place.
func (c *claim) takenOver() bool { return c.deliveries > 1 }

// untake counts a claim that ends, if it was taken over.
func (p *Pool) untake(c *claim) {
	if c.takenOver() {
		p.taken.Add(-1)
	}
}

// suspectRoom is how many suspects would start at once.
func (ls *lanes) suspectRoom() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byName[suspectLane]
	switch {
	case ls.draining || l != nil && l.alone && l.running > 0:
		return 0
	case l == nil:
		return suspectSlots
	}
	return suspectSlots - l.running
}

// bears reports whether the lane of suspects has a slot for c: a loner wants all.
func (l *lane) bears(c *claim) bool {
	if l.running == 0 {
		l.alone = c.Crashes >= loner
		return true
	}
	return l.running < l.slots && !l.alone && c.Crashes < loner
}

// ahead lets a job that was taken over wait before all but its like: it has
// waited for a lease already. What then is too much at the end of the lane is
// handed back by the next tick. It is false if such jobs alone fill the room.
func (l *lane) ahead(c *claim, now time.Time) bool {
	l.waiting, l.head = packed(l.waiting, l.head)
	at := l.head
	for at < len(l.waiting) && l.waiting[at].takenOver() {
		at++
	}
	if at-l.head >= l.room(now) {
		return false
	}
	l.waiting = slices.Insert(l.waiting, at, c)
	return true
}

// mayTakeOver is how many lost claims may be taken over now, 0 if it is not the
// time. Jobs of slow lanes keep others from it for no longer than a lane may wait.
func (p *partition) mayTakeOver(now time.Time) int {
	switch {
	case now.Before(p.reclaim) && !(p.suspects && p.pool.lanes.suspectRoom() > 0):
		return 0
	case now.Sub(p.took) > laneBuffer:
		return takeOverMost
	}
	return max(takeOverMost-int(p.pool.taken.Load()), 0)
}
