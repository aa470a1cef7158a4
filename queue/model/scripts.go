package model

// script is one run of a script on Redis: a list of writes that all happen, or,
// if it stops half-way, the first few. Every write asks step before it is done.
type script struct {
	*state
	cfg     *Config
	most    int // writes before it stops; -1: all
	n       int // writes done
	stopped bool
	touched uint8 // bit of each life written to
}

func (x *script) step(l int) bool {
	if x.stopped || x.n == x.most {
		x.stopped = true
		return false
	}
	x.n++
	x.touched |= 1 << l
	return true
}

func (x *script) life(l int) *life { return &x.now.lives[l] }

// own is own of common.lua.
func (x *script) own(w, l int, serial uint8) bool {
	e := x.life(l).find(serial)
	return e != nil && e.holder() == w
}

// add is XADD. It returns the serial, 0 if the script has stopped.
func (x *script) add(l int, m meta) uint8 {
	if !x.step(l) {
		return 0
	}
	t := &x.traces[l]
	t.next = max(t.next, 1)
	es := &x.life(l).entries
	for i := range es {
		if es[i].state == none {
			es[i] = entry{state: fresh, serial: t.next, meta: m}
			t.next++
			return t.next - 1
		}
	}
	x.beyond = true
	return 0
}

// ready is ready of common.lua.
func (x *script) ready(l int, m meta) {
	serial := x.add(l, m)
	if x.step(l) {
		x.life(l).moved = serial
	}
}

// drop is drop of common.lua.
func (x *script) drop(l int, serial uint8) {
	if x.cfg.Mistake == AckBeforeDelete {
		x.xack(l, serial)
	}
	x.xdel(l, serial)
	if x.cfg.Mistake != AckBeforeDelete {
		x.xack(l, serial)
	}
}

func (x *script) xdel(l int, serial uint8) {
	if !x.step(l) {
		return
	}
	if e := x.life(l).find(serial); e != nil {
		switch h := e.holder(); {
		case h < 0:
			e.state = none
		default:
			e.state = left + uint8(h)
		}
	}
}

func (x *script) xack(l int, serial uint8) {
	if !x.step(l) {
		return
	}
	if e := x.life(l).find(serial); e != nil && e.holder() >= 0 {
		if e.inStream() {
			e.state = orphan
		} else {
			e.state = none
		}
	}
}

// forget is forget of common.lua; marks are not in this machine.
func (x *script) forget(l int) {
	if x.step(l) {
		x.life(l).moved = 0
	}
	if x.step(l) {
		x.life(l).cancel = false
	}
}

// put writes the body and a member of a set.
func (x *script) put(l int, m meta, member *bool) {
	if x.step(l) {
		x.life(l).body, x.life(l).meta = true, m
	}
	if x.step(l) {
		*member = true
	}
}

// take removes a member and the body.
func (x *script) take(l int, member *bool) {
	if x.step(l) {
		*member = false
	}
	if x.step(l) {
		x.life(l).body = false
	}
}

// again is the end of promote, unpark and requeue: the stream first.
func (x *script) again(l int, m meta, member *bool) {
	x.ready(l, m)
	if x.step(l) {
		x.life(l).body = false
	}
	if x.step(l) {
		*member = false
	}
}

// enqueue is enqueue.lua for one job. It reports a duplicate.
func (x *script) enqueue(j int) (duplicate bool) {
	l := x.newLife(j)
	if x.now.dedup[j] != 0 && (!x.cfg.Partitions || bit(x.now.dedup[j], x.partition())) {
		return true
	}
	if l < 0 {
		x.beyond = true
		return false
	}
	names := !bit(x.cfg.NoID, j)
	if names && x.cfg.Mistake == DedupBeforeJob && x.step(l) {
		x.now.dedup[j] |= uint8(l%copies) + 1
	}
	serial := x.add(l, meta{})
	if x.cfg.Mistake == Trim && !x.stopped {
		x.trim(l)
	}
	if bit(x.cfg.Later, j) {
		x.put(l, meta{}, &x.life(l).due)
		x.xdel(l, serial)
	}
	if names && x.step(l) {
		x.now.dedup[j] |= uint8(l%copies) + 1
	}
	return false
}

// partition is that of the producer's jobs.
func (x *script) partition() int {
	if x.sender.two() {
		return 1
	}
	return 0
}

// newLife returns a life of job j that was never used, -1 if there is none.
func (x *script) newLife(j int) int {
	for l := j * copies; l < (j+1)*copies; l++ {
		if x.traces[l].next == 0 && (!x.cfg.Partitions || l%copies == x.partition()) {
			return l
		}
	}
	return -1
}

