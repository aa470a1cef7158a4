// Package timetable enqueues a job for each due time of the stored actions that
// are triggered by interval or schedule.
//
// Every worker process runs a [Runner]; they need no leader. A due time has one
// job over all of them, because the job's id is made of it; a cursor in Redis
// remembers how far each action is, also over restarts. A [Plan] is the pure
// part: which times are due.
package timetable

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

const (
	// lateness is how late a due time may be and still be fired beside newer
	// ones. Ours: a failover of Redis takes some seconds, and an action of each
	// second shall not leave any out because of it.
	lateness = 10 * time.Second

	// maxCatchUp is how old a missed time may be to be made up for: a day, in
	// which its job's id is known, less the time that one look may take and some.
	maxCatchUp = queue.DedupWindow - time.Minute

	// maxMissed bounds how many missed times of one action are counted: a week of
	// minutes.
	maxMissed = 10_000
)

// Plan says when the triggers of one action are due. Times that two of its
// triggers name are due once.
type Plan struct {
	anchor time.Time
	rules  []func(after time.Time) time.Time
}

// NewPlan reads the triggers of an action. Its error names the trigger and holds
// no value.
func NewPlan(d actions.Definition) (Plan, error) {
	p := Plan{anchor: d.Anchor}
	for i, raw := range d.Trigger {
		var t struct{ Interval, Cron, Timezone string }
		if err := json.Unmarshal(raw, &t); err != nil {
			return Plan{}, fmt.Errorf("read trigger[%d] of action %s", i, d.ID) // err would quote it
		}
		rule, err := ruleOf(d, t.Interval, t.Cron, t.Timezone)
		if err != nil {
			return Plan{}, fmt.Errorf("read trigger[%d] of action %s: %w", i, d.ID, err)
		}
		p.rules = append(p.rules, rule)
	}
	return p, nil
}

func ruleOf(d actions.Definition, interval, expression, zone string) (func(time.Time) time.Time, error) {
	if d.Type == actions.TypeInterval {
		v, err := actions.ParseInterval(interval)
		return func(after time.Time) time.Time { return v.Next(d.Anchor, after) }, err
	}
	c, err := actions.ParseCron(expression, zone)
	return c.Next, err
}

// Next returns the first due time after a time, in whole seconds; zero if there
// is none. Nothing is due up to the anchor.
func (p Plan) Next(after time.Time) time.Time {
	if after.Before(p.anchor) {
		after = p.anchor
	}
	var next time.Time
	for _, rule := range p.rules {
		if due := rule(after); !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	return next
}

// Latest returns the last due time after a time and not after now, zero if there
// is none, and how many there are before it, counted up to 10,000.
func (p Plan) Latest(after, now time.Time) (latest time.Time, missed int) {
	for due := p.Next(after); !due.IsZero() && !due.After(now); due = p.Next(due) {
		if !latest.IsZero() {
			if missed++; missed == maxMissed {
				return p.seek(due, now), missed
			}
		}
		latest = due
	}
	return latest, missed
}

// seek finds the last due time up to now by halving, where low is one of them.
func (p Plan) seek(low, now time.Time) time.Time {
	high := now // nothing is due after high and up to now
	for high.Sub(low) >= time.Second {
		middle := low.Add(high.Sub(low) / 2).Truncate(time.Second)
		if due := p.Next(middle); !due.IsZero() && !due.After(now) {
			low = due
		} else {
			high = middle
		}
	}
	return low
}

// owed is what has to be done for one action.
type owed struct {
	fire    []time.Time // a job for each, in order
	upTo    time.Time   // where the cursor belongs then; zero: nothing was due
	skipped int         // due times without a job
}

// owed says what to do about the due times after the cursor up to now. Each of
// the last 10 seconds is fired. If there is none, the process or Redis was away or
// the action is a rare one: then the latest is fired if it is younger than a
// day. All others are skipped.
func (p Plan) owed(cursor, now time.Time) owed {
	first := p.Next(cursor)
	if first.IsZero() || first.After(now) {
		return owed{}
	}
	recent := now.Add(-lateness)
	var o owed
	missed, before := p.Latest(cursor, recent.Add(-time.Nanosecond))
	if !missed.IsZero() {
		o.skipped = before + 1
		o.upTo, cursor = missed, missed
	}
	for due := p.Next(cursor); !due.IsZero() && !due.After(now); due = p.Next(due) {
		o.fire, o.upTo = append(o.fire, due), due
	}
	if len(o.fire) == 0 && now.Sub(missed) < maxCatchUp {
		o.fire, o.skipped = []time.Time{missed}, before
	}
	return o
}
