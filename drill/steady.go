package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// Figures that a run must reach.
const (
	delayMost = 2 * time.Second // of 99 in 100 mails, while workers are restarted
	firstMost = time.Second     // from Redis' first answer to the first mail
	takeMost  = lease + 2*time.Second
)

// outageMost is how long redis-server is away at most when only that is tried.
const outageMost = 6 * time.Second

// firstSpan is how long after a return of redis-server mails are looked at: it
// dies again after five seconds.
const firstSpan = 4 * time.Second

// tick is how often a steady load is sent.
const tick = 50 * time.Millisecond

// stopMost is how long a worker may take to end: its grace and a bit.
const stopMost = queue.DefaultGrace + 10*time.Second

// Times are how long something took, in seconds, over all cases of a run.
type Times struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// String is the times in a few words.
func (t Times) String() string {
	return fmt.Sprintf("p50 %.3f s, p99 %.3f s, max %.3f s of %d", t.P50, t.P99, t.Max, t.Count)
}

// timesOf sums up, nil for none.
func timesOf(all []time.Duration) *Times {
	if len(all) == 0 {
		return nil
	}
	all = slices.Sorted(slices.Values(all))
	at := func(share float64) float64 { return all[int(share*float64(len(all)-1)+0.5)].Seconds() }
	return &Times{Count: len(all), P50: at(0.5), P99: at(0.99), Max: at(1)}
}

// sendSteadily sends Rate jobs a second, all Jobs or else for as long as For. What was missed while Redis was away is
// sent when it is back, as a producer with a spool does.
func (r *run) sendSteadily(ctx context.Context) error {
	sent := 0
	for (r.Jobs > 0 && sent < r.Jobs || r.Jobs == 0 && time.Since(r.began) < r.For) && pause(ctx, tick) == nil {
		due := int(time.Since(r.began).Seconds() * float64(r.Rate))
		if r.Jobs > 0 {
			due = min(due, r.Jobs)
		}
		for sent < due {
			last := min(due, sent+batch)
			if r.enqueue(ctx, sent, last) != nil {
				return nil // ctx has ended
			}
			sent = last
		}
	}
	return nil
}

// roll restarts one worker after the other, as a deployment does.
func (r *run) roll(ctx context.Context) error {
	for i := 0; pause(ctx, r.Rolling) == nil; i++ {
		if time.Since(r.began) > r.For {
			return nil
		}
		w := r.workers[i%len(r.workers)]
		if !w.running() {
			return fmt.Errorf("a worker ended by itself:\n%s", w.tail())
		}
		from := time.Now()
		if err := w.stop(stopMost); err != nil {
			return err
		}
		r.drains = append(r.drains, time.Since(from))
		w, err := r.worker()
		if err != nil {
			return err
		}
		r.workers[i%len(r.workers)] = w
	}
	return nil
}

// judge adds the times of a run to its result, and what was not reached.
func (r *run) judge(ctx context.Context, result *Result) error {
	miss := func(format string, args ...any) { result.Missed = append(result.Missed, fmt.Sprintf(format, args...)) }
	result.Drain = timesOf(r.drains)
	if r.Rate > 0 {
		result.Delay = timesOf(r.ledger.delays())
	}
	if r.Rolling > 0 {
		if result.Duplicated > 0 {
			miss("%d mails came twice over %d restarts, want none", result.Duplicated, result.Restarts)
		}
		if d := result.Delay; d == nil || r.Judge && d.P99 > delayMost.Seconds() {
			miss("the delay of mails is %v, want a p99 below %v", d, delayMost)
		}
	}
	if r.Quiet {
		result.TakeOver = timesOf(r.ledger.takeOvers())
		if r.Judge && (result.TakeOver == nil || result.TakeOver.P99 > takeMost.Seconds()) {
			miss("the jobs of a killed worker come after %v, want a p99 below %v", result.TakeOver, takeMost)
		}
	}
	if r.Outages {
		first, err := r.firstJobs(ctx)
		if err != nil {
			return err
		}
		if result.FirstJob = timesOf(first); result.FirstJob == nil || r.Judge && result.FirstJob.Max > firstMost.Seconds() {
			miss("the first mail after redis-server is back comes after %v, want below %v", result.FirstJob, firstMost)
		}
	}
	if r.Soak {
		result.Soak = soakOf(r.samples, r.For)
		result.Missed = append(result.Missed, result.Soak.missed()...)
	}
	return nil
}

// delays are from the sending of each job to its first mail.
func (l *ledger) delays() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	for job, list := range l.arrivals {
		if job < len(l.sent) {
			all = append(all, list[0].at.Sub(l.sent[job]))
		}
	}
	return all
}

// firstJobs returns for each time that redis-server came back how long it took
// to the first mail whose attempt began after that: a mail that was under way
// when Redis died says nothing about the return. If none came in all the time that
// is looked at, although jobs were still sent, it took that long at least.
func (r *run) firstJobs(ctx context.Context) ([]time.Duration, error) {
	var all []time.Duration
	for _, back := range r.back {
		found := false
		for _, a := range r.ledger.after(back) {
			s, err := r.queue.Show(ctx, idOf(a.job))
			if errors.Is(err, queue.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(s.Attempts, func(t queue.Attempt) bool { return !t.At.Before(back) && t.At.Before(a.at) }) {
				all, found = append(all, a.at.Sub(back)), true
				break
			}
		}
		if !found && back.Add(firstSpan).Before(r.began.Add(r.For)) {
			all = append(all, firstSpan)
		}
	}
	return all, nil
}

// arrivalOf is one mail of a job.
type arrivalOf struct {
	job int
	at  time.Time
}

// after returns the mails of the few seconds after t, in order.
func (l *ledger) after(t time.Time) []arrivalOf {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []arrivalOf
	for job, list := range l.arrivals {
		for _, a := range list {
			if a.at.After(t) && a.at.Sub(t) < firstSpan {
				found = append(found, arrivalOf{job, a.at})
			}
		}
	}
	slices.SortFunc(found, func(a, b arrivalOf) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(idOf(a.job), idOf(b.job)))
	})
	return found
}
