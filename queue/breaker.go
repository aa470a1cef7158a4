package queue

import (
	"errors"
	"time"
)

// A lane whose destination does not answer is broken: its jobs go back to Redis
// without an attempt, so that they do not use up in minutes what should last for
// hours, and its slots are free for others. After a pause one job may try, as
// the probe. An answer of any kind, a refusal too, mends the lane. All processes
// share what they know of it (pace.go), so that one of them probes.
const (
	breakerAfter = 5           // attempts in a row without an answer
	breakerBase  = time.Second // first pause; doubles with each probe that fails
	breakerMost  = time.Minute // longest pause, so that a mended server is soon noticed
	breakerIdle  = time.Minute // how long a broken lane is remembered without jobs
)

// ending is what an attempt has shown of the lane's destination.
type ending int

const (
	endUntried  ending = iota // nothing was tried
	endOK                     // the job is done
	endAnswered               // refused, but answered
	endSilent                 // no answer: refused connections, timeouts, broken lines
)

// endingOf judges an attempt. What the provider has a code for is an answer.
func endingOf(reply *Reply, err error) ending {
	if err == nil {
		return endOK
	}
	for _, is := range []func(error) bool{
		isA[*PermanentError], isA[*ParkedError], isA[*ThrottledError], isA[*HandbackError],
	} {
		if is(err) {
			return endAnswered
		}
	}
	if errors.Is(err, ErrLeaseLost) || errors.Is(err, errPanic) {
		return endUntried
	}
	if reply.Code != "" || reply.Stage == "secret" || reply.Stage == "params" {
		return endAnswered
	}
	return endSilent
}

// isA reports whether err or a cause of it is a T.
func isA[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// change is what an attempt has done to the breaker of its lane.
type change int

const (
	stays change = iota
	broke
	mended
	probed // the probe had no answer
)

// judge takes the end of an attempt into the lane's breaker. ls.mu is held.
func (l *lane) judge(c *claim, end ending, now time.Time) change {
	probe := l.probe == c
	if probe {
		l.probe = nil
	}
	switch {
	case end == endUntried || l.name == suspectLane:
		return stays // it has jobs of all destinations
	case end != endSilent:
		was := l.broken
		l.silent, l.broken, l.trips, l.fine = 0, false, 0, true
		if was {
			l.pacing.changed = now
			return mended
		}
		return stays
	}
	l.silent++
	l.fine = false
	// What was under way when the lane broke says nothing new.
	if l.broken && !probe || l.silent < breakerAfter && !l.broken {
		return stays
	}
	first := !l.broken
	pause := min(breakerBase<<min(l.trips, throttleMax+1), breakerMost)
	l.broken = true
	l.trips++
	if until := now.Add(pause); until.After(l.hold) {
		l.hold = until
	}
	l.pacing.changed = now
	if first {
		return broke
	}
	return probed
}

// probes are the broken lanes that a job of this process tries.
func (ls *lanes) probes() (names []string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for name, l := range ls.byName {
		if l.probe != nil {
			names = append(names, name)
		}
	}
	return names
}

// BrokenLanes is how many destinations do not answer, as this process sees it.
func (p *Pool) BrokenLanes() int {
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	n := 0
	for _, l := range p.lanes.byName {
		if l.broken {
			n++
		}
	}
	return n
}

// laneChanged says that a destination broke or was mended.
func (p *Pool) laneChanged(c *claim, how change) {
	switch how {
	case broke:
		p.log.Warn("destination does not answer: its jobs wait without using attempts", "lane", c.lane.name, "kind", c.kind)
	case mended:
		p.log.Info("destination answers again", "lane", c.lane.name, "kind", c.kind)
	}
}
