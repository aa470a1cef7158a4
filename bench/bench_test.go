package bench

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keysOf are the keys of all runs.
func keysOf(t *testing.T, c Config) []string {
	t.Helper()
	keys, err := c.Redis.Keys(t.Context(), family+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// config is a small run on a server of its own: the memory of a shared one is not
// this test's to limit.
func config(t *testing.T) Config {
	t.Helper()
	rdb := redis.NewClient(queuetest.Options(queuetest.NewServer(t).Addr()))
	t.Cleanup(func() { _ = rdb.Close() })
	return Config{Redis: rdb, Jobs: 2000, Rate: 200, For: 500 * time.Millisecond}
}

func TestRunMeasuresAndLeavesNothing(t *testing.T) {
	for _, row := range []struct {
		name       string
		partitions int
	}{{"one partition", 1}, {"three partitions", 3}} {
		t.Run(row.name, func(t *testing.T) {
			c := config(t)
			c.Partitions = row.partitions
			real := queue.NewClient(c.Redis, queue.ClientOptions{})
			if _, err := real.Enqueue(t.Context(), payload(0)); err != nil {
				t.Fatal(err)
			}
			r, err := Run(t.Context(), c)
			if err != nil {
				t.Fatalf("Run: %v", err)
			}
			if r.Jobs != c.Jobs || r.PacedJobs != 100 || r.Partitions != row.partitions || r.Concurrency != DefaultSlots {
				t.Errorf("the result is of other work: %+v", r)
			}
			for name, v := range map[string]float64{
				"enqueue": r.EnqueuePerSecond, "drain": r.DrainPerSecond, "p50": r.P50, "ping": r.Ping, "paced": r.PacedPerSecond,
			} {
				if v <= 0 {
					t.Errorf("%s is %v, want more than 0", name, v)
				}
			}
			if r.P50 > r.P99 || r.P99 > r.Max {
				t.Errorf("p50 %v, p99 %v, longest %v: want them in this order", r.P50, r.P99, r.Max)
			}
			if r.Bytes == nil || *r.Bytes < 100 || *r.Bytes > jobBytes {
				t.Errorf("a waiting job has %v bytes, want 100 to %d", r.Bytes, jobBytes)
			}
			if r.RedisCPU == nil || *r.RedisCPU <= 0 {
				t.Errorf("Redis' time is %v, want one", r.RedisCPU)
			}
			if keys := keysOf(t, c); len(keys) > 0 {
				t.Errorf("left in Redis: %v", keys)
			}
			if n, err := c.Redis.XLen(t.Context(), queue.StreamKey("", 0)).Result(); n != 1 || err != nil {
				t.Errorf("the real queue has %d jobs, %v, want its one", n, err)
			}
		})
	}
}

func TestRunBrokenOffLeavesNothing(t *testing.T) {
	for _, stage := range []string{"enqueue", "pace"} {
		t.Run(stage, func(t *testing.T) {
			c := config(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var seen atomic.Int64 // keys when it is broken off
			c.Progress = func(now string, done, _ int64) {
				if now == stage && done > 0 && ctx.Err() == nil {
					seen.Store(int64(len(keysOf(t, c))))
					cancel()
				}
			}
			if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v, want that it was cancelled", err)
			}
			if seen.Load() == 0 {
				t.Error("there were no keys when it was broken off: the test has shown nothing")
			}
			if keys := keysOf(t, c); len(keys) > 0 {
				t.Errorf("left in Redis: %v", keys)
			}
		})
	}
}

func TestRunRefusesWhatRedisCannotHold(t *testing.T) {
	c := config(t)
	if err := c.Redis.ConfigSet(t.Context(), "maxmemory", "2mb").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), c)
	if !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "take fewer jobs") {
		t.Errorf("Run: %v, want ErrNoRoom", err)
	}
	if keys := keysOf(t, c); len(keys) > 0 {
		t.Errorf("left in Redis: %v", keys)
	}
}

func TestConfigOutOfRange(t *testing.T) {
	c := Config{Jobs: -1, Slots: MaxSlots + 1, Partitions: queue.MaxPartitions + 1, Rate: -5, For: time.Hour}
	err := c.complete()
	for _, want := range []string{"a Redis", "jobs", "partitions", "slots", "a rate of", "a time up to"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("complete: %v, want also %q", err, want)
		}
	}
}

func TestCleanRemovesOldRunsOnly(t *testing.T) {
	c := config(t)
	now := time.Now()
	for _, key := range []string{
		name(now.Add(-25*time.Hour)) + ":{q0}:jobs", name(now.Add(-time.Hour)) + ":{q0}:jobs", "sealpost:{q0}:jobs", family + "mine",
	} {
		if err := c.Redis.Set(t.Context(), key, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := clean(t.Context(), c.Redis, name(now)); err != nil {
		t.Fatalf("clean: %v", err)
	}
	for _, key := range keysOf(t, c) {
		if isStale(key, now) {
			t.Errorf("%s is still there", key)
		}
	}
	if got, err := c.Redis.DBSize(t.Context()).Result(); err != nil || got != 3 {
		t.Errorf("%d keys are left, %v, want 3: of a run that may go on, a real one, and somebody's own", got, err)
	}
}

func TestJobSaysWhenItWasSent(t *testing.T) {
	got, err := sentAt(&queue.Job{Data: []byte(`[{"variable":"temperature","value":1234,"unit":"F"}]`)})
	if diff := cmp.Diff(int64(1234), got); diff != "" || err != nil {
		t.Errorf("sentAt: %v (-want +got):\n%s", err, diff)
	}
	if _, err := sentAt(&queue.Job{}); err == nil {
		t.Error("sentAt of no data: no error")
	}
}
