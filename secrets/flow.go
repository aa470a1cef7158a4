package secrets

import "time"

// A trip costs Redis and us some 15 µs each, whoever is on it. Between two of them
// one caller comes or two when 7,000 mails a second go out, so that each mail paid
// for a trip of its own. A busy process lets a trip wait for some callers.
const (
	flowWindow = 10 * time.Millisecond
	flowBusy   = 10               // callers in a window, 1,000 a second, below which none waits
	flowCrowd  = 100              // callers in a window, 10,000 a second, from which some come anyway
	flowGather = 8                // callers that a trip waits for
	flowMost   = time.Millisecond // but no longer; a mail takes tens of them
)

// flow tells how many callers come.
type flow struct {
	from time.Time // of the window
	n    int       // in it
	last int       // in the one before
}

// add notes a caller.
func (f *flow) add(now time.Time) {
	if since := now.Sub(f.from); since > flowWindow {
		if f.last = 0; since < 2*flowWindow {
			f.last = f.n
		}
		f.from, f.n = now, 0
	}
	f.n++
}

// linger is how long a trip waits for more callers than it has.
func (f *flow) linger() time.Duration {
	n := max(f.n, f.last)
	if n < flowBusy || n >= flowCrowd {
		return 0
	}
	return min(flowGather*flowWindow/time.Duration(n), flowMost)
}
