package queue

import (
	"testing"
	"time"
)

func TestAStallDoesNotMoveTheClock(t *testing.T) {
	const ahead = 3 * time.Second
	var c clock
	ours := time.Now()
	// ask has Redis answer when it is asked, and the answer take that long.
	ask := func(toRedis, back time.Duration) {
		c.saw(ours.Add(toRedis+ahead).UnixMilli(), ours, ours.Add(toRedis+back))
		ours = ours.Add(100 * time.Millisecond)
	}
	for _, tt := range []struct {
		name          string
		toRedis, back time.Duration
	}{
		{"the first", time.Millisecond, time.Millisecond},
		{"late at Redis", 500 * time.Millisecond, time.Millisecond},
		{"late on the way back", time.Millisecond, 500 * time.Millisecond},
		{"an ordinary one", 200 * time.Microsecond, 200 * time.Microsecond},
	} {
		ask(tt.toRedis, tt.back)
		if off := c.at(ours).Sub(ours.Add(ahead)).Abs(); off > 2*time.Millisecond {
			t.Errorf("after %s: the clock is %v off, want 2ms at most", tt.name, off)
		}
	}
}

func TestTheClockFollowsRedis(t *testing.T) {
	var c clock
	ours := time.Now()
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} { // a failover to another machine
		c.saw(ours.Add(ahead).UnixMilli(), ours, ours.Add(time.Millisecond))
		if off := c.at(ours).Sub(ours.Add(ahead)).Abs(); off > 3*time.Millisecond {
			t.Errorf("Redis is %v ahead: the clock is %v off", ahead, off)
		}
	}
}
