package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// payload is a job of 299 bytes, as in the comparison with other queues.
func payload(i int) json.RawMessage {
	s := fmt.Sprintf(`{"action":{"type":"noop","lane":"l%d","smtp_secret":"0123456789abcdef01234567","from":"a@example.test","to":"b@example.test;c@example.test","subject":"Temperature too high","message":"The value is $VALUE$"},"data":[{"variable":"temperature","value":73,"unit":"F","time":"2026-11-23T13:00:00Z"`, i%16)
	const size, tail = 299, `}]}`
	return json.RawMessage(s + fmt.Sprintf(`,"x":"%0*d"`, max(size-len(s)-len(tail)-7, 1), i) + tail)
}

func quietLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func fill(b testing.TB, c *queue.Client, n int) {
	b.Helper()
	for i := 0; i < n; {
		var jobs []json.RawMessage
		for len(jobs) < 500 && i < n {
			jobs = append(jobs, payload(i))
			i++
		}
		if _, err := c.Enqueue(context.Background(), jobs...); err != nil {
			b.Fatalf("Enqueue: %v", err)
		}
	}
}

// BenchmarkDrain measures jobs through a pool whose handler does nothing.
func BenchmarkDrain(b *testing.B) {
	rdb, prefix := queuetest.Redis(b)
	fill(b, queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix}), b.N)
	var n atomic.Int64
	all := make(chan struct{})
	cfg := queue.PoolConfig{Redis: rdb, Prefix: prefix, Logger: quietLog(), Observer: queue.Observer{Finished: func(string, queue.State) {
		if n.Add(1) == int64(b.N) {
			close(all)
		}
	}}}
	b.ResetTimer()
	start := time.Now()
	stop := queuetest.Run(b, cfg, noop{})
	<-all
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "jobs/s")
	b.StopTimer()
	stop()
	cleanup(b, rdb, prefix)
}

// BenchmarkEnqueue measures batches of 100 from one goroutine.
func BenchmarkEnqueue(b *testing.B) {
	rdb, prefix := queuetest.Redis(b)
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	jobs := make([]json.RawMessage, 100)
	for i := range jobs {
		jobs[i] = payload(i)
	}
	b.ResetTimer()
	start := time.Now()
	for i := 0; i < b.N; i += len(jobs) {
		if _, err := c.Enqueue(context.Background(), jobs...); err != nil {
			b.Fatalf("Enqueue: %v", err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "jobs/s")
	b.StopTimer()
	cleanup(b, rdb, prefix)
}

func cleanup(b testing.TB, rdb redis.UniversalClient, prefix string) {
	b.Helper()
	ctx := context.Background()
	keys, err := rdb.Keys(ctx, prefix+"*").Result()
	if err != nil {
		b.Fatalf("Keys: %v", err)
	}
	for _, k := range keys {
		rdb.Unlink(ctx, k)
	}
}

// noop is the cheapest handler: what remains is the queue.
type noop struct{}

func (noop) Prepare(j *queue.Job) (queue.Work, error) { return noopWork(len(j.Data) % 16), nil }

type noopWork int

var noopLanes = [...]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"}

func (noopWork) Kind() string   { return "noop" }
func (w noopWork) Lane() string { return noopLanes[w] }
func (noopWork) Do(context.Context, *queue.Claim) (queue.Reply, error) {
	return queue.Reply{}, nil
}

// BenchmarkLatency measures the time from an enqueue to the start of the job,
// at 500 jobs a second.
func BenchmarkLatency(b *testing.B) {
	rdb, prefix := queuetest.Redis(b)
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	began := make(chan time.Time, 1)
	queuetest.Run(b, queue.PoolConfig{Redis: rdb, Prefix: prefix, Logger: quietLog()}, &queuetest.Handler{
		Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
			began <- time.Now()
			return queue.Reply{}, nil
		}})
	if _, err := c.Enqueue(context.Background(), payload(0)); err != nil {
		b.Fatalf("Enqueue: %v", err)
	}
	<-began // the scripts are loaded, the connections are open
	var took []time.Duration
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := range b.N {
		<-tick.C
		start := time.Now()
		if _, err := c.Enqueue(context.Background(), payload(i)); err != nil {
			b.Fatalf("Enqueue: %v", err)
		}
		took = append(took, (<-began).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory measures what a waiting job of 299 bytes costs in Redis.
func BenchmarkMemory(b *testing.B) {
	rdb, prefix := queuetest.Redis(b)
	before := used(b, rdb)
	fill(b, queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix}), b.N)
	b.ReportMetric((used(b, rdb)-before)/float64(b.N), "B/job")
	b.ReportMetric(0, "ns/op")
	cleanup(b, rdb, prefix)
}

// used is Redis' memory in bytes.
func used(b *testing.B, rdb redis.UniversalClient) float64 {
	b.Helper()
	for line := range strings.Lines(rdb.Info(context.Background(), "memory").Val()) {
		if text, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				b.Fatalf("used_memory: %v", err)
			}
			return n
		}
	}
	b.Fatal("no used_memory")
	return 0
}
