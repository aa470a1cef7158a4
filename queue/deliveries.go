package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The log keeps attempts by the minute in which their job came into being (0002),
// so those of a time are found by going back through the minutes of the jobs.
const (
	deliveryScan    = 500          // records in one read
	deliveryMost    = 50_000       // records that one call looks at
	deliveryMinutes = 1440         // minutes that are asked for at once
	deliveryAge     = 7 * 24 * 60  // minutes: how much older than its attempt a job may be to be found
	deliveryCall    = 90 * 24 * 60 // minutes that one call goes through
	deliveryAhead   = 2            // minutes by which Redis may be ahead of us
	deliveryUsual   = 100          // in an answer
)

// Delivery is one attempt in the log, or an end without one.
type Delivery struct {
	Job     string `json:"job"` // its ref
	Kind    string `json:"kind"`
	Attempt        // its Number is 0 if nothing was tried: expired, cancelled
}

// DeliveryFilter says which attempts [Client.Deliveries] returns. All that is
// given must hold.
type DeliveryFilter struct {
	Job     string // any id of one job; then all other bounds are of its attempts
	Secret  string // id
	Kind    string // of the action
	Lane    string // the destination, as Work.Lane names it
	Outcome State  // where the job went
	Reason  string // such as "transient"
	// Certainty is what is known of the other side: accepted, rejected or unknown.
	Certainty Certainty
	From      time.Time // began at this time or later; zero: as long ago as the log is kept
	To        time.Time // began before this; zero: now
	Limit     int       // 1 to MaxBatch; 0 means 100
	Cursor    string    // "" at first, then what the last call returned
}

// Deliveries is one page of the log.
type Deliveries struct {
	Deliveries []Delivery `json:"deliveries"`
	Cursor     string     `json:"cursor"`            // "" at the end
	Retention  float64    `json:"retention_seconds"` // how long an attempt is kept after the last one of its minute
	// Dropped is before which enqueue jobs have lost their records because there
	// were more than PoolConfig.LogMax; absent: none has.
	Dropped *time.Time `json:"dropped_before,omitempty"`
}

// Deliveries returns attempts, those of the youngest jobs first and within a page
// the newest first. A page may be short, or empty, and still have a cursor: a
// call looks at a bounded number of records. Jobs that are more than a week older
// than From and the retention are not gone through: name such a job. ErrCursor,
// ErrNotFound for a job that is not known.
func (c *Client) Deliveries(ctx context.Context, f DeliveryFilter) (Deliveries, error) {
	if f.Limit <= 0 {
		f.Limit = deliveryUsual
	}
	f.Limit = min(f.Limit, MaxBatch)
	out := Deliveries{Deliveries: []Delivery{}, Retention: max(c.opts.LogRetention, 0).Seconds()}
	var err error
	if f.Job != "" {
		out.Deliveries, err = c.deliveriesOf(ctx, &f)
	} else {
		w := &logWalk{client: c, filter: &f, left: deliveryMost}
		if err = w.start(f.Cursor); err == nil {
			err = w.run(ctx)
		}
		out.Deliveries, out.Cursor = append(out.Deliveries, w.found...), w.cursor
	}
	if err != nil {
		return Deliveries{}, fmt.Errorf("read log: %w", err)
	}
	dropped, err := c.Dropped(ctx)
	if err != nil {
		return Deliveries{}, err
	}
	if !dropped.IsZero() {
		out.Dropped = &dropped
	}
	slices.SortStableFunc(out.Deliveries, func(a, b Delivery) int { return b.At.Compare(a.At) })
	return out, nil
}

// deliveriesOf are those of one job: the last of its attempts.
func (c *Client) deliveriesOf(ctx context.Context, f *DeliveryFilter) ([]Delivery, error) {
	at, err := c.resolve(ctx, f.Job)
	if err != nil {
		return nil, err
	}
	records, states, err := c.records(ctx, at)
	if err != nil {
		return nil, err
	}
	list := []Delivery{}
	for i := range records {
		if f.matches(states[i], &records[i]) {
			list = append(list, records[i].delivery(at, states[i]))
		}
	}
	return list, nil
}

func (r *record) delivery(at place, after State) Delivery {
	return Delivery{Job: at.ref(), Kind: r.Kind, Attempt: r.attempt(after)}
}

func (f *DeliveryFilter) matches(after State, r *record) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(f.Secret, r.Secret) && is(f.Kind, r.Kind) && is(f.Lane, r.Lane) && is(string(f.Certainty), r.Certainty) &&
		is(string(f.Outcome), string(after)) && is(f.Reason, r.Reason) &&
		(f.From.IsZero() || r.At >= f.From.UnixMilli()) && (f.To.IsZero() || r.At < f.To.UnixMilli())
}

