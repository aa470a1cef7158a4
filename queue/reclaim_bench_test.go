package queue_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// BenchmarkLook measures a look for lost claims while none is lost: each process
// looks twice a second, whatever is pending. Redis does nothing else meanwhile.
func BenchmarkLook(b *testing.B) {
	for _, pending := range []int{0, 200, 2_000, 20_000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			rdb, prefix := queuetest.Redis(b)
			ctx := b.Context()
			stream := prefix + ":{q0}:jobs"
			fill(b, queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix}), pending)
			if err := rdb.XGroupCreateMkStream(ctx, stream, "w", "0").Err(); err != nil {
				b.Fatal(err)
			}
			const each = 1000
			for worker := range (pending + each - 1) / each {
				args := &redis.XReadGroupArgs{Group: "w", Consumer: fmt.Sprint("w", worker), Streams: []string{stream, ">"}, Count: each}
				if err := rdb.XReadGroup(ctx, args).Err(); err != nil {
					b.Fatal(err)
				}
			}
			look := func() {
				if err := queue.Look(ctx, rdb, prefix); err != nil {
					b.Fatalf("reclaim: %v", err)
				}
			}
			look() // which loads the script
			before := redisTime(b, rdb)
			for b.Loop() {
				look()
			}
			b.ReportMetric((redisTime(b, rdb)-before)/float64(b.N), "redis-µs/look")
			cleanup(b, rdb, prefix)
		})
	}
}

// redisTime is the processor time that Redis has used, in µs: other than the time that a
// script takes, it does not grow when the machine has more to do.
func redisTime(b *testing.B, rdb redis.UniversalClient) (µs float64) {
	b.Helper()
	info, err := rdb.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
		_, rest, _ := strings.Cut(info, name)
		seconds := 0.0
		if _, err := fmt.Sscan(rest, &seconds); err != nil {
			b.Fatalf("INFO cpu: %v", err)
		}
		µs += seconds * 1e6
	}
	return µs
}
