package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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

// nameMost is how long a worker may take to read for the first time: it starts
// in a third of a second on two busy cores, and Redis may be away.
const nameMost = 5 * time.Second

// startNamed starts a worker and finds out under which name it reads. Workers
// start one after the other, so a name that was not there before is its. Without
// a name its death is not measured.
func (r *run) startNamed(ctx context.Context) (*process, error) {
	_ = await(nameMost, func() error { return r.nameLate(ctx) })
	w, err := r.worker()
	if err != nil {
		return nil, err
	}
	_ = await(nameMost, func() error { // a nameless worker is no failure
		fresh, err := r.newNames(ctx)
		if err == nil && len(fresh) == 0 {
			err = fmt.Errorf("no new reader")
		}
		if len(fresh) == 1 {
			w.name = fresh[0]
		}
		return err
	})
	return w, nil
}

// nameLate gives its name to the one worker that had not read in its time.
func (r *run) nameLate(ctx context.Context) error {
	fresh, err := r.newNames(ctx)
	if err != nil {
		return err
	}
	var nameless []*process
	for _, w := range r.workers {
		if w.name == "" {
			nameless = append(nameless, w)
		}
	}
	if len(fresh) == 1 && len(nameless) == 1 {
		nameless[0].name = fresh[0]
	}
	return nil
}

// newNames returns the names that were not seen before.
func (r *run) newNames(ctx context.Context) ([]string, error) {
	consumers, err := r.direct.XInfoConsumers(ctx, jobStream, workerGroup).Result()
	if err != nil && strings.Contains(err.Error(), "no such key") {
		return nil, nil // nobody has read yet
	}
	var fresh []string
	for _, c := range consumers {
		if !r.names[c.Name] {
			fresh = append(fresh, c.Name)
		}
		r.names[c.Name] = true
	}
	return fresh, err
}

// inherit notes the jobs that a worker left behind: nobody takes them over before
// their lease has run out, so there is time until Redis is back.
func (r *run) inherit(ctx context.Context, name string, h holding) {
	if name == "" {
		return
	}
	_ = await(lease/2, func() error { return r.claimsOf(ctx, name, h) }) // else it is not known
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
