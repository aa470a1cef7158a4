package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type laneWork string

func (laneWork) Kind() string   { return "test" }
func (w laneWork) Lane() string { return string(w) }
func (laneWork) Do(context.Context, *Claim) (Reply, error) {
	return Reply{}, nil
}

func job(lane string, crashes int) *claim {
	c := &claim{work: laneWork(lane)}
	c.Crashes = crashes
	return c
}

// admits puts n jobs of a lane and counts the verdicts.
func admits(ls *lanes, lane string, n, crashes int, now time.Time) (started []*claim, waiting, full int, delays []time.Duration) {
	for range n {
		c := job(lane, crashes)
		switch v, d := ls.admit(c, now); v {
		case laneStart:
			started = append(started, c)
		case laneWait:
			waiting++
		case laneFull:
			full++
			delays = append(delays, d)
		}
	}
	return started, waiting, full, delays
}

func TestANewLaneKeepsABurstUntilItsSpeedIsKnown(t *testing.T) {
	now := time.Now()
	ls := newLanes(4)
	started, waiting, full, _ := admits(ls, "a", 100, 0, now)
	if len(started) != 4 || waiting != 96 || full != 0 {
		t.Fatalf("got %d started, %d waiting, %d full; want 4, 96, 0", len(started), waiting, full)
	}
	if back, _ := ls.tick(now.Add(laneBuffer)); len(back) != 0 {
		t.Errorf("after %v: got %d handed back, want none yet", laneBuffer, len(back))
	}
	back, _ := ls.tick(now.Add(laneBuffer + laneTick))
	if len(back) != 95 {
		t.Errorf("a lane where nothing ends: got %d handed back, want all but the next one, 95", len(back))
	}
	for i := 1; i < len(back); i++ {
		if gap := back[i].after - back[i-1].after; gap < 0 {
			t.Errorf("hand-back %d comes %v before the one in front of it", i, -gap)
		}
	}
}

func TestAFastLaneHandsNothingBack(t *testing.T) {
	now := time.Now()
	ls := newLanes(4)
	started, _, _, _ := admits(ls, "a", 4, 0, now)
	for range 1000 {
		now = now.Add(100 * time.Microsecond)
		ls.done(started[0], endOK, 100*time.Microsecond, now)
		started = started[1:]
		more, _, full, _ := admits(ls, "a", 1, 0, now)
		if full > 0 {
			t.Fatal("handed back")
		}
		started = append(started, more...)
	}
	if _, waiting, full, _ := admits(ls, "a", 252, 0, now); waiting != 252 || full != 0 {
		t.Errorf("a burst at a fast lane: got %d waiting and %d handed back, want 252 and 0", waiting, full)
	}
	if back, _ := ls.tick(now.Add(time.Second)); len(back) == 0 {
		t.Error("the lane hangs since a second and hands nothing back")
	}
}

func TestAFullLaneLeavesOtherLanesAlone(t *testing.T) {
	now := time.Now()
	ls := newLanes(2)
	admits(ls, "slow", 10, 0, now)
	ls.tick(now.Add(time.Second))
	if started, waiting, full, _ := admits(ls, "slow", 1, 0, now.Add(time.Second)); len(started)+waiting != 0 || full != 1 {
		t.Errorf("slow lane: got %d started, %d waiting, %d full; want it full", len(started), waiting, full)
	}
	if started, _, _, _ := admits(ls, "fast", 2, 0, now.Add(time.Second)); len(started) != 2 {
		t.Errorf("fast lane: got %d started, want 2", len(started))
	}
	running, waiting := ls.counts()
	if running != 4 || waiting != 1 {
		t.Errorf("got %d running and %d waiting, want 4 and 1", running, waiting)
	}
}

func TestHandBacksArePacedAndBounded(t *testing.T) {
	now := time.Now()
	ls := newLanes(2)
	started, _, _, _ := admits(ls, "a", 2, 0, now)
	now = now.Add(time.Second)
	for _, c := range started {
		ls.done(c, endOK, time.Second, now) // 2 jobs a second
	}
	admits(ls, "a", 3, 0, now) // 2 start, 1 waits
	_, _, full, delays := admits(ls, "a", 1000, 0, now)
	if full != 1000 {
		t.Fatalf("got %d handed back, want 1000", full)
	}
	for i, d := range delays {
		want := lanePause + time.Duration(i)*500*time.Millisecond
		if at := 60; i > at { // the first one that is due half a minute ahead or later
			want = lanePause + time.Duration(at)*500*time.Millisecond + time.Duration(i-at)*laneStep
		}
		if d != want {
			t.Fatalf("hand-back %d after %v, want %v", i, d, want)
		}
	}
	_, _, _, delays = admits(ls, "a", 300_000, 0, now)
	early := 0
	for i, d := range delays {
		if d < laneHorizon || d > laneMost+laneStep {
			t.Fatalf("hand-back %d after %v, want %v to %v", 1000+i, d, laneHorizon, laneMost)
		}
		if i > 200_000 && d < laneMost/2 {
			early++
		}
	}
	if early < 30_000 || early > 60_000 {
		t.Errorf("%d of the last 100,000 come in the first half of %v, want them spread", early, laneMost)
	}
}

