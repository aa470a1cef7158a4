package queue

import "testing"

// A process runs for longer than records are kept.
func TestExpiredMinutesAreNotCounted(t *testing.T) {
	const most, kept, each = 1000, 60, 10 // 600 records at any time
	l := &logCap{counts: map[int64]int64{}}
	for now := int64(1000); now < 1000+10*kept; now++ {
		l.counts[now] = each
		if before := l.over(most, now-kept, now+1); before != now-kept {
			t.Fatalf("after %d minutes: the records of %d minutes are dropped, want none", now-1000, before-(now-kept))
		}
		if len(l.counts) > kept+1 {
			t.Fatalf("after %d minutes: %d are counted, want at most %d", now-1000, len(l.counts), kept+1)
		}
	}
}
