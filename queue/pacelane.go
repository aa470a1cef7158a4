package queue

import (
	"math"
	"time"
)

// pacing is what a lane knows of its destination beside its own experience.
type pacing struct {
	limit   Limit
	shared  bool          // all processes know something of the lane
	conns   bool          // connections are limited
	slots   int           // then this process' part of them, perhaps none
	all     int           // of all processes
	took    time.Duration // of an attempt in the fastest of the others, 0 while unknown
	ahead   float64       // how much faster hand-backs come than the rate
	tokens  int           // jobs that may begin
	changed time.Time     // by this process; answers to calls from before say less

	meters  meters
	done    int // jobs since the last share
	lessons int // since the last success, those at once counted once
	lesson  time.Time
	told    time.Time // what all processes were told last
	toldTo  time.Time // the hold that they know
}

// meters count what came through. A destination that takes a job each ten
// seconds needs a longer look.
type meters struct{ quick, slow meter }

// rate is what came through a second, in the last one or else over a minute.
func (m *meters) rate(now time.Time) float64 {
	if n := m.quick.sum(now, paceMeasure); n > 0 {
		return float64(n) / paceMeasure.Seconds()
	}
	return float64(m.slow.sum(now, paceLong)) / paceLong.Seconds()
}

func (m *meters) add(now time.Time) {
	m.quick.count[m.quick.turn(now, paceMeasure)]++
	m.slow.count[m.slow.turn(now, paceLong)]++
}

// meter counts within a time that goes on, in ten slices.
type meter struct {
	count [meterSlices]int
	at    int64 // the newest slice
}

const meterSlices = 10

// turn forgets old slices and returns the index of the newest.
func (m *meter) turn(now time.Time, window time.Duration) int {
	at := now.UnixNano() / int64(window/meterSlices)
	if at-m.at >= meterSlices {
		m.count, m.at = [meterSlices]int{}, at
	}
	for ; m.at < at; m.at++ {
		m.count[(m.at+1)%meterSlices] = 0
	}
	return int(m.at % meterSlices)
}

func (m *meter) sum(now time.Time, window time.Duration) (n int) {
	m.turn(now, window)
	for _, c := range m.count {
		n += c
	}
	return n
}

// limited reports whether the lane needs its part of what all processes share.
func (l *lane) limited() bool { return l.pacing.limit.Rate > 0 || l.pacing.conns }

// free reports whether one more job may begin.
func (l *lane) free() bool {
	most := l.slots
	if l.pacing.conns {
		most = min(most, l.pacing.slots)
	}
	return l.running < most && (l.pacing.limit.Rate == 0 || l.pacing.tokens > 0)
}

// begin counts one more running job. ls.mu is held.
func (ls *lanes) begin(l *lane, c *claim, now time.Time) {
	l.moved = now
	c.Limit = l.pacing.limit
	l.running++
	ls.running++
	if l.pacing.tokens > 0 {
		l.pacing.tokens--
	}
}

// next takes the first waiting job and counts it as running. ls.mu is held.
func (ls *lanes) next(l *lane, now time.Time) *claim {
	next := l.waiting[l.head]
	l.waiting[l.head] = nil
	if l.head++; l.head == len(l.waiting) {
		l.waiting, l.head = l.waiting[:0], 0
	}
	ls.waiting--
	ls.begin(l, next, now)
	return next
}

// taught notes that all processes are being told of a throttled job, and returns
// the running jobs and what comes through a second. known says that
// they know already, since many jobs are refused at once.
func (ls *lanes) taught(l *lane, pause time.Duration, now time.Time) (running int, rate float64, known bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	w := &l.pacing
	if now.Sub(w.told) < paceMeasure/2 && !now.Add(pause).After(w.toldTo.Add(paceMeasure/2)) {
		return 0, 0, true
	}
	w.told, w.changed = now, now
	w.done = 0 // the rate has them
	if to := now.Add(pause); to.After(w.toldTo) {
		w.toldTo = to
	}
	return l.running, w.meters.rate(now), false
}

// limit is what the lane knows of its destination.
func (ls *lanes) limit(l *lane) Limit {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return l.pacing.limit
}