func TestAThrottledLaneStops(t *testing.T) {
	now := time.Now()
	ls := newLanes(1)
	started, waiting, _, _ := admits(ls, "a", 3, 0, now)
	ls.done(started[0], endAnswered, time.Millisecond, now)
	own, back := ls.throttled(started[0], time.Minute, RateLimit, now)
	if waiting != 2 || own < time.Minute || len(back) != 1 || back[0].after < time.Minute {
		t.Errorf("got own %v and %d handed back %v, want a minute and the waiting one", own, len(back), back)
	}
	if _, _, full, delays := admits(ls, "a", 1, 0, now.Add(59*time.Second)); full != 1 || delays[0] < time.Second {
		t.Errorf("within the pause: got %d handed back after %v, want 1 after it", full, delays)
	}
	var pauses []time.Duration
	for range 8 {
		c := job("b", 0)
		ls.admit(c, now)
		ls.done(c, endAnswered, time.Millisecond, now)
		ls.throttled(c, 0, RateLimit, now)
		ls.throttled(c, 0, RateLimit, now.Add(throttleBase/2)) // was under way
		pauses = append(pauses, c.lane.hold.Sub(now))
		c.lane.hold = time.Time{}
		now = now.Add(time.Minute)
	}
	want := "[1s 2s 4s 8s 16s 32s 32s 32s]"
	if got := fmt.Sprint(pauses); got != want {
		t.Errorf("pauses without a named time: got %s, want %s", got, want)
	}
}

func TestSuspectsRunApart(t *testing.T) {
	now := time.Now()
	ls := newLanes(8)
	room := func(want int) {
		t.Helper()
		if got := ls.suspectRoom(); got != want {
			t.Errorf("got room for %d suspects, want %d", got, want)
		}
	}
	room(suspectSlots)
	few, waiting, full, _ := admits(ls, "b", suspectSlots+2, suspicion, now)
	if len(few) != suspectSlots || waiting != 0 || full != 2 {
		t.Fatalf("after two losses: got %d started, %d waiting, %d full; want %d, and none beside them", len(few), waiting, full, suspectSlots)
	}
	room(0)
	if got, _, _, _ := admits(ls, "a", 3, 0, now); len(got) != 3 {
		t.Errorf("others of the lane: got %d started, want 3", len(got))
	}
	if got, _, _, _ := admits(ls, "a", 3, suspicion-1, now); len(got) != 3 {
		t.Errorf("after one loss: got %d started, want 3: most are innocent", len(got))
	}
	for _, c := range few {
		if got, waiting, _, _ := admits(ls, "b", 1, loner, now); len(got)+waiting != 0 {
			t.Error("a job that lost its worker three times runs beside another suspect")
		}
		ls.done(c, endOK, time.Millisecond, now)
	}
	room(suspectSlots)
	alone, _, _, _ := admits(ls, "b", 2, loner, now)
	if len(alone) != 1 {
		t.Fatalf("after three losses: got %d started, want one alone", len(alone))
	}
	room(0)
	if got, waiting, _, _ := admits(ls, "b", 1, suspicion, now); len(got)+waiting != 0 {
		t.Error("a suspect runs beside one that lost its worker three times")
	}
	ls.done(alone[0], endOK, time.Millisecond, now)
	room(suspectSlots)
}

// What was taken over has waited for a lease: it goes before what was read, and
// what is then too much goes back from the end.
func TestWhatWasTakenOverGoesFirst(t *testing.T) {
	now := time.Now()
	ls := newLanes(2)
	started, _, _, _ := admits(ls, "a", 2, 0, now)
	ls.done(started[0], endOK, laneBuffer, now) // from now on the room is 2
	admits(ls, "a", 3, 0, now)
	late := started[1].lane.waiting[len(started[1].lane.waiting)-1]
	var over []*claim
	for i := range 3 {
		c := job("a", 1)
		c.deliveries = 2
		v, _ := ls.admit(c, now)
		if want := []verdict{laneWait, laneWait, laneFull}[i]; v != want {
			t.Fatalf("job %d that was taken over: got verdict %v, want %v", i, v, want)
		}
		over = append(over, c)
	}
	if back, _ := ls.tick(now); len(back) != 2 || back[1].c != late {
		t.Fatalf("%d jobs were handed back, want the 2 that were read", len(back))
	}
	for _, want := range over[:2] {
		next, _, _ := ls.done(started[1], endOK, laneBuffer, now)
		if next != want {
			t.Fatal("a job that was taken over is not the next")
		}
		started[1] = next
	}
}

