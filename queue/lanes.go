package queue

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A lane is all jobs for one destination. Its running jobs are bounded, so
// that one slow server cannot hold more than its share of the process. Some
// more jobs wait in the process, so that a lane can use all its slots without
// asking Redis between two jobs; what is over that is handed back to Redis
// without an attempt, with a time at which the lane will probably be free.
const (
	laneBuffer   = 250 * time.Millisecond // jobs that the lane will start within this may wait in the process
	lanePause    = 100 * time.Millisecond // shortest hand-back
	laneHorizon  = 30 * time.Second       // an estimate that reaches further is a guess: from there on each laneStep
	laneStep     = 2 * time.Millisecond   // 500 a second: a job that comes by in vain costs some 20 us of two cores
	laneMost     = 5 * time.Minute        // longest hand-back, by 135,000 jobs; a longer backlog is spread over it
	laneMemory   = 16                     // attempts over which the time of one is averaged
	laneGuess    = time.Second            // time of an attempt while none has ended
	laneIdle     = time.Second            // an empty lane is forgotten after this
	laneTick     = 100 * time.Millisecond
	throttleBase = time.Second
	throttleMax  = 5 // doublings of throttleBase: 32 s
)

// lanes shares the slots of a process among its lanes.
type lanes struct {
	mu       sync.Mutex
	byName   map[string]*lane
	known    map[string]known // lanes that are limited in all processes; see pace.go
	slots    int              // most running jobs of a lane
	running  int
	waiting  int
	draining bool
	idle     chan struct{} // closed when draining and nothing runs
}

type lane struct {
	name    string
	slots   int
	running int
	waiting []*claim
	head    int // waiting[:head] have been started
	born    time.Time
	used    time.Time     // when it last had jobs
	moved   time.Time     // when an attempt last began or ended
	took    time.Duration // average of an attempt, 0 while unknown
	raised  time.Time     // when it was last raised because none ended
	clock   time.Time     // due time of the next hand-back
	hold    time.Time     // throttled until
	away    away          // what was handed back; see recall.go
	pacing  pacing        // what all processes know; see pacelane.go

	fine   bool   // the last attempt had an answer
	silent int    // attempts in a row without an answer; see breaker.go
	alone  bool   // what runs is a loner; see suspect.go
	broken bool   // the destination does not answer
	trips  int    // pauses since it broke
	probe  *claim // the one job that a broken lane tries
}

// verdict is what admit says of a job.
type verdict int

const (
	laneStart   verdict = iota // run it now; the lane counts it as running
	laneWait                   // it waits in the lane
	laneFull                   // hand it back
	laneDrained                // the process stops: release it
)

func newLanes(slots int) *lanes {
	return &lanes{byName: map[string]*lane{}, known: map[string]known{}, slots: slots, idle: make(chan struct{})}
}

// admit takes a job into its lane. The duration is the hand-back's when full.
func (ls *lanes) admit(c *claim, now time.Time) (verdict, time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.draining {
		return laneDrained, 0
	}
	l := ls.lane(c, now)
	c.lane = l
	switch {
	case now.Before(l.hold):
	case l.broken:
		if l.probe == nil {
			l.probe, c.tries = c, true
			ls.begin(l, c, now)
			return laneStart, 0
		}
	case l.name == suspectLane && !l.bears(c):
	case l.free() && (l.waits() == 0 || c.takenOver()):
		ls.begin(l, c, now)
		return laneStart, 0
	case c.takenOver() && l.ahead(c, now):
		ls.waiting++
		return laneWait, 0
	case l.waits() < l.room(now):
		l.waiting, l.head = packed(l.waiting, l.head)
		l.waiting = append(l.waiting, c)
		ls.waiting++
		return laneWait, 0
	}
	return laneFull, l.pace(now)
}