// apply takes over what all processes know of a lane, nil for nothing, by an answer
// of the time ms to a call that began at start.
func (ls *lanes) apply(name string, s *paced, start time.Time, ms int64) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if s == nil {
		delete(ls.known, name)
	} else {
		ls.known[name] = known{s: *s, start: start, ms: ms}
	}
	if l := ls.byName[name]; l != nil && !start.Before(l.pacing.changed) {
		l.heed(s, start, ms)
	}
}

// applyAll is apply for all lanes.
func (ls *lanes) applyAll(all map[string]paced, start time.Time, ms int64) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.known = make(map[string]known, len(all))
	for name, s := range all {
		ls.known[name] = known{s: s, start: start, ms: ms}
	}
	for name, l := range ls.byName {
		if start.Before(l.pacing.changed) || name == suspectLane {
			continue
		}
		if s, ok := all[name]; ok {
			l.heed(&s, start, ms)
		} else {
			l.heed(nil, start, ms)
		}
	}
}

// known is a lane as all processes know it.
type known struct {
	s     paced
	start time.Time // ours, of the call
	ms    int64     // Redis', of the answer
}

// heed makes the lane obey s. ls.mu is held.
func (l *lane) heed(s *paced, start time.Time, ms int64) {
	w := &l.pacing
	if s == nil && !w.shared {
		return // what this process knows alone stays
	}
	if w.shared = s != nil; s == nil {
		s = &paced{}
	}
	here := func(at float64) time.Time { return start.Add(time.Duration(at-float64(ms)) * time.Millisecond) }
	w.limit.Rate, w.limit.PerConnection, w.all = s.Rate, s.Mails, s.Conns
	if w.ahead = paceAhead; s.First > 0 || s.FirstConns > 0 {
		w.ahead = paceGuess
	}
	w.took = s.took()
	if s.Rate == 0 {
		w.tokens = 0
	}
	switch {
	case s.Conns == 0:
		w.conns, w.limit.Connections = false, 0
	case !w.conns: // until the first share
		w.conns, w.slots, w.limit.Connections = true, 1, 1
	}
	hold := time.Time{}
	if s.Hold > float64(ms) {
		hold, w.tokens = here(s.Hold), 0
	}
	switch {
	case s.Broken > 0:
		l.broken = true
		if at := here(s.Probe); at.After(hold) {
			hold = at
		}
	case l.broken: // mended elsewhere
		l.broken, l.silent, l.trips, l.took = false, 0, 0, 0
	}
	l.hold = hold
}

// wish is what a limited lane asks for.
type wish struct {
	lane                         string
	tokens, slots, running, done int
	took                         time.Duration
}

// wishes are those of all limited lanes that have jobs here.
func (ls *lanes) wishes() []wish {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.known) == 0 {
		return nil
	}
	var list []wish
	for name := range ls.known {
		l := ls.byName[name]
		if l == nil || !l.limited() || ls.draining {
			continue
		}
		w := wish{lane: name, running: l.running, slots: min(l.running+l.waits(), l.slots), done: l.pacing.done, took: l.took}
		if l.pacing.limit.Rate > 0 {
			w.tokens = max(l.waits()-l.pacing.tokens, 0)
		}
		l.pacing.done = 0
		list = append(list, w)
	}
	return list
}

// grant gives a lane its part, and returns the jobs that begin by it.
func (ls *lanes) grant(name string, tokens, slots int, now time.Time) []*claim {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byName[name]
	if l == nil || ls.draining {
		return nil
	}
	w := &l.pacing
	if w.limit.Rate > 0 {
		w.tokens += tokens
	}
	if w.conns {
		w.slots, w.limit.Connections = slots, max(slots, 1)
	}
	if now.Before(l.hold) || l.broken {
		return nil
	}
	var list []*claim
	for l.waits() > 0 && l.free() {
		list = append(list, ls.next(l, now))
	}
	return list
}

// pacedRoom is how many jobs may wait in a limited lane: what it will start
// until delayed jobs come back, which is each promoteEach, and some more.
func (l *lane) pacedRoom(usual int) int {
	if !l.limited() {
		return usual
	}
	if l.pacing.conns && l.pacing.slots == 0 {
		return 1 // another process has its turn; this one says that it wants one
	}
	return min(usual, 2+int(math.Ceil(l.rate()*2*laneBuffer.Seconds())))
}
