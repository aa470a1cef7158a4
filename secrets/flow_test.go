package secrets

import (
	"testing"
	"time"
)

func TestOnlyABusyProcessGathersCallers(t *testing.T) {
	for _, tt := range []struct {
		every time.Duration
		want  time.Duration
	}{
		{time.Second, 0},
		{2 * time.Millisecond, 0},
		{500 * time.Microsecond, flowMost},
		{20 * time.Microsecond, 0}, // a trip is full without waiting
	} {
		var f flow
		now := time.Now()
		for range 2000 {
			f.add(now)
			now = now.Add(tt.every)
		}
		// The window has one caller more or less, by how it falls.
		if got := f.linger(); got < tt.want*9/10 || got > tt.want*11/10 {
			t.Errorf("a caller each %v: a trip waits %v, want %v", tt.every, got, tt.want)
		}
		f.add(now.Add(time.Second))
		if got := f.linger(); got != 0 {
			t.Errorf("a second after callers each %v: a trip waits %v, want no time", tt.every, got)
		}
	}
}
