package queue_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// oldJobs puts n jobs into the stream that came into being at this time; later
// calls must have later times.
func oldJobs(t *testing.T, rdb redis.UniversalClient, prefix string, at time.Time, n int) {
	t.Helper()
	for i := range n {
		err := rdb.XAdd(t.Context(), &redis.XAddArgs{
			Stream: prefix + ":{q0}:jobs", ID: fmt.Sprintf("%d-%d", at.UnixMilli(), i+1),
			Values: []string{"job", `{"action":{"type":"x"}}`},
		}).Err()
		if err != nil {
			t.Fatalf("XADD: %v", err)
		}
	}
}

func TestTheLogIsCapped(t *testing.T) {
	rdb, prefix := queuetest.Redis(t)
	ctx := t.Context()
	now := rdb.Time(ctx).Val()
	ages := []time.Duration{3 * time.Hour, 2 * time.Hour, time.Hour, 10 * time.Minute}
	const each = 30
	for _, age := range ages {
		oldJobs(t, rdb, prefix, now.Add(-age), each)
	}
	cfg := queue.PoolConfig{Redis: rdb, Prefix: prefix, Logger: quietLog(), LogMax: 70}
	stop := queuetest.Run(t, cfg, noop{})
	logs := func() (sum int) {
		for _, age := range ages {
			minute := now.Add(-age).UnixMilli() / time.Minute.Milliseconds()
			sum += int(rdb.HLen(ctx, prefix+":{q0}:log:"+strconv.FormatInt(minute, 10)).Val())
		}
		return sum
	}
	queuetest.Eventually(t, "all attempts are recorded", func() bool { return logs() == each*len(ages) })
	stop()

	pool, err := queue.NewPool(cfg, noop{})
	if err != nil {
		t.Fatalf("NewPool: %v", err)
	}
	if err := queue.CapLog(ctx, pool); err != nil {
		t.Fatalf("cap: %v", err)
	}
	if got, want := logs(), 2*each; got != want { // 60 are the most whole minutes that 70 have room for
		t.Errorf("%d records are left, want %d", got, want)
	}
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	page, err := c.Deliveries(ctx, queue.DeliveryFilter{Limit: queue.MaxBatch})
	if err != nil {
		t.Fatalf("Deliveries: %v", err)
	}
	if len(page.Deliveries) != 2*each {
		t.Errorf("got %d attempts, want %d: those of the two youngest minutes", len(page.Deliveries), 2*each)
	}
	if page.Dropped == nil || page.Dropped.After(now.Add(-time.Hour)) || page.Dropped.Before(now.Add(-2*time.Hour-time.Minute)) {
		t.Errorf("got dropped before %v, want between the second and the third of %v before %v", page.Dropped, ages, now)
	}
	before := page.Dropped
	if err := queue.CapLog(ctx, pool); err != nil {
		t.Fatalf("cap: %v", err)
	}
	if again, err := c.Dropped(ctx); err != nil || !again.Equal(*before) || logs() != 2*each {
		t.Errorf("a second look: got %v, %v and %d records, want %v and no change", again, err, logs(), before)
	}
}

func TestADroppedRecordIsNoLostJob(t *testing.T) {
	rdb, prefix := queuetest.Redis(t)
	ctx := t.Context()
	old := rdb.Time(ctx).Val().Add(-time.Hour)
	jid := fmt.Sprintf("%d-1", old.UnixMilli())
	if err := rdb.Set(ctx, prefix+":{q0}:dedup:order-1", fmt.Sprintf("%s %d", jid, old.UnixMilli()), time.Hour).Err(); err != nil {
		t.Fatalf("SET: %v", err)
	}
	found := func() int64 {
		t.Helper()
		r, err := queue.Check(context.WithoutCancel(ctx), rdb, queue.CheckOptions{Prefix: prefix})
		if err != nil {
			t.Fatalf("Check: %v", err)
		}
		return r.Found["dedup-lost"].Found
	}
	if got := found(); got != 1 {
		t.Fatalf("got %d lost jobs, want 1: its id is all there is", got)
	}
	minute := old.UnixMilli()/time.Minute.Milliseconds() + 1
	keys := append(queue.PlaceKeys(prefix), prefix+":{q0}:dropped")
	if err := queue.Moves["trim"].Run(ctx, rdb, keys, minute, 60).Err(); err != nil {
		t.Fatalf("trim: %v", err)
	}
	if err := queue.Moves["trim"].Run(ctx, rdb, keys, minute-30, 60).Err(); err != nil {
		t.Fatalf("trim: %v", err)
	}
	if got := found(); got != 0 {
		t.Errorf("got %d lost jobs, want none: its record was dropped, and another process that dropped less does not take that back", got)
	}
}

// BenchmarkRecord measures what the record of an attempt costs in Redis.
func BenchmarkRecord(b *testing.B) {
	rdb, prefix := queuetest.Redis(b)
	before := used(b, rdb)
	fill(b, queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix}), b.N)
	stop := queuetest.Run(b, queue.PoolConfig{Redis: rdb, Prefix: prefix, Logger: quietLog()}, noop{})
	queuetest.Eventually(b, "all jobs are done", func() bool { return rdb.XLen(b.Context(), prefix+":{q0}:jobs").Val() == 0 })
	stop()
	b.ReportMetric((used(b, rdb)-before)/float64(b.N), "B/record")
	b.ReportMetric(0, "ns/op")
	cleanup(b, rdb, prefix)
}