// The time before a lane had anything to do says nothing about its speed.
func TestALaneThatWasIdleIsNotSlow(t *testing.T) {
	now := time.Now()
	ls := newLanes(1)
	started, _, _, _ := admits(ls, "a", 1, 0, now)
	ls.done(started[0], endOK, time.Millisecond, now.Add(time.Millisecond))
	now = now.Add(900 * time.Millisecond) // less than it takes to forget the lane
	if started, waiting, _, _ := admits(ls, "a", 100, 0, now); len(started) != 1 || waiting != 99 {
		t.Fatalf("%d started, %d waiting, want 1 and 99", len(started), waiting)
	}
	if back, _ := ls.tick(now.Add(time.Millisecond)); len(back) > 0 {
		t.Errorf("%d of 99 jobs were handed back, the last for %v, want none", len(back), back[len(back)-1].after)
	}
}

// Jobs that lost their worker twice come back one by one, but not a second apart.
func TestSuspectsComeBackSoon(t *testing.T) {
	now := time.Now()
	ls := newLanes(8)
	_, _, full, delays := admits(ls, "a", 100+suspectSlots, suspicion, now)
	if last := delays[len(delays)-1]; full != 100 || last > 5*time.Second {
		t.Errorf("%d handed back, the last for %v, want 100 within 5s", full, last)
	}
}

func TestEmptyLanesAreForgotten(t *testing.T) {
	now := time.Now()
	ls := newLanes(8)
	for i := range 1000 {
		started, _, _, _ := admits(ls, fmt.Sprint(i), 1, 0, now)
		ls.done(started[0], endOK, time.Millisecond, now)
	}
	ls.tick(now.Add(laneIdle / 2))
	if len(ls.byName) != 1000 {
		t.Errorf("at once: got %d lanes, want all", len(ls.byName))
	}
	ls.tick(now.Add(2 * laneIdle))
	if len(ls.byName) != 0 {
		t.Errorf("later: got %d lanes, want none", len(ls.byName))
	}
}

func TestADrainedLaneStartsNothing(t *testing.T) {
	now := time.Now()
	ls := newLanes(1)
	started, _, _, _ := admits(ls, "a", 3, 0, now)
	if all := ls.drain(); len(all) != 2 {
		t.Errorf("got %d waiting jobs back, want 2", len(all))
	}
	if v, _ := ls.admit(job("a", 0), now); v != laneDrained {
		t.Errorf("got verdict %v, want drained", v)
	}
	select {
	case <-ls.idle:
		t.Error("idle while a job runs")
	default:
	}
	if next, _, _ := ls.done(started[0], endOK, time.Millisecond, now); next != nil {
		t.Error("a job was started")
	}
	<-ls.idle
}

func TestABusyReaderWaitsForABatchOfSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(256)
		if n := s.take(t.Context(), 256); n != 256 {
			t.Fatalf("got %d slots, want 256", n)
		}
		start := time.Now()
		go func() {
			s.put(1)
			<-time.After(fetchPause / 2)
			s.put(63)
		}()
		if n, took := s.take(t.Context(), 256), time.Since(start); n != 64 || took != fetchPause/2 {
			t.Errorf("got %d slots after %v, want 64 when they are free", n, took)
		}
		start = time.Now()
		s.put(1)
		if n, took := s.take(t.Context(), 256), time.Since(start); n != 1 || took != fetchPause {
			t.Errorf("got %d slots after %v, want one after %v", n, took, fetchPause)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n := s.take(ctx, 256); n != 0 || len(s.waiters) != 0 {
			t.Errorf("got %d slots and %d waiters after the end of ctx, want none", n, len(s.waiters))
		}
	})
}

func TestBackoffGrowsToItsCapWithFullJitter(t *testing.T) {
	for n, want := range map[int]time.Duration{
		-1: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 10: 2560 * time.Second, 11: time.Hour, 99: time.Hour,
	} {
		var least, most time.Duration = time.Hour, 0
		for range 2000 {
			d := Backoff(n)
			if d < 0 || d > want {
				t.Fatalf("attempt %d: got %v, want at most %v", n, d, want)
			}
			least, most = min(least, d), max(most, d)
		}
		if least > want/20 || most < want*19/20 {
			t.Errorf("attempt %d: got %v to %v, want all of 0 to %v", n, least, most, want)
		}
	}
}

func TestPoolConfigNamesEveryMistake(t *testing.T) {
	_, err := NewPool(PoolConfig{Partitions: 9, Slots: 3, Lease: time.Second, Grace: -1, MaxAttempts: -1}, nil)
	for _, want := range []string{"no Redis", "slot for each of the 9", "at least 5s", "grace", "attempt"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %q", err, want)
		}
	}
}
