package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// A lane hands jobs back for as long as it seems to need for those in front of
// them. When it was wrong, because the server answers again or a stall is over,
// it would be idle until they come: it recalls them. What was handed back by
// another process comes at its time.
const (
	recallPage = 200                  // delayed jobs in one script call: a script blocks its Redis
	recallRest = 5 * time.Millisecond // between two calls: others want Redis too
	recallSoon = time.Second          // what comes within it is not recalled
	recallEach = 2 * time.Second      // between two recalls of a lane
	recallGain = 2                    // a lane that is not so many times as fast as they come waits for them
)

// away is what a lane has handed back since it last recalled.
type away struct {
	jobs         int
	since, until time.Time // when the first was handed back, and when the last will come
	recalled     time.Time
}

// add counts a job that is handed back now and comes at the time until.
func (a *away) add(now, until time.Time) {
	if a.jobs == 0 || now.After(a.until) {
		a.jobs, a.since, a.until = 0, now, until
	}
	a.jobs++
	if until.After(a.until) {
		a.until = until
	}
}

// dry returns the lanes that have nothing to do while jobs which they handed back
// come more slowly than they could be done. Their jobs are to be recalled.
func (ls *lanes) dry(now time.Time) []string {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var names []string
	for name, l := range ls.byName {
		if ls.draining || !l.well(now) || l.waits() > 0 || !l.free() || !l.early(now) {
			continue
		}
		l.away = away{recalled: now}
		l.clock = time.Time{} // what comes is paced anew
		names = append(names, name)
	}
	return names
}

// well reports whether the lane's destination answers and takes jobs.
func (l *lane) well(now time.Time) bool {
	return l.fine && !l.broken && !now.Before(l.hold) && l.name != suspectLane
}

// early reports whether the lane could do what it handed back before it comes.
func (l *lane) early(now time.Time) bool {
	a := &l.away
	if a.jobs == 0 || a.until.Sub(now) < recallSoon || now.Sub(a.recalled) < recallEach {
		return false
	}
	return l.rate() > recallGain*float64(a.jobs)/a.until.Sub(a.since).Seconds()
}

// recallRate is how many jobs a second a lane may be given, 0 when it is well no more.
func (ls *lanes) recallRate(name string, now time.Time) float64 {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byName[name]
	if l == nil || ls.draining || !l.well(now) {
		return 0
	}
	return l.rate()
}

// recall makes the delayed jobs ready that the lane handed back, about as fast
// as it does them. It looks at every delayed job once.
func (p *Pool) recall(ctx context.Context, lane string) {
	pass := newRecallPass(lane, p.partitions())
	for sum := int64(0); ; {
		rate := p.lanes.recallRate(lane, time.Now())
		if rate == 0 || ctx.Err() != nil {
			return
		}
		n, err := pass.next(ctx, p.rdb)
		if err != nil {
			p.trouble("recall", err)
			return // they come by themselves
		}
		if sum += n; len(pass.parts) == 0 {
			p.log.Debug("a lane recalled what it had handed back", "lane", lane, "jobs", sum)
			return
		}
		wait(ctx, max(recallRest, time.Duration(float64(n)/rate*float64(time.Second))))
	}
}

// recallPass looks at the delayed jobs of all partitions, a page at a time.
type recallPass struct {
	mark    string // in the meta of the lane's jobs
	parts   []*partition
	cursors []string
}

func newRecallPass(lane string, parts []*partition) *recallPass {
	name, err := json.Marshal(lane)
	if err != nil {
		panic("queue: " + err.Error()) // a string always marshals
	}
	return &recallPass{mark: `"w":` + string(name), parts: parts, cursors: slices.Repeat([]string{"0"}, len(parts))}
}

// next looks at a page of each partition, keeps those that have more, and
// returns how many jobs are ready now.
func (r *recallPass) next(ctx context.Context, rdb redis.UniversalClient) (moved int64, err error) {
	calls := make([]*call, len(r.parts))
	for i, part := range r.parts {
		calls[i] = &call{script: scriptRecall, keys: part.keys.with(), args: []any{r.mark, r.cursors[i], recallPage}}
	}
	runCalls(ctx, rdb, calls)
	var parts []*partition
	var cursors []string
	for i, c := range calls {
		reply, err := c.cmd.Slice()
		if err != nil {
			return moved, err
		}
		if len(reply) != 2 {
			return moved, errors.New("recall: answer of another form")
		}
		n, _ := reply[1].(int64)
		moved += n
		if cursor := fmt.Sprint(reply[0]); cursor != "0" {
			parts, cursors = append(parts, r.parts[i]), append(cursors, cursor)
		}
	}
	r.parts, r.cursors = parts, cursors
	return moved, nil
}
