package timetable

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

const (
	// period is the time between two looks, give or take jitter, so that many
	// processes do not look at the same moment.
	period = time.Second
	jitter = 100 * time.Millisecond

	// tickTimeout ends a look at a Redis that hangs. What it was doing is safe
	// to do again.
	tickTimeout = 30 * time.Second
)

// IDPrefix begins the ids of these jobs: at:<action>:<due time, Unix seconds>.
const IDPrefix = "at:"

// store is what keeps the actions and their cursors.
type store interface {
	Timed(ctx context.Context, seen int64) (timed []actions.Definition, state int64, err error)
	Cursors(ctx context.Context, ids ...string) (now time.Time, cursors []secrets.Cursor, err error)
	Advance(ctx context.Context, steps ...secrets.CursorStep) ([]bool, error)
}

// enqueuer takes jobs.
type enqueuer interface {
	Enqueue(ctx context.Context, jobs ...json.RawMessage) ([]queue.Receipt, error)
}

// Runner enqueues a job for each due time. Any number of them may run on one
// Redis.
type Runner struct {
	store store
	queue enqueuer
	kinds []string
	log   *slog.Logger
	count func(fired, skipped int)
	clock func(redis time.Time) time.Time // replaced in tests

	state   int64    // of the store, when entries were made
	entries []*entry // the active actions triggered by time
	seen    time.Time
	seenAt  time.Time // when the clock of Redis showed seen, by the clock here
	said    string    // the failure that was logged last
}

// entry is one action.
type entry struct {
	id, variable string
	version      int64
	plan         Plan
	next         time.Time // nothing is due before it; zero: never
}

// Config says what a runner works on. All fields are needed.
type Config struct {
	Actions *actions.Store
	Jobs    *queue.Client
	Kinds   []string // of actions that somebody here does; others are only kept for clients
	Log     *slog.Logger
	// Count is told of due times that got their job, and of those that were
	// skipped because they were missed, each by one process only.
	Count func(fired, skipped int)
}

// New returns a runner. It does no I/O.
func New(c Config) *Runner {
	return &Runner{store: c.Actions, queue: c.Jobs, kinds: c.Kinds, log: c.Log, count: c.Count,
		clock: func(redis time.Time) time.Time { return redis }}
}

