package timetable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
)

// errCrash ends a runner in a simulation.
var errCrash = errors.New("crash")

// fragile is the store or queue of a process that may die at each write, before
// or after it: chance of a hundred.
type fragile struct {
	store
	enqueuer
	chance int
	random *rand.Rand
	died   int
}

func (f *fragile) dies() bool {
	dies := f.random.IntN(100) < f.chance
	if dies {
		f.died++
	}
	return dies
}

func (f *fragile) Enqueue(ctx context.Context, jobs ...json.RawMessage) ([]queue.Receipt, error) {
	if f.dies() {
		return nil, errCrash
	}
	receipts, err := f.enqueuer.Enqueue(ctx, jobs...)
	if f.dies() {
		return nil, errCrash
	}
	return receipts, err
}

func (f *fragile) Advance(ctx context.Context, steps ...secrets.CursorStep) ([]bool, error) {
	if f.dies() {
		return nil, errCrash
	}
	moved, err := f.store.Advance(ctx, steps...)
	if f.dies() {
		return nil, errCrash
	}
	return moved, err
}

// fragileRunner is a process that dies now and then.
func (w *world) fragileRunner(t testing.TB, f *fragile, clock func() time.Time) *Runner {
	t.Helper()
	r := w.runner(t, queue.ClientOptions{})
	f.store, f.enqueuer = r.store, r.queue
	r.store, r.queue = f, f
	if clock != nil {
		r.clock = func(time.Time) time.Time { return clock() }
	}
	return r
}

// race is some processes that look at the same moment, on one Redis.
type race struct {
	*world
	t        *testing.T
	random   *rand.Rand
	now      time.Time
	fragiles []*fragile
	runners  []*Runner
	died     int
}

func newRace(t *testing.T, w *world, seed uint64, processes int) *race {
	t.Helper()
	r := &race{world: w, t: t, random: rand.New(rand.NewPCG(seed, 0)),
		fragiles: make([]*fragile, processes), runners: make([]*Runner, processes)}
	for i := range processes {
		r.born(i)
	}
	return r
}

func (r *race) born(i int) {
	r.fragiles[i] = &fragile{chance: 10, random: rand.New(rand.NewPCG(r.random.Uint64(), 1))}
	r.runners[i] = r.fragileRunner(r.t, r.fragiles[i], func() time.Time { return r.now })
}

// look lets all look and reports whether one came through; the dead are born again.
func (r *race) look() (through bool) {
	r.t.Helper()
	var wg sync.WaitGroup
	failures := make([]error, len(r.runners))
	for i, runner := range r.runners {
		wg.Go(func() { failures[i] = runner.tick(r.t.Context()) })
	}
	wg.Wait()
	for i, err := range failures {
		switch {
		case errors.Is(err, errCrash):
			r.died++
			r.born(i)
		case err != nil:
			r.t.Fatal(err)
		default:
			through = true
		}
	}
	return through
}