// lane returns the job's lane. A job that lost its worker twice may have been the
// cause, so all such jobs share one lane of few slots.
func (ls *lanes) lane(c *claim, now time.Time) *lane {
	name, slots := c.destination(), ls.slots
	if c.Crashes >= suspicion {
		name, slots = suspectLane, suspectSlots
	}
	l := ls.byName[name]
	if l == nil {
		l = &lane{name: name, slots: slots, born: now, moved: now}
		ls.byName[name] = l
		if k, ok := ls.known[name]; ok {
			l.heed(&k.s, k.start, k.ms)
		}
	}
	l.used = now
	return l
}

// done ends a running job and returns the next one of its lane, which then
// counts as running, or nil; and, when the lane broke, those that waited in it,
// to be handed back.
func (ls *lanes) done(c *claim, end ending, took time.Duration, now time.Time) (next *claim, back []handback, how change) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := c.lane
	l.running--
	ls.running--
	l.learn(took, now)
	if end == endOK {
		l.pacing.lessons = 0
		l.pacing.done++
		l.pacing.meters.add(now)
	}
	if how = l.judge(c, end, now); l.broken {
		back = ls.take(l, 0, now)
	}
	if how == mended {
		l.took, l.raised = took, time.Time{} // the average was of a server that did not answer
	}
	if ls.draining && ls.running == 0 {
		close(ls.idle)
	}
	if l.waits() == 0 || !l.free() || now.Before(l.hold) {
		return nil, back, how
	}
	return ls.next(l, now), back, how
}

// throttled stops the lane for after, or for a time that doubles each time
// when after is 0. It returns how long the lane is stopped, and the jobs that
// waited in it, to be handed back. A connection that has taken its last message
// stops nobody: the next ones go by another.
func (ls *lanes) throttled(c *claim, after time.Duration, lesson Lesson, now time.Time) (time.Duration, []handback) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := c.lane
	if lesson == SessionLimit && after == 0 {
		return l.pace(now), nil
	}
	w := &l.pacing
	if l.name == suspectLane { // it has jobs of all destinations
		return max(after, throttleBase), nil
	}
	pause := after
	if now.Sub(w.lesson) >= throttleBase { // else it was under way at the last one
		pause = max(after, throttleBase<<min(w.lessons, throttleMax))
		w.lessons++
		w.lesson = now
	}
	if until := now.Add(pause); until.After(l.hold) {
		l.hold = until
	}
	w.changed, w.tokens = now, 0 // they were of the rate that was too much
	return l.pace(now), ls.take(l, 0, now)
}

// after is the pace of the lane for a job that must wait and named no time.
func (ls *lanes) after(c *claim, now time.Time) time.Duration {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if c.lane == nil {
		return lanePause
	}
	return c.lane.pace(now)
}

// handback is a job that goes back to Redis without an attempt.
type handback struct {
	c     *claim
	after time.Duration
}

// tick forgets empty lanes and returns the jobs that wait in a lane which
// turned out to be slow or is held, and those that may begin since something
// that held their lane is over.
func (ls *lanes) tick(now time.Time) (back []handback, start []*claim) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for name, l := range ls.byName {
		l.suspectSlow(now)
		if l.running == 0 && l.waits() == 0 {
			idle := laneIdle
			if l.broken {
				idle = breakerIdle
			}
			if now.Sub(l.used) > idle && now.After(l.clock) && now.After(l.hold) {
				delete(ls.byName, name)
			}
			continue
		}
		l.used = now
		keep := l.room(now)
		if l.broken || now.Before(l.hold) {
			keep = 0
		}
		back = append(back, ls.take(l, keep, now)...)
		for l.waits() > 0 && l.free() && !ls.draining {
			start = append(start, ls.next(l, now))
		}
	}
	return back, start
}

// take removes the jobs of l that wait behind the first keep ones.
func (ls *lanes) take(l *lane, keep int, now time.Time) []handback {
	var back []handback
	for l.waits() > keep {
		c := l.waiting[l.head+keep]
		l.waiting = slices.Delete(l.waiting, l.head+keep, l.head+keep+1) // which lets go of the last place
		ls.waiting--
		back = append(back, handback{c, l.pace(now)})
	}
	return back
}

