package queue

import (
	"sync/atomic"
	"time"
)

// clock is what a process knows of Redis' clock, the only one of the queue. An
// answer was made at some moment between question and arrival, so it bounds how
// far the clocks are apart; what was known is moved into these bounds and no
// further. With the last answer alone, a stall of half a second on the way made Redis
// half a second older for the next tenth: records of attempts had wrong times, and
// a job was taken for expired too early.
type clock struct {
	skew  atomic.Int64 // Redis' clock minus ours, ns
	known bool         // only by the goroutine that calls saw
}

// at is Redis' clock at our time ours.
func (c *clock) at(ours time.Time) time.Time { return ours.Add(time.Duration(c.skew.Load())) }

// saw takes an answer in which Redis' clock stood at ms, and which was asked for at
// before and came at after.
func (c *clock) saw(ms int64, before, after time.Time) {
	least := int64(time.UnixMilli(ms).Sub(after))
	most := int64(time.UnixMilli(ms + 1).Sub(before)) // its time is cut to milliseconds
	if !c.known {
		c.known = true
		c.skew.Store(least + (most-least)/2)
		return
	}
	c.skew.Store(min(max(c.skew.Load(), least), most))
}
