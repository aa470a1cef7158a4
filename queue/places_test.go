package queue

import (
	"testing"
	"time"
)

// Places of a queue in memory that are kept for two to four jobs.
const fewPlaces = 16

func TestAQueueThatIsNeverEmptyDoesNotGrow(t *testing.T) {
	r := newReady()
	r.put(&claim{})
	for range 10_000 {
		r.put(&claim{})
		r.take()
	}
	if got := cap(r.jobs); got > fewPlaces {
		t.Errorf("a queue of two jobs has %d places, want at most %d", got, fewPlaces)
	}
}

func TestALaneThatIsNeverEmptyDoesNotGrow(t *testing.T) {
	for _, deliveries := range []int{1, 2} { // 2: taken over, goes before the others
		now := time.Now()
		ls := newLanes(4)
		started, waiting, _, _ := admits(ls, "a", 4+3, 0, now)
		if len(started) != 4 || waiting != 3 {
			t.Fatalf("got %d started, %d waiting; want 4 and 3", len(started), waiting)
		}
		running := started[0]
		for i := range 10_000 {
			now = now.Add(time.Millisecond)
			if running, _, _ = ls.done(running, endOK, time.Millisecond, now); running == nil {
				t.Fatalf("after %d jobs: none is next", i)
			}
			c := job("a", 0)
			c.deliveries = deliveries
			if v, _ := ls.admit(c, now); v != laneWait {
				t.Fatalf("after %d jobs: the next does not wait", i)
			}
		}
		if got := cap(ls.byName["a"].waiting); got > fewPlaces {
			t.Errorf("deliveries %d: a lane where 3 jobs wait has %d places, want at most %d", deliveries, got, fewPlaces)
		}
	}
}

func TestALaneLetsGoOfJobsThatItHandsBack(t *testing.T) {
	now := time.Now()
	ls := newLanes(1)
	started, waiting, _, _ := admits(ls, "a", 9, 0, now)
	if len(started) != 1 || waiting != 8 {
		t.Fatalf("got %d started, %d waiting; want 1 and 8", len(started), waiting)
	}
	if back, _ := ls.tick(now.Add(time.Second)); len(back) == 0 {
		t.Fatal("a lane where nothing ends hands nothing back")
	}
	l := ls.byName["a"]
	for i, c := range l.waiting[len(l.waiting):cap(l.waiting)] {
		if c != nil {
			t.Fatalf("place %d behind those that wait still holds a job", i)
		}
	}
}