// drain makes every later admit fail, closes idle when nothing runs, and
// returns all jobs that wait. It is called once.
func (ls *lanes) drain() []*claim {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.draining = true
	var all []*claim
	for _, l := range ls.byName {
		all = append(all, l.waiting[l.head:]...)
		l.waiting, l.head = nil, 0
	}
	ls.waiting = 0
	if ls.running == 0 {
		close(ls.idle)
	}
	return all
}

// counts returns how many jobs run and wait.
func (ls *lanes) counts() (running, waiting int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.running, ls.waiting
}

func (l *lane) waits() int { return len(l.waiting) - l.head }

// room is how many jobs may wait: any number while the lane is new, because
// its speed is not known, and then what it will start within laneBuffer, or the next
// one. More would take the slots of others.
func (l *lane) room(now time.Time) int {
	if l.took == 0 {
		return l.pacedRoom(math.MaxInt)
	}
	return l.pacedRoom(max(1, int(l.rate()*laneBuffer.Seconds())))
}

// learn takes the time of an attempt into the average.
func (l *lane) learn(took time.Duration, now time.Time) {
	l.moved = now
	took = max(took, time.Microsecond)
	if begun := now.Add(-took); l.took == 0 || !l.raised.IsZero() && begun.After(l.raised) {
		l.took, l.raised = took, time.Time{} // known again
		return
	}
	l.took += (took - l.took) / laneMemory
}

// suspectSlow raises the average when no attempt has ended for longer than it:
// a server that hangs must be noticed before its timeouts.
func (l *lane) suspectSlow(now time.Time) {
	if l.running == 0 {
		return
	}
	still := now.Sub(l.moved)
	if l.took == 0 && still > laneBuffer {
		l.took, l.raised = laneGuess, now // or it takes its time to open the first connection
	}
	if l.took > 0 && l.running >= l.slots && still > l.took {
		l.took, l.raised = still, now
	}
}

// rate is how many jobs a second the lane can do.
func (l *lane) rate() float64 {
	took := l.took
	if other := l.pacing.took; other > 0 && (took == 0 || other < took) {
		took = other // jobs that come back too soon cost little, but a lane must not run empty
	}
	if took == 0 {
		took = laneGuess
	}
	slots := float64(l.slots)
	if w := &l.pacing; w.conns {
		slots = min(slots, float64(w.all)*w.ahead)
	}
	rate := slots / took.Seconds()
	if r := l.pacing.limit.Rate * l.pacing.ahead; r > 0 {
		rate = min(rate, r)
	}
	return rate
}

// pace returns when the next job may come back: one after the other at the
// rate of the lane, so that a handed-back backlog comes back once.
func (l *lane) pace(now time.Time) time.Duration {
	next, from := now.Add(lanePause), now
	if l.hold.After(from) {
		from = l.hold
	}
	for _, t := range []time.Time{l.clock, from} {
		if t.After(next) {
			next = t
		}
	}
	step := time.Duration(float64(time.Second) / l.rate())
	switch {
	case l.name == suspectLane:
		step = min(step, suspectStep)
	case l.broken: // how fast it fails is not how fast it will work
		step = laneStep
	}
	if horizon := l.horizon(); next.Sub(from) >= horizon {
		step = min(step, laneStep)
		if next.Sub(from) > laneMost {
			next = from.Add(horizon + time.Duration(rand.Int64N(int64(laneMost-horizon))))
			step = 0
		}
	}
	if step > 0 {
		l.clock = next.Add(step)
	}
	l.away.add(now, next)
	return next.Sub(now)
}

// horizon is how far the lane's speed is known.
func (l *lane) horizon() time.Duration {
	switch w := &l.pacing; {
	case !l.limited():
	case l.took == 0 && w.took == 0:
		return paceBlind
	case w.ahead == paceGuess:
		return paceHorizon
	}
	return laneHorizon
}
