package queue

import (
	"slices"
	"testing"
	"time"
)

// stalledLane is a lane of 4 slots that had a backlog of 5,000 jobs and then stalled
// for half a second, and the jobs that run.
func stalledLane(t *testing.T, now time.Time) (*lanes, []*claim, time.Time) {
	t.Helper()
	ls := newLanes(4)
	first, _, _, _ := admits(ls, "a", 4, 0, now)
	for _, c := range first {
		ls.done(c, endOK, time.Millisecond, now)
	}
	running, _, _, _ := admits(ls, "a", 4, 0, now)
	now = now.Add(500 * time.Millisecond)
	ls.tick(now)
	_, _, full, delays := admits(ls, "a", 5000, 0, now)
	if full < 4900 || slices.Max(delays) < laneHorizon {
		t.Fatalf("got %d handed back for up to %v, want nearly all, for over %v", full, slices.Max(delays), laneHorizon)
	}
	return ls, running, now
}

// works lets the lane do one job after the other, each as long as took, as many as
// it has or gets by a tick, until it is over.
func works(ls *lanes, running []*claim, took time.Duration, now, end time.Time) (recalled []time.Duration) {
	start := now
	for now.Before(end) {
		var next []*claim
		now = now.Add(max(took, laneTick))
		for _, c := range running {
			for i := 0; c != nil && i < int(max(took, laneTick)/took); i++ {
				c, _, _ = ls.done(c, endOK, took, now)
			}
			if c != nil {
				next = append(next, c)
			}
		}
		running = next
		if names := ls.dry(now); len(names) > 0 {
			recalled = append(recalled, now.Sub(start))
		}
		if len(running) == 0 { // a few come back by themselves
			running, _, _, _ = admits(ls, "a", 4, 0, now)
		}
	}
	return recalled
}

func TestALaneRecallsWhatItHandedBackInAStall(t *testing.T) {
	ls, running, now := stalledLane(t, time.Now())
	if names := ls.dry(now); len(names) > 0 {
		t.Fatalf("%v is recalled while it stalls", names)
	}
	got := works(ls, running, time.Millisecond, now, now.Add(10*time.Second))
	if len(got) == 0 || got[0] > 4*time.Second {
		t.Errorf("after the stall the lane recalls at %v, want within 4 s", got)
	}
	if rate := ls.recallRate("a", now); rate < 1000 {
		t.Errorf("its jobs are recalled at %.0f a second, want about as many as it does, 4,000", rate)
	}
}

func TestASlowLaneRecallsNothing(t *testing.T) {
	ls, running, now := stalledLane(t, time.Now())
	if got := works(ls, running, 2*time.Second, now, now.Add(time.Minute)); len(got) > 0 {
		t.Errorf("a lane of 2 jobs a second recalls what comes back no slower, at %v", got)
	}
}

func TestOnlyALaneThatIsWellRecalls(t *testing.T) {
	now := time.Now()
	ls, late := deadLane(t, now)
	for _, c := range late {
		ls.done(c, endSilent, time.Millisecond, now)
	}
	admits(ls, "a", 5000, 0, now)
	for range 20 {
		if names := ls.dry(now); len(names) > 0 || ls.recallRate("a", now) > 0 {
			t.Fatal("a broken lane recalls")
		}
		now = now.Add(laneTick)
	}
	now = now.Add(breakerBase)
	probe, _, _, _ := admits(ls, "a", 1, 0, now)
	ls.done(probe[0], endOK, time.Millisecond, now)
	if names := ls.dry(now); !slices.Equal(names, []string{"a"}) {
		t.Errorf("after an answer %v are recalled, want a", names)
	}
	if names := ls.dry(now.Add(recallEach)); len(names) > 0 {
		t.Error("recalled again, though nothing was handed back since")
	}
	ls.drain()
	if ls.recallRate("a", now) > 0 {
		t.Error("a process that drains recalls")
	}
}