// logWalk goes back through the minutes, partition after partition. Its cursor is
// "<newest>-<partition>-<minute>-<scan>-<skip>": newest is the minute of the first
// call, scan the place in the minute's hash, and skip how many of what is found
// there have been told.
type logWalk struct {
	client *Client
	filter *DeliveryFilter
	found  []Delivery
	left   int // records to look at
	cursor string

	newest, minute int64
	part           int
	scan           uint64
	skip           int
}

func (w *logWalk) start(cursor string) error {
	if cursor == "" {
		w.newest = time.Now().Unix()/60 + deliveryAhead
		if to := w.filter.To; !to.IsZero() {
			w.newest = min(w.newest, to.Unix()/60) // a job is not younger than its attempts
		}
		w.minute = w.newest
		return nil
	}
	parts := strings.Split(cursor, "-")
	const fields = 5
	if len(parts) != fields {
		return ErrCursor
	}
	var errs [fields]error
	var part, skip int64
	w.newest, errs[0] = strconv.ParseInt(parts[0], 10, 64)
	part, errs[1] = strconv.ParseInt(parts[1], 10, 32)
	w.minute, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	w.scan, errs[3] = strconv.ParseUint(parts[3], 10, 64)
	skip, errs[4] = strconv.ParseInt(parts[4], 10, 32)
	w.part, w.skip = int(part), int(skip)
	if errors.Join(errs[:]...) != nil || w.minute > w.newest || part < 0 || skip < 0 {
		return ErrCursor
	}
	return nil
}

// oldest is the first minute whose jobs are gone through.
func (w *logWalk) oldest() int64 {
	kept := time.Now().Add(-max(w.client.opts.LogRetention, 0))
	if w.filter.From.After(kept) {
		kept = w.filter.From
	}
	return max(kept.Unix()/60-deliveryAge, 0)
}

// run fills found until it holds enough, and leaves the cursor where it stopped.
func (w *logWalk) run(ctx context.Context) error {
	minutes := int64(deliveryCall)
	for ; w.part < len(w.client.all(ctx)); w.part, w.minute, w.scan, w.skip = w.part+1, w.newest, 0, 0 {
		for oldest := w.oldest(); w.minute >= oldest; {
			span := min(w.minute-oldest+1, deliveryMinutes)
			there, err := w.exist(ctx, span)
			if err != nil {
				return err
			}
			end := w.minute - span
			for _, minute := range there {
				if minute != w.minute {
					w.minute, w.scan, w.skip = minute, 0, 0
				}
				if full, err := w.read(ctx); err != nil || full {
					return err
				}
			}
			w.minute, w.scan, w.skip = end, 0, 0
			if minutes -= span; minutes <= 0 && w.minute >= oldest {
				w.stop()
				return nil
			}
		}
	}
	return nil
}

// exist returns which of the span minutes up to w.minute have a log, the newest first.
func (w *logWalk) exist(ctx context.Context, span int64) ([]int64, error) {
	k := w.client.all(ctx)[w.part]
	pipe := w.client.rdb.Pipeline()
	asked := make([]*redis.IntCmd, span)
	for i := range asked {
		asked[i] = pipe.Exists(ctx, k.log(w.minute-int64(i)))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	var there []int64
	for i, cmd := range asked {
		if cmd.Val() > 0 {
			there = append(there, w.minute-int64(i))
		}
	}
	return there, nil
}

// read goes on in the hash of w.minute. full means that the page is complete.
func (w *logWalk) read(ctx context.Context) (full bool, err error) {
	for {
		pairs, next, err := w.client.rdb.HScan(ctx, w.client.all(ctx)[w.part].log(w.minute), w.scan, "", deliveryScan).Result()
		if err != nil {
			return false, err
		}
		here := w.pick(pairs)
		room := w.filter.Limit - len(w.found)
		here = here[min(w.skip, len(here)):]
		if len(here) > room {
			w.found = append(w.found, here[:room]...)
			w.skip += room
			w.stop()
			return true, nil
		}
		w.found = append(w.found, here...)
		w.left -= len(pairs) / 2
		w.scan, w.skip = next, 0
		if next == 0 {
			w.minute--
		}
		if len(w.found) == w.filter.Limit || w.left <= 0 {
			w.stop()
			return true, nil
		}
		if next == 0 {
			w.minute++ // run goes on from the minutes that exist
			return false, nil
		}
	}
}

// pick returns what matches of field-value pairs, in an order that the same pairs
// always have.
func (w *logWalk) pick(pairs []string) []Delivery {
	var list []Delivery
	for i := 0; i+1 < len(pairs); i += 2 {
		jid, _, _ := strings.Cut(pairs[i], "/")
		if after, r, ok := parseRecord(pairs[i+1]); ok && w.filter.matches(after, &r) {
			list = append(list, r.delivery(place{w.part, jid}, after))
		}
	}
	slices.SortStableFunc(list, func(a, b Delivery) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(a.Job, b.Job)
	})
	return list
}

func (w *logWalk) stop() {
	w.cursor = fmt.Sprintf("%d-%d-%d-%d-%d", w.newest, w.part, w.minute, w.scan, w.skip)
}
