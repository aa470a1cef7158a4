package drill

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Where jobs and claims are, of the public contract (queue/DESIGN.md).
const (
	jobStream   = "sealpost:{q0}:jobs"
	workerGroup = "w"
)

// heldMost bounds how many claims of a dead worker are looked at; a worker holds
// 256.
const heldMost = 1000

// holding is what a worker held when it was killed.
type holding struct {
	at, to time.Time // from before the signal until it was gone
	jobs   []int
}

// inherit notes the jobs that a killed worker left behind: nobody takes them over
// before their lease has run out, so there is time until Redis is back.
func (r *run) inherit(ctx context.Context, w *process, h holding) {
	_ = await(lease/2, func() error { // else it is not known
		consumers, err := r.direct.XInfoConsumers(ctx, jobStream, workerGroup).Result()
		if err != nil {
			return err
		}
		of := "-" + strconv.Itoa(w.cmd.Process.Pid) + "-" // workers are named after host and process
		for _, c := range consumers {
			if strings.Contains(c.Name, of) && c.Pending > 0 {
				return r.claimsOf(ctx, c.Name, h)
			}
		}
		return nil
	})
}

func (r *run) claimsOf(ctx context.Context, name string, h holding) error {
	claims, err := r.direct.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: jobStream, Group: workerGroup, Start: "-", End: "+", Count: heldMost, Consumer: name}).Result()
	if err != nil || len(claims) == 0 {
		return err
	}
	pipe := r.direct.Pipeline()
	var found []*redis.XMessageSliceCmd
	for _, c := range claims {
		found = append(found, pipe.XRange(ctx, jobStream, c.ID, c.ID))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for _, f := range found {
		for _, m := range f.Val() {
			var job struct {
				ID string `json:"id"`
			}
			text, _ := m.Values["job"].(string)
			if json.Unmarshal([]byte(text), &job) != nil {
				continue
			}
			if n, ok := numberOf(job.ID); ok {
				h.jobs = append(h.jobs, n)
			}
		}
	}
	r.ledger.held(h)
	return nil
}

func (l *ledger) held(h holding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holdings = append(l.holdings, h)
}

// takeOvers returns for each job that a killed worker held how long it took to its
// next mail. If the next worker was killed over it too, only the last counts.
func (l *ledger) takeOvers() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	next := map[int]time.Time{} // when the job was held again
	for _, h := range slices.Backward(l.holdings) {
		for _, job := range h.jobs {
			until, again := next[job]
			next[job] = h.at
			if at, ok := l.firstAfter(job, h.at); ok && (!again || at.Before(until)) {
				all = append(all, at.Sub(h.at))
			}
		}
	}
	return all
}

// firstAfter is the first mail of a job after t. l.mu is held.
func (l *ledger) firstAfter(job int, t time.Time) (first time.Time, ok bool) {
	for _, a := range l.arrivals[job] {
		if a.at.After(t) && (!ok || a.at.Before(first)) {
			first, ok = a.at, true
		}
	}
	return first, ok
}