// Many processes look at the same moment, on a real Redis, and die between any
// two steps. While the clock goes by at most 5 s between looks that come through,
// each due time gets its job, and one only.
func TestRacingCrashingRunnersFireEachDueTimeOnce(t *testing.T) {
	w := newWorld(t, first(queuetest.Redis(t)), queuetest.Prefix())
	defs := []actions.Definition{
		w.create(t, "interval", `{"interval":"1 second"}`),
		w.create(t, "interval", `{"interval":"7 seconds"}`),
		w.create(t, "schedule", `{"cron":"*/5 * * * * *"},{"cron":"0 * * * *","timezone":"Asia/Kathmandu"}`),
		w.create(t, "schedule", `{"cron":"30 * * * * *","timezone":"Europe/Berlin"}`),
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := newRace(t, w, seed, 4)
	r.now = defs[len(defs)-1].Anchor.Truncate(time.Second)
	start := r.now
	for range 150 {
		r.now = r.now.Add(time.Duration(r.random.Int64N(5_000)) * time.Millisecond)
		for !r.look() {
		}
	}
	for _, f := range r.fragiles {
		f.chance = 0
	}
	r.look()

	got := map[string]int{}
	for _, id := range w.jobs(t) {
		got[id]++
	}
	want := 0
	for _, d := range defs {
		p, err := NewPlan(d)
		if err != nil {
			t.Fatal(err)
		}
		for due := p.Next(start.Add(-time.Minute)); !due.After(r.now); due = p.Next(due) {
			want++
			if n := got[idOf(d.ID, due)]; n != 1 {
				t.Errorf("%d jobs for %s of %s, want 1", n, due, d.Trigger)
			}
		}
	}
	if len(got) != want {
		t.Errorf("jobs for %d due times, want %d: some are for times that are not due", len(got), want)
	}
	if r.died < 20 || want < 300 {
		t.Errorf("%d crashes and %d due times: too few to show anything", r.died, want)
	}
}

// years is a simulation on a Redis whose clock the test sets: jumps back and
// forth, months in which nothing runs, crashes. The queue is the real one, so
// that an id older than a day is a new job.
type years struct {
	*world
	t      *testing.T
	mini   *miniredis.Miniredis
	random *rand.Rand
	now    time.Time

	furthest time.Time // that the clock ever was
	defs     []actions.Definition
	plans    map[string]Plan
	runners  []*Runner
	fragile  []*fragile
	seen     map[string]int
	died     int
}

func newYears(t *testing.T, seed uint64) *years {
	mini := miniredis.RunT(t)
	rdb := redis.NewClient(queuetest.Options(mini.Addr()))
	t.Cleanup(func() { _ = rdb.Close() })
	y := &years{world: newWorld(t, rdb, queuetest.Prefix()), t: t, mini: mini, random: rand.New(rand.NewPCG(seed, 0)),
		plans: map[string]Plan{}, seen: map[string]int{}}
	for _, trigger := range []string{`{"cron":"0 3 * * *","timezone":"America/New_York"}`, `{"cron":"30 2 * * *","timezone":"Europe/Berlin"}`,
		`{"cron":"45 1 * * 7","timezone":"Australia/Lord_Howe"}`, `{"cron":"0 0 29 2 *"}`, `{"cron":"0 12 1 * *","timezone":"Asia/Kathmandu"}`} {
		y.defs = append(y.defs, y.create(t, "schedule", trigger))
	}
	for _, trigger := range []string{`{"interval":"5 hours"}`, `{"interval":"1 month"}`, `{"interval":"1 quarter"}`, `{"interval":"2 years"}`} {
		y.defs = append(y.defs, y.create(t, "interval", trigger))
	}
	for _, d := range y.defs {
		p, err := NewPlan(d)
		if err != nil {
			t.Fatal(err)
		}
		y.plans[d.ID] = p
	}
	y.setClock(y.defs[len(y.defs)-1].Anchor.Add(time.Second))
	for range 3 {
		y.runners, y.fragile = append(y.runners, nil), append(y.fragile, nil)
		y.born(len(y.runners) - 1)
	}
	return y
}

func (y *years) born(i int) {
	y.fragile[i] = &fragile{chance: 8, random: y.random}
	y.runners[i] = y.fragileRunner(y.t, y.fragile[i], nil)
}

func (y *years) setClock(to time.Time) {
	// Keys of Redis expire at a time of its clock; those of miniredis have so long
	// to live, and hours that come a second time must not age them.
	if to.After(y.furthest) {
		if !y.furthest.IsZero() {
			y.mini.FastForward(to.Sub(y.furthest))
		}
		y.furthest = to
	}
	y.now = to
	y.mini.SetTime(to)
}

// next is the earliest time at which anything is due.
func (y *years) next() time.Time {
	var next time.Time
	for _, p := range y.plans {
		if due := p.Next(y.now); next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}

// look lets one process look and compares what it did with the rules.
func (y *years) look(i int) {
	y.t.Helper()
	cursors := y.cursors()
	var want []string // what has to be fired at the latest now
	for k, d := range y.defs {
		for _, due := range y.plans[d.ID].owed(cursors[k].At, y.now).fire {
			want = append(want, idOf(d.ID, due))
		}
	}
	// A jump of the clock since the last look is seen by the second one.
	err := y.runners[i].tick(y.t.Context())
	if err == nil {
		err = y.runners[i].tick(y.t.Context())
	}
	for _, id := range y.newJobs() {
		if y.seen[id]++; y.seen[id] > 1 {
			y.t.Fatalf("at %v a second job %s", y.now, id)
		}
		if !slices.Contains(want, id) {
			y.t.Fatalf("at %v a job %s, owed are %v", y.now, id, want)
		}
	}
	if errors.Is(err, errCrash) {
		y.died++
		y.born(i)
		return
	}
	if err != nil {
		y.t.Fatal(err)
	}
	for _, id := range want {
		if y.seen[id] == 0 {
			y.t.Fatalf("at %v no job %s", y.now, id)
		}
	}
	for k, cursor := range y.cursors() {
		if o := y.plans[y.defs[k].ID].owed(cursor.At, y.now); !o.upTo.IsZero() {
			y.t.Fatalf("at %v %s is still owed %+v", y.now, y.defs[k].Trigger, o)
		}
		if cursor.At.Before(cursors[k].At) {
			y.t.Fatalf("at %v a cursor went back from %v to %v", y.now, cursors[k].At, cursor.At)
		}
	}
}

func (y *years) cursors() []secrets.Cursor {
	ids := make([]string, len(y.defs))
	for i, d := range y.defs {
		ids[i] = d.ID
	}
	_, cursors, err := y.actions.Cursors(y.t.Context(), ids...)
	if err != nil {
		y.t.Fatal(err)
	}
	return cursors
}

// newJobs are the ids of the jobs since it was called last. They leave the
// stream, as done jobs do.
func (y *years) newJobs() []string {
	ids := y.jobs(y.t)
	y.rdb.XTrimMaxLen(y.t.Context(), queue.StreamKey(y.prefix, 0), 0)
	return ids
}

func TestYearsWithCrashesAndClockJumps(t *testing.T) {
	for _, jumps := range []bool{false, true} {
		t.Run(fmt.Sprintf("clock set back and forth %v", jumps), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			y := newYears(t, seed)
			begin := y.now
			for range 1000 {
				switch n := y.random.IntN(100); {
				case n < 70: // the next thing that is due, a little late
					y.setClock(y.next().Add(time.Duration(y.random.IntN(3_000)) * time.Millisecond))
				case n < 90:
					y.setClock(y.now.Add(time.Duration(y.random.IntN(7_200)) * time.Second))
				case n < 98: // nothing runs for a while
					y.setClock(y.now.Add(time.Duration(y.random.IntN(72)) * time.Hour))
				case !jumps:
					y.setClock(y.now.Add(time.Duration(y.random.IntN(40*24)) * time.Hour))
				default:
					y.setClock(y.now.Add(-time.Duration(y.random.IntN(5*24*3600)) * time.Second))
				}
				y.look(y.random.IntN(len(y.runners)))
			}
			fired, skipped := y.counted()
			t.Logf("%v simulated, %d jobs, %d skipped, %d crashes", y.now.Sub(begin), len(y.seen), skipped, y.died)
			if len(y.seen) < 300 || skipped == 0 || y.died < 50 || fired > len(y.seen) || fired == 0 {
				t.Errorf("%d jobs, counted %d, %d skipped, %d crashes: too few to show anything, or counted twice", len(y.seen), fired, skipped, y.died)
			}
		})
	}
}

// timetableOf is a store of many actions whose times have been seen once.
func timetableOf(b *testing.B, n int) *Runner {
	b.Helper()
	rdb, prefix := queuetest.Redis(b)
	w := newWorld(b, rdb, prefix)
	r := w.runner(b, queue.ClientOptions{})
	r.store = crowd{r.store, n}
	if err := r.tick(b.Context()); err != nil {
		b.Fatal(err)
	}
	return r
}

// crowd is a store with many more actions than it has.
type crowd struct {
	store
	n int
}

func (c crowd) Timed(ctx context.Context, seen int64) ([]actions.Definition, int64, error) {
	if _, state, err := c.store.Timed(ctx, seen); err != nil || state == seen {
		return nil, state, err
	}
	var list []actions.Definition
	for i := range c.n {
		list = append(list, actions.Definition{ID: fmt.Sprintf("%024x", i), Type: actions.TypeSchedule, Kind: "sms", Version: 1, Anchor: time.Now(),
			Trigger: []json.RawMessage{fmt.Appendf(nil, `{"cron":"%d %d %d * *","timezone":"Europe/Berlin"}`, i%60, i%24, 1+i%28)}})
	}
	_, state, err := c.store.Timed(ctx, seen)
	return list, state, err
}

// A look at 10,000 schedules, of which few are due.
func BenchmarkTick(b *testing.B) {
	r := timetableOf(b, 10_000)
	for b.Loop() {
		if err := r.tick(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
