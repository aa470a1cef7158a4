package sqs

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestACrewRestsAndIsDismissed makes requests one after the other and many at
// once: as many goroutines rest as were out at once, and none after the end. The
// bubble fails if one stays.
func TestACrewRestsAndIsDismissed(t *testing.T) {
	s := &service{delay: time.Second}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		for range 3 {
			<-give(a, "one").done
			synctest.Wait()
		}
		if n := len(a.crew.resting); n != 1 {
			t.Errorf("%d rest after requests one by one, want 1", n)
		}
		many := give(a, numbered(10*maxFlights, "m%d")...)
		<-many.done
		synctest.Wait()
		if n := len(a.crew.resting); n != maxFlights || s.most != maxFlights {
			t.Errorf("%d rest after %d requests at once, want %d", n, s.most, maxFlights)
		}
		<-give(a, "another").done
		synctest.Wait()
		late := give(a, "late")
		synctest.Wait()
		a.dismiss()
		<-late.done
		<-give(a, "later").done
		synctest.Wait()
		if n := len(a.crew.resting); n != 0 {
			t.Errorf("%d rest after they were dismissed", n)
		}
	})
}
