package timetable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

// world is a Redis with actions and a queue.
type world struct {
	rdb     redis.UniversalClient
	prefix  string
	keyring *secrets.Keyring
	actions *actions.Store // of who edits

	mu             sync.Mutex
	fired, skipped int // as the runners count
}

func newWorld(t testing.TB, rdb redis.UniversalClient, prefix string) *world {
	t.Helper()
	w := &world{rdb: rdb, prefix: prefix, keyring: secretstest.NewKeyring(t, rdb, prefix)}
	w.actions = w.store(t)
	return w
}

// store is the store of actions of one more process.
func (w *world) store(t testing.TB) *actions.Store {
	t.Helper()
	s := secrets.NewStore(w.rdb, w.keyring, secrets.Options{})
	t.Cleanup(s.Close)
	return actions.NewStore(w.rdb, w.keyring, s, actions.NewCatalog())
}

// runner is one more process. It does not run by itself.
func (w *world) runner(t testing.TB, options queue.ClientOptions) *Runner {
	t.Helper()
	options.Prefix = w.prefix
	return New(Config{Actions: w.store(t), Jobs: queue.NewClient(w.rdb, options), Kinds: []string{"sms"},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Count: w.count})
}

func (w *world) count(fired, skipped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fired += fired
	w.skipped += skipped
}

// counted returns the counts since it was asked last.
func (w *world) counted() (fired, skipped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fired, skipped = w.fired, w.skipped
	w.fired, w.skipped = 0, 0
	return fired, skipped
}

