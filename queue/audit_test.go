package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// warnings is a log that keeps its warnings.
type warnings struct {
	mu    sync.Mutex
	lines []string
}

func (w *warnings) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, string(line))
	return len(line), nil
}

func (w *warnings) of(text string) (n int, last string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.lines {
		if strings.Contains(line, text) {
			n, last = n+1, line
		}
	}
	return n, last
}

func (w *warnings) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

const foundText = "the check in the background found what"

// busy starts pools that check all the time while jobs with ids go through every
// place of the queue, and returns the client.
func busy(t *testing.T, log *warnings) (*queue.Client, string) {
	t.Helper()
	rdb, prefix := queuetest.Redis(t)
	var tries atomic.Int64
	do := func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		switch n := tries.Add(1); {
		case n%7 == 0:
			return queue.Reply{Reason: "transient"}, errors.New("not now")
		case n%11 == 0:
			return queue.Reply{Reason: "payload"}, queue.Permanent(errors.New("never"))
		case n%13 == 0:
			return queue.Reply{}, &queue.ParkedError{Secret: "s", Version: n, Err: errors.New("refused")}
		}
		return queue.Reply{Stage: "done"}, nil
	}
	for range 2 {
		queuetest.Run(t, queue.AuditOften(queue.PoolConfig{
			Redis: rdb, Prefix: prefix, Partitions: 2, Slots: 32, Lease: queue.MinLease, Logger: log.logger(),
			Backoff: func(int) time.Duration { return 5 * time.Millisecond },
		}), &queuetest.Handler{Do: do})
	}
	return queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix, Partitions: 2}), prefix
}

func TestACheckBesideABusyQueueFindsNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	log := &warnings{}
	client, _ := busy(t, log)
	passes, last := 0, time.Time{}
	for n := 0; passes < 5; n++ {
		if n == 1000 {
			t.Fatalf("%d passes beside %d jobs", passes, 50*n)
		}
		// No more than the pools do, or the queue grows faster than a pass looks.
		queuetest.Eventually(t, "a short backlog", func() bool {
			s, err := client.Stats(ctx)
			return err == nil && s.Jobs[queue.Ready] < 100
		})
		jobs := make([]json.RawMessage, 50)
		for i := range jobs {
			more := ""
			if i%5 == 0 {
				more = `,"not_before":"` + time.Now().Add(50*time.Millisecond).Format(time.RFC3339Nano) + `"`
			}
			jobs[i] = queuetest.Job(fmt.Sprintf(`"id":"b%d-%d"%s`, n, i, more))
		}
		if _, err := client.Enqueue(ctx, jobs...); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
		for _, op := range []func() error{
			func() error { _, err := client.ReleaseParked(ctx, "s", 0); return err },
			func() error { _, err := client.RetryDead(ctx, fmt.Sprintf("b%d-%d", n, n%50)); return err },
			func() error { return client.Cancel(ctx, fmt.Sprintf("b%d-%d", n, (n+1)%50)) },
			func() error { _, err := client.RemoveDead(ctx, fmt.Sprintf("b%d-%d", n/2, n%50)); return err },
		} {
			if err := op(); err != nil && !errors.Is(err, queue.ErrNotFound) && !errors.Is(err, queue.ErrFinished) && !errors.Is(err, queue.ErrRunning) {
				t.Fatal(err)
			}
		}
		a, err := client.LastAudit(ctx)
		if err != nil {
			t.Fatalf("LastAudit: %v", err)
		}
		if a.At.After(last) {
			passes, last = passes+1, a.At
			if len(a.Found) > 0 || a.Looked == 0 {
				t.Fatalf("pass %d: got %s", passes, a.String())
			}
		}
	}
	if n, line := log.of(foundText); n > 0 {
		t.Errorf("got %d warnings, such as %s", n, line)
	}
}

func TestACheckInTheBackgroundTellsWhatItFinds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	log := &warnings{}
	client, prefix := busy(t, log)
	rdb, _ := queuetest.Redis(t)
	queuetest.Eventually(t, "a first pass", func() bool {
		a, err := client.LastAudit(ctx)
		return err == nil && !a.At.IsZero() && a.Left() == 0 && strings.Contains(a.String(), "nothing found")
	})
	lost := prefix + ":{q1}:body"
	if err := rdb.HSet(ctx, lost, "5-1", `{"j":"5-1","n":1,"e":5}`+"\n"+string(queuetest.Job())).Err(); err != nil {
		t.Fatal(err)
	}
	queuetest.Eventually(t, "a pass that finds it", func() bool {
		a, err := client.LastAudit(ctx)
		return err == nil && a.Found["no-place"] == 1 && a.Left() == 1 && strings.Contains(a.String(), "found no-place 1")
	})
	queuetest.Eventually(t, "a warning", func() bool {
		_, line := log.of(foundText)
		return strings.Contains(line, `found="no-place 1"`)
	})
	if n, err := rdb.HLen(ctx, lost).Result(); err != nil || n != 1 {
		t.Errorf("%d bodies, %v: a check in the background changes nothing", n, err)
	}
	if _, err := queue.Check(ctx, rdb, queue.CheckOptions{Prefix: prefix, Partitions: 2, Repair: true}); err != nil {
		t.Fatalf("Check: %v", err)
	}
	queuetest.Eventually(t, "a pass that finds nothing any more", func() bool {
		a, err := client.LastAudit(ctx)
		return err == nil && a.Left() == 0
	})
}

// One pool checks at a time: a turn that another has is not taken, and one that its
// holder has left behind is, when its lease has run out.
func TestOneProcessChecksAtATime(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rdb, prefix := queuetest.Redis(t)
	key := prefix + ":{shared}:audit"
	call := func(args ...any) int {
		t.Helper()
		n, err := queue.Moves["audit"].Run(ctx, rdb, []string{key}, args...).Int()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return n
	}
	hour := time.Hour.Milliseconds()
	steps := []struct {
		name string
		args []any
		want int
	}{
		{"the first may", []any{"begin", "a", hour, hour}, 1},
		{"the second may not", []any{"begin", "b", hour, hour}, 0},
		{"nor end it", []any{"end", "b", "{}"}, 0},
		{"nor renew it", []any{"renew", "b", hour}, 0},
		{"the first renews it for no time", []any{"renew", "a", 0}, 1},
		{"then the second may", []any{"begin", "b", hour, hour}, 1},
		{"and the first has lost it", []any{"renew", "a", hour}, 0},
		{"and cannot end it", []any{"end", "a", "{}"}, 0},
		{"a stop frees it", []any{"free", "b"}, 1},
		{"so that another may", []any{"begin", "c", hour, hour}, 1},
		{"it ends", []any{"end", "c", `{"looked":1}`}, 1},
		{"then it is not due for an hour", []any{"begin", "a", hour, hour}, 0},
		{"but it is by a shorter rule", []any{"begin", "a", hour, 0}, 1},
	}
	for _, s := range steps {
		if got := call(s.args...); got != s.want {
			t.Errorf("%s: got %d, want %d", s.name, got, s.want)
		}
	}
}