// Run looks once a second until ctx ends. Failures are logged and it goes on.
func (r *Runner) Run(ctx context.Context) {
	for {
		looking, cancel := context.WithTimeout(ctx, tickTimeout)
		err := r.tick(looking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		r.tell(err)
		timer := time.NewTimer(period - jitter + rand.N(2*jitter))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// tell logs a failure when it begins, and its end.
func (r *Runner) tell(err error) {
	said := ""
	if err != nil {
		said = err.Error()
	}
	switch {
	case said == r.said:
	case err != nil:
		r.log.Warn("triggers by time are late", slog.Any("err", err))
	default:
		r.log.Info("triggers by time go on")
	}
	r.said = said
}

// tick does what is owed now.
func (r *Runner) tick(ctx context.Context) error {
	if err := r.reload(ctx); err != nil {
		return fmt.Errorf("read actions: %w", err)
	}
	if len(r.entries) == 0 {
		return nil
	}
	near := r.near()
	ids := make([]string, len(near))
	for i, e := range near {
		ids[i] = e.id
	}
	now, cursors, err := r.store.Cursors(ctx, ids...)
	if err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	now = r.clock(now)
	r.seen, r.seenAt = now, time.Now()
	var batch []firing
	jobs := 0
	for i, e := range near {
		cursor := cursors[i]
		if cursor.Base.After(e.plan.anchor) {
			continue // edited since it was read; the next look has the new triggers
		}
		if cursor.Base.Before(e.plan.anchor) {
			cursor = secrets.Cursor{} // of triggers before these
		}
		o := e.plan.owed(cursor.At, now)
		if o.upTo.IsZero() {
			e.next = e.plan.Next(cursor.At)
			continue
		}
		if len(batch) == queue.MaxBatch || jobs+len(o.fire) > queue.MaxBatch {
			if err := r.fire(ctx, now, batch); err != nil {
				return err
			}
			batch, jobs = nil, 0
		}
		batch = append(batch, firing{entry: e, owed: o})
		jobs += len(o.fire)
	}
	return r.fire(ctx, now, batch)
}

// reload makes the entries anew if an action changed.
func (r *Runner) reload(ctx context.Context) error {
	timed, state, err := r.store.Timed(ctx, r.state)
	if err != nil || timed == nil {
		return err
	}
	known := make(map[string]*entry, len(r.entries))
	for _, e := range r.entries {
		known[e.id] = e
	}
	entries := make([]*entry, 0, len(timed))
	for _, d := range timed {
		e := known[d.ID]
		if e == nil || e.version != d.Version {
			e = r.entry(d)
		}
		entries = append(entries, e)
	}
	r.entries, r.state = entries, state
	return nil
}

// entry makes the entry of an action. One that can never be triggered has no next
// time, and is told of once in each version.
func (r *Runner) entry(d actions.Definition) *entry {
	e := &entry{id: d.ID, variable: d.Type, version: d.Version}
	if !slices.Contains(r.kinds, d.Kind) {
		r.log.Warn("an action is not triggered by time: its type is only kept for clients", slog.String("action", d.ID), slog.String("kind", d.Kind))
		return e
	}
	plan, err := NewPlan(d)
	if err != nil { // stored by a release that checked less
		r.log.Warn("an action is not triggered by time; store its triggers again", slog.Any("err", err))
		return e
	}
	// Its cursor is not known yet and is read when this time has come.
	e.plan, e.next = plan, plan.Next(d.Anchor)
	return e
}

// near returns the entries of which something may be due by the clock of Redis,
// which is not known better than a second here. An entry that a jump of that
// clock makes due is found at the next look.
func (r *Runner) near() []*entry {
	until := r.seen.Add(time.Since(r.seenAt) + time.Second)
	var near []*entry
	for _, e := range r.entries {
		if !e.next.IsZero() && (r.seen.IsZero() || !e.next.After(until)) {
			near = append(near, e)
		}
	}
	return near
}

// firing is an entry with what is owed to it.
type firing struct {
	*entry
	owed
}

// accepted is the last due time up to which all jobs were accepted, zero if the
// first was not.
func (f firing) accepted(receipts []queue.Receipt) time.Time {
	var last time.Time
	for i, receipt := range receipts {
		if receipt.ID == "" {
			break
		}
		last = f.fire[i]
	}
	return last
}

// fire enqueues the jobs, at most queue.MaxBatch, and then moves the cursors. A
// crash or failure in between repeats ids that the queue knows. A cursor passes
// no due time whose job was not accepted.
func (r *Runner) fire(ctx context.Context, now time.Time, batch []firing) error {
	if len(batch) == 0 {
		return nil
	}
	var jobs []json.RawMessage
	for _, f := range batch {
		for _, due := range f.fire {
			jobs = append(jobs, f.job(due))
		}
	}
	crashpoint.Point("fire-before")
	receipts, failure := r.queue.Enqueue(ctx, jobs...)
	crashpoint.Point("fire-after")
	if len(receipts) != len(jobs) {
		return fmt.Errorf("enqueue due times: %w", failure)
	}
	fired := 0
	for _, receipt := range receipts {
		if receipt.ID != "" && !receipt.Duplicate {
			fired++
		}
	}
	var steps []secrets.CursorStep
	var stepped []firing
	for _, f := range batch {
		step := secrets.CursorStep{Field: f.id, To: secrets.Cursor{Base: f.plan.anchor, At: f.upTo}}
		if n := len(f.fire); n > 0 {
			step.To.At, step.Run = f.accepted(receipts[:n]), now
			receipts = receipts[n:]
		}
		if !step.To.At.IsZero() {
			steps, stepped = append(steps, step), append(stepped, f)
		}
	}
	err := r.advance(ctx, steps, stepped, fired)
	if failure != nil {
		return fmt.Errorf("enqueue due times: %w", failure)
	}
	return err
}

// advance moves the cursors and counts. The process that moved a cursor counts
// what was skipped; the queue says whose job was the first.
func (r *Runner) advance(ctx context.Context, steps []secrets.CursorStep, stepped []firing, fired int) error {
	skipped := 0
	moved, err := r.store.Advance(ctx, steps...)
	crashpoint.Point("cursor-after")
	if err == nil {
		for i, f := range stepped {
			f.next = f.plan.Next(steps[i].To.At)
			if moved[i] {
				skipped += f.skipped
			}
		}
	}
	if fired+skipped > 0 {
		r.count(fired, skipped)
	}
	if skipped > 0 {
		r.log.Warn("due times were missed and are skipped", slog.Int("skipped", skipped))
	}
	return err
}

// job is the job of a due time. Its id is the same in every process.
func (e *entry) job(due time.Time) json.RawMessage {
	at := due.UTC().Format(time.RFC3339)
	type datum struct {
		Variable string `json:"variable"`
		Value    string `json:"value"`
		Time     string `json:"time"`
	}
	raw, _ := json.Marshal(struct { // texts always encode
		ID       string  `json:"id"`
		ActionID string  `json:"action_id"`
		Data     []datum `json:"data"`
	}{IDPrefix + e.id + ":" + strconv.FormatInt(due.Unix(), 10), e.id, []datum{{e.variable, at, at}}})
	return raw
}