// create stores an action that is triggered by time.
func (w *world) create(t testing.TB, typ, trigger string) actions.Definition {
	t.Helper()
	c, err := actions.NewCatalog().DecodeDefinition([]byte(`{"name":"n","type":"` + typ + `","trigger":[` + trigger + `],"action":{"type":"sms","to":"+1","message":"m"}}`))
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.actions.Create(t.Context(), "test", c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *world) edit(t testing.TB, id, body string) actions.Definition {
	t.Helper()
	c, err := actions.NewCatalog().DecodeDefinition([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.actions.Edit(t.Context(), "test", id, c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// jobs returns the ids of the jobs of partition 0 in the order of their enqueue.
// Each entry of the stream is a job of its own.
func (w *world) jobs(t testing.TB) []string {
	t.Helper()
	entries, err := w.rdb.XRange(t.Context(), queue.StreamKey(w.prefix, 0), "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		var job struct{ ID string }
		text, _ := e.Values["job"].(string)
		if err := json.Unmarshal([]byte(text), &job); err != nil {
			t.Fatal(err)
		}
		ids[i] = job.ID
	}
	return ids
}

// idOf is the id of the job of a due time.
func idOf(action string, due time.Time) string {
	return "at:" + action + ":" + strconv.FormatInt(due.Unix(), 10)
}

func TestDueTimeBecomesAJob(t *testing.T) {
	w := newWorld(t, first(queuetest.Redis(t)), queuetest.Prefix())
	d := w.create(t, "interval", `{"interval":"1 minute"}`)
	r := w.runner(t, queue.ClientOptions{})
	now := d.Anchor
	r.clock = func(time.Time) time.Time { return now }
	look := func(to time.Time) {
		t.Helper()
		now = to
		for range 2 { // a jump of the clock is seen by the second look
			if err := r.tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	due := d.Anchor.Truncate(time.Second).Add(time.Minute)
	look(due.Add(-time.Millisecond))
	if got := w.jobs(t); len(got) != 0 {
		t.Fatalf("before it is due: %v", got)
	}
	look(due)
	raw, err := w.rdb.XRange(t.Context(), queue.StreamKey(w.prefix, 0), "-", "+").Result()
	if err != nil || len(raw) != 1 {
		t.Fatalf("%v, %v, want one job", raw, err)
	}
	at := due.Format(time.RFC3339)
	want := fmt.Sprintf(`{"id":"%s","action_id":"%s","data":[{"variable":"interval","value":"%s","time":"%s"}]}`, idOf(d.ID, due), d.ID, at, at)
	if diff := cmp.Diff(raw[0].Values["job"], any(want)); diff != "" {
		t.Errorf("the job, -got +want:\n%s", diff)
	}
	if last, err := w.actions.LastTriggered(t.Context(), d.ID); err != nil || !last[0].Equal(due) {
		t.Errorf("last triggered %v, %v, want %v", last, err, due)
	}
	if fired, skipped := w.counted(); fired != 1 || skipped != 0 {
		t.Errorf("counted %d fired and %d skipped", fired, skipped)
	}
}

// first is for functions of two results.
func first[A, B any](a A, _ B) A { return a }

func TestWhatIsNotTriggered(t *testing.T) {
	w := newWorld(t, first(queuetest.Redis(t)), queuetest.Prefix())
	r := w.runner(t, queue.ClientOptions{})
	now := time.Now().Add(time.Minute)
	r.clock = func(time.Time) time.Time { return now }
	look := func(d time.Duration) int {
		t.Helper()
		before := len(w.jobs(t))
		now = now.Add(d)
		for range 2 {
			if err := r.tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return len(w.jobs(t)) - before
	}
	d := w.create(t, "interval", `{"interval":"1 second"}`)
	if n := look(time.Second); n == 0 {
		t.Fatal("an active action is not triggered, so this test shows nothing")
	}
	w.edit(t, d.ID, `{"active":false}`)
	if n := look(time.Second); n != 0 {
		t.Errorf("switched off: %d jobs", n)
	}
	w.edit(t, d.ID, `{"active":true,"lock":true}`)
	if n := look(time.Second); n == 0 {
		t.Error("locked: no job; a lock is for conditions")
	}
	w.edit(t, d.ID, `{"action":{"type":"mqtt","topic":"t","payload":"p"}}`)
	if n := look(time.Second); n != 0 {
		t.Errorf("of a type that nobody here does: %d jobs, which could only become dead letters", n)
	}
	w.edit(t, d.ID, `{"action":{"type":"sms","to":"+1","message":"m"}}`)
	w.edit(t, d.ID, `{"type":"mqtt_topic","trigger":[{"topic":"t"}]}`)
	if n := look(time.Second); n != 0 {
		t.Errorf("triggered by something else: %d jobs", n)
	}
	w.edit(t, d.ID, `{"type":"schedule","trigger":[{"cron":"* * * * * *"}]}`)
	if n := look(time.Second); n == 0 {
		t.Error("a schedule now: no job")
	}
	if err := w.actions.Delete(t.Context(), "test", d.ID); err != nil {
		t.Fatal(err)
	}
	if n := look(time.Second); n != 0 {
		t.Errorf("deleted: %d jobs", n)
	}
}

// An action that was switched off, or got other triggers, has nothing to make up
// for; one whose Redis had a wrong clock for a while starts anew that way.
func TestCursorOfEarlierTriggersCountsNoMore(t *testing.T) {
	w := newWorld(t, first(queuetest.Redis(t)), queuetest.Prefix())
	d := w.create(t, "interval", `{"interval":"1 hour"}`)
	r := w.runner(t, queue.ClientOptions{})
	now := time.Now().AddDate(1, 0, 0) // a wrong clock
	r.clock = func(time.Time) time.Time { return now }
	tick := func() int {
		t.Helper()
		before := len(w.jobs(t))
		for range 2 {
			if err := r.tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return len(w.jobs(t)) - before
	}
	if n := tick(); n != 1 {
		t.Fatalf("%d jobs a year from now, want one for the latest hour", n)
	}
	now = time.Now().Add(2 * time.Hour) // it was set right
	if n := tick(); n != 0 {
		t.Fatalf("%d jobs, want none before the cursor", n)
	}
	w.edit(t, d.ID, `{"active":false}`)
	d = w.edit(t, d.ID, `{"active":true}`)
	now = d.Anchor.Add(59 * time.Minute)
	if n := tick(); n != 0 {
		t.Errorf("%d jobs in the first hour", n)
	}
	now = d.Anchor.Add(time.Hour)
	if n := tick(); n != 1 {
		t.Errorf("%d jobs after the first hour, want 1", n)
	}
}

func TestFullQueueHoldsTheCursor(t *testing.T) {
	w := newWorld(t, first(queuetest.Redis(t)), queuetest.Prefix())
	d := w.create(t, "interval", `{"interval":"1 second"}`)
	r := w.runner(t, queue.ClientOptions{QueueMax: 2})
	now := d.Anchor.Truncate(time.Second).Add(3 * time.Second)
	r.clock = func(time.Time) time.Time { return now }
	if err := r.tick(t.Context()); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("three due times into a queue of two: %v, want ErrFull", err)
	}
	if _, cursors, err := r.store.Cursors(t.Context(), d.ID); err != nil || !cursors[0].At.IsZero() {
		t.Fatalf("cursor %v, %v, want none", cursors, err)
	}
	r.queue = queue.NewClient(w.rdb, queue.ClientOptions{Prefix: w.prefix})
	if err := r.tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.jobs(t); len(got) != 3 {
		t.Errorf("jobs when there is room again: %v, want all three", got)
	}
}

// Two partitions, one of them full: what it did not take is fired later, and
// nothing that comes before it is passed.
func TestFullPartitionHoldsOnlyItsJobs(t *testing.T) {
	w := newWorld(t, first(queuetest.Redis(t)), queuetest.Prefix())
	d := w.create(t, "interval", `{"interval":"1 second"}`)
	r := w.runner(t, queue.ClientOptions{Partitions: 2, QueueMax: 20})
	filler := queue.NewClient(w.rdb, queue.ClientOptions{Prefix: w.prefix})
	if _, err := filler.Enqueue(t.Context(), slices.Repeat([]json.RawMessage{[]byte(`{"action":{"type":"x"}}`)}, 20)...); err != nil {
		t.Fatal(err)
	}
	now := d.Anchor.Truncate(time.Second).Add(6 * time.Second)
	r.clock = func(time.Time) time.Time { return now }
	if err := r.tick(t.Context()); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("tick: %v, want ErrFull", err)
	}
	if err := w.rdb.XTrimMaxLen(t.Context(), queue.StreamKey(w.prefix, 0), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := w.rdb.XLen(t.Context(), queue.StreamKey(w.prefix, 0)).Val() + w.rdb.XLen(t.Context(), queue.StreamKey(w.prefix, 1)).Val()
	if fired, skipped := w.counted(); total != 6 || fired != 6 || skipped != 0 {
		t.Errorf("%d jobs, counted %d fired and %d skipped; want 6, 6 and 0", total, fired, skipped)
	}
}

// More than fit into one Enqueue.
func TestManyActionsAtOnce(t *testing.T) {
	w := newWorld(t, first(queuetest.Redis(t)), queuetest.Prefix())
	var last time.Time
	const n = 250
	for range n {
		last = w.create(t, "interval", `{"interval":"1 second"}`).Anchor
	}
	r := w.runner(t, queue.ClientOptions{})
	now := last.Add(5 * time.Second)
	r.clock = func(time.Time) time.Time { return now }
	if err := r.tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := w.jobs(t)
	seen := map[string]int{}
	for _, id := range got {
		seen[id]++
	}
	if fired, _ := w.counted(); len(got) < n*5 || len(seen) != len(got) || fired != len(got) {
		t.Errorf("%d jobs, %d ids, counted %d; want at least 5 for each of %d actions, none twice", len(got), len(seen), fired, n)
	}
}

// The loop as it runs in a process, twice, with the clock of Redis.
func TestTwoLoopsFireEachSecondOnce(t *testing.T) {
	rdb, prefix := queuetest.Redis(t)
	w := newWorld(t, rdb, prefix)
	d := w.create(t, "schedule", `{"cron":"* * * * * *"}`)
	ctx, stop := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	for range 2 {
		r := w.runner(t, queue.ClientOptions{})
		loops.Go(func() { r.Run(ctx) })
	}
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for len(w.jobs(t)) < 4 {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("after 30 s: %v, want 4 jobs", w.jobs(t))
		}
	}
	stop()
	loops.Wait()
	got := w.jobs(t)
	begin, err := strconv.ParseInt(got[0][strings.LastIndex(got[0], ":")+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range got {
		want = append(want, idOf(d.ID, time.Unix(begin+int64(i), 0)))
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("not each second once, -got +want:\n%s", diff)
	}
	if fired, _ := w.counted(); fired != len(got) {
		t.Errorf("counted %d of %d jobs", fired, len(got))
	}
}
