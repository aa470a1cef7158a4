package queue_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// A script that fails in the middle is not rolled back. These tests make each
// place fail in turn and check that the job is in one place all the time.

// places that a fresh queue does not have, so that a test can put a key of the
// wrong type there.
var places = []string{"due", "body", "dead", "moved", "cancel", "mark", "parks", "versions", "parked:s1:1"}

// wrong makes the key a string, which every call on it refuses.
func wrong(t *testing.T, rdb redis.UniversalClient, key string) (mend func()) {
	t.Helper()
	ctx := context.Background()
	if err := rdb.Set(ctx, key, "wrong", 0).Err(); err != nil {
		t.Fatalf("Set: %v", err)
	}
	return func() {
		if err := rdb.Del(ctx, key).Err(); err != nil {
			t.Errorf("Del: %v", err)
		}
	}
}

func TestASettlementThatFailsLeavesTheJobInItsPlace(t *testing.T) {
	outcomes := []struct {
		name string
		err  error
		want queue.State
	}{
		{"done", nil, queue.Done},
		{"retry", &queue.RetryAfterError{After: time.Hour, Err: errors.New("refused")}, queue.Delayed},
		{"hand-back", &queue.HandbackError{After: time.Hour, Err: errors.New("busy")}, queue.Delayed},
		{"dead", queue.Permanent(errors.New("no")), queue.Dead},
		{"parked", &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")}, queue.Parked},
	}
	for _, o := range outcomes {
		for _, place := range places {
			if place == "parked:s1:1" && o.name != "parked" {
				continue
			}
			t.Run(o.name+" while "+place+" is broken", func(t *testing.T) {
				t.Parallel()
				abortSettle(t, place, o.err, o.want)
			})
		}
	}
}

func abortSettle(t *testing.T, place string, outcome error, want queue.State) {
	ctx := context.Background()
	rdb, prefix := queuetest.Redis(t)
	stream := queue.StreamKey(prefix, 0)
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	begun, end := make(chan struct{}), make(chan struct{})
	var failed atomic.Int64
	cfg := faultConfig(rdb, prefix)
	cfg.Observer.RedisError = func(op string) {
		if op == "settle" {
			failed.Add(1)
		}
	}
	queuetest.Run(t, cfg, &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		close(begun)
		<-end
		return queue.Reply{}, outcome
	}})
	receipts, err := client.Enqueue(ctx, queuetest.Job())
	if err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	<-begun
	mend := wrong(t, rdb, strings.TrimSuffix(stream, "jobs")+place)
	close(end)
	queuetest.Eventually(t, "the settlement fails twice", func() bool { return failed.Load() >= 2 })
	if p, err := rdb.XPending(ctx, stream, "w").Result(); err != nil || p.Count != 1 || rdb.XLen(ctx, stream).Val() != 1 {
		t.Errorf("got pending %+v, %v; want the job still held", p, err)
	}
	mend()
	queuetest.Eventually(t, "it is settled", func() bool {
		s, err := client.Show(ctx, receipts[0].ID)
		return err == nil && s.State == want
	})
	if n := rdb.XLen(ctx, stream).Val(); n != 0 {
		t.Errorf("got %d entries in the stream, want none", n)
	}
}

func TestAPromotionThatFailsLeavesTheJobDelayed(t *testing.T) {
	for _, place := range []string{"dead", "moved", "cancel", "mark", "parks", "versions"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			rdb, prefix, id := delayed(t)
			stream := queue.StreamKey(prefix, 0)
			client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
			mend := wrong(t, rdb, strings.TrimSuffix(stream, "jobs")+place)
			var failed atomic.Int64
			cfg := faultConfig(rdb, prefix)
			cfg.Observer.RedisError = func(op string) {
				if op == "promote" {
					failed.Add(1)
				}
			}
			h := &queuetest.Handler{}
			queuetest.Run(t, cfg, h)
			queuetest.Eventually(t, "promotions fail", func() bool { return failed.Load() >= 3 })
			if n := rdb.ZCard(ctx, strings.TrimSuffix(stream, "jobs")+"due").Val(); n != 1 || rdb.XLen(ctx, stream).Val() != 0 {
				t.Errorf("got %d delayed jobs and %d in the stream, want 1 and 0", n, rdb.XLen(ctx, stream).Val())
			}
			mend()
			queuetest.Eventually(t, "it is done", func() bool {
				s, err := client.Show(ctx, id)
				return err == nil && s.State == queue.Done
			})
			if n := h.Count(id); n != 1 {
				t.Errorf("got %d attempts, want 1", n)
			}
		})
	}
}