// trim is XADD ... MAXLEN 1.
func (x *script) trim(newest int) {
	for l := range x.now.lives {
		for i := range x.life(l).entries {
			e := &x.life(l).entries[i]
			if l == newest || !e.inStream() {
				continue
			}
			if h := e.holder(); h >= 0 {
				e.state = left + uint8(h)
			} else {
				e.state = none
			}
		}
	}
}

// done is done.lua for one job.
func (x *script) done(w int, c *claim) {
	l := int(c.life)
	if x.cfg.Mistake == LateSuccessRefused && !x.own(w, l, c.serial) {
		return
	}
	e := x.life(l).find(c.serial)
	was := e != nil && e.holder() >= 0
	x.drop(l, c.serial)
	if !was {
		x.endLater(l, c.serial)
	}
	x.forget(l)
}

// endLater ends what a later holder made of the job.
func (x *script) endLater(l int, serial uint8) {
	if x.step(l) {
		x.life(l).due = false
	}
	if x.step(l) {
		x.life(l).dead = false
	}
	if newer := x.life(l).moved; newer != 0 && newer != serial {
		x.drop(l, newer)
	}
	if serial != 1 && x.cfg.Mistake != FirstEntryLeft {
		x.drop(l, 1)
	}
	if x.life(l).body {
		x.take(l, &x.life(l).parked)
	}
}

// delay is delay.lua. It reports whether the caller held the job.
func (x *script) delay(w int, c *claim) bool {
	l := int(c.life)
	if x.cfg.Mistake != LateFailure && !x.own(w, l, c.serial) {
		return false
	}
	if x.cancelled(c) {
		return true
	}
	if x.cfg.Mistake == RemoveBeforeAdd {
		x.drop(l, c.serial)
	}
	x.put(l, c.meta, &x.life(l).due)
	if x.cfg.Mistake != RemoveBeforeAdd {
		x.drop(l, c.serial)
	}
	x.forget(l)
	return true
}

// cancelled ends a job that somebody cancelled while it ran.
func (x *script) cancelled(c *claim) bool {
	l := int(c.life)
	if !x.life(l).cancel {
		return false
	}
	x.jobs[jobOf(l)].over = true
	x.drop(l, c.serial)
	x.forget(l)
	return true
}

// bury is dead.lua.
func (x *script) bury(w int, c *claim) bool {
	l := int(c.life)
	if !x.own(w, l, c.serial) {
		return false
	}
	next := x.cfg.follows(jobOf(l))
	if next >= 0 && x.cfg.Mistake != FollowLast {
		x.enqueue(next)
	}
	x.put(l, c.meta, &x.life(l).dead)
	x.drop(l, c.serial)
	x.forget(l)
	if next >= 0 && x.cfg.Mistake == FollowLast {
		x.enqueue(next)
	}
	if next >= 0 && !x.stopped {
		x.jobs[next].knows = told
	}
	return true
}

// park is park.lua, always for version 1.
func (x *script) park(w int, c *claim) bool {
	l := int(c.life)
	if !x.own(w, l, c.serial) {
		return false
	}
	if x.cancelled(c) {
		return true
	}
	newer, released := x.now.version, c.untried && c.old
	if newer && x.cfg.Mistake != ParkUnchecked || released && x.cfg.Mistake != ParkByOldRefusal {
		x.ready(l, c.meta)
		x.drop(l, c.serial)
		return true
	}
	if newer || released {
		x.wrong = name(l) + " is parked although what it waits for has happened"
	}
	x.put(l, c.meta, &x.life(l).parked)
	x.drop(l, c.serial)
	x.forget(l)
	return true
}

// release is release.lua.
func (x *script) release(w int, c *claim) bool {
	l := int(c.life)
	if !x.own(w, l, c.serial) {
		return false
	}
	if x.cancelled(c) {
		return true
	}
	x.ready(l, c.meta)
	x.drop(l, c.serial)
	return true
}

// cancel is cancel.lua. It reports whether there was something to cancel.
func (x *script) cancel(l int) bool {
	life := x.life(l)
	for _, serial := range [...]uint8{life.moved, 1} {
		e := life.find(serial)
		if serial == 0 || e == nil || !e.inStream() {
			continue
		}
		if e.holder() >= 0 {
			if x.step(l) {
				life.cancel = true
			}
			return true
		}
		x.jobs[jobOf(l)].over = true
		x.xdel(l, serial)
		x.forget(l)
		return true
	}
	if !life.body || life.dead {
		return false
	}
	x.jobs[jobOf(l)].over = true
	if x.step(l) {
		life.due = false
	}
	x.take(l, &life.parked)
	x.forget(l)
	return true
}