// delayed returns a queue without a worker whose one job is delayed and soon due. On a
// busy machine its time may come before it is enqueued: then another gets more.
func delayed(t *testing.T) (rdb redis.UniversalClient, prefix, id string) {
	t.Helper()
	for ahead := 50 * time.Millisecond; ; ahead *= 2 {
		rdb, prefix = queuetest.Redis(t)
		now, err := rdb.Time(t.Context()).Result() // the clock that decides
		if err != nil {
			t.Fatalf("TIME: %v", err)
		}
		soon := now.Add(ahead).Format(time.RFC3339Nano)
		receipts, err := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix}).Enqueue(t.Context(), queuetest.Job(`"not_before":"`+soon+`"`))
		if err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
		if rdb.XLen(t.Context(), queue.StreamKey(prefix, 0)).Val() == 0 {
			return rdb, prefix, receipts[0].ID
		}
	}
}

func TestOperatorMovesThatFailLeaveTheJobInItsPlace(t *testing.T) {
	moves := []struct {
		name  string
		fail  error // what brings the job to its place
		state queue.State
		move  func(context.Context, *queue.Client, string) error
	}{
		{"retry dead", queue.Permanent(errors.New("no")), queue.Dead, func(ctx context.Context, c *queue.Client, id string) error {
			_, err := c.RetryDead(ctx, id)
			return err
		}},
		{"remove dead", queue.Permanent(errors.New("no")), queue.Dead, func(ctx context.Context, c *queue.Client, id string) error {
			_, err := c.RemoveDead(ctx, id)
			return err
		}},
		{"release parked", &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")}, queue.Parked, func(ctx context.Context, c *queue.Client, _ string) error {
			_, err := c.ReleaseParked(ctx, "s1", 0)
			return err
		}},
		{"cancel parked", &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")}, queue.Parked, func(ctx context.Context, c *queue.Client, id string) error {
			return c.Cancel(ctx, id)
		}},
	}
	for _, m := range moves {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			rdb, prefix := queuetest.Redis(t)
			client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
			stop := queuetest.Run(t, faultConfig(rdb, prefix), &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
				return queue.Reply{}, m.fail
			}})
			receipts, err := client.Enqueue(ctx, queuetest.Job())
			if err != nil {
				t.Fatalf("Enqueue: %v", err)
			}
			in := func() bool {
				s, err := client.Show(ctx, receipts[0].ID)
				return err == nil && s.State == m.state
			}
			queuetest.Eventually(t, "it is in its place", in)
			stop()
			base := strings.TrimSuffix(queue.StreamKey(prefix, 0), "jobs")
			for _, place := range []string{"due", "cancel", "mark", "versions"} {
				mend := wrong(t, rdb, base+place)
				if err := m.move(ctx, client, receipts[0].ID); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
					t.Errorf("with %s broken: got %v, want WRONGTYPE", place, err)
				}
				mend()
				if !in() {
					t.Errorf("with %s broken: the job has left its place", place)
				}
			}
			if err := m.move(ctx, client, receipts[0].ID); err != nil || in() {
				t.Errorf("after the repair: got %v, still in its place: %v", err, in())
			}
		})
	}
}

func TestALogThatCannotBeWrittenKeepsNoJobBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rdb, prefix := queuetest.Redis(t)
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	receipts, err := client.Enqueue(ctx, queuetest.Job())
	if err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	stream := queue.StreamKey(prefix, 0)
	first, err := rdb.XRangeN(ctx, stream, "-", "+", 1).Result()
	if err != nil || len(first) != 1 {
		t.Fatalf("XRANGE: got %v, %v", first, err)
	}
	at, err := client.Show(ctx, receipts[0].ID)
	if err != nil {
		t.Fatalf("Show: %v", err)
	}
	wrong(t, rdb, strings.TrimSuffix(stream, "jobs")+"log:"+minuteOf(at.EnqueuedAt))
	queuetest.Run(t, faultConfig(rdb, prefix), &queuetest.Handler{})
	queuetest.Eventually(t, "it has left the stream", func() bool { return rdb.XLen(ctx, stream).Val() == 0 })
}

// minuteOf names the log of jobs that were enqueued at t.
func minuteOf(t time.Time) string { return strconv.FormatInt(t.Unix()/60, 10) }
