package queue_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// A read that does not wait takes the reply apart itself, whose form depends on the
// protocol.
func TestReadWithoutWaiting(t *testing.T) {
	t.Parallel()
	servers := map[string]func(testing.TB) (redis.UniversalClient, string){"redis": queuetest.Redis, "in memory": queuetest.Mini}
	for name, server := range servers {
		for _, protocol := range []int{2, 3} {
			t.Run(fmt.Sprintf("%s, RESP%d", name, protocol), func(t *testing.T) {
				first, prefix := server(t)
				options := queuetest.Options(first.(*redis.Client).Options().Addr)
				options.Protocol = protocol
				rdb := redis.NewClient(options)
				defer rdb.Close()
				readWithoutWaiting(t, rdb, prefix)
			})
		}
	}
}

func readWithoutWaiting(t *testing.T, rdb redis.UniversalClient, prefix string) {
	ctx := context.Background()
	pool, err := queue.NewPool(queue.PoolConfig{Redis: rdb, Prefix: prefix, Logger: quietLog()}, noop{})
	if err != nil {
		t.Fatal(err)
	}
	stream := queue.StreamKey(prefix, 0)
	if _, err := queue.ReadMany(ctx, pool, 1); err == nil || !strings.Contains(err.Error(), "NOGROUP") {
		t.Errorf("without a group: error %v, want NOGROUP", err)
	}
	if err := rdb.XGroupCreateMkStream(ctx, stream, "w", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := queue.ReadMany(ctx, pool, 1); err != nil || len(got) > 0 {
		t.Errorf("an empty stream: %q, %v", got, err)
	}
	var want []string
	for i := range 100 {
		meta, job := fmt.Sprintf(`{"a":%d}`, i), strings.Repeat("x\r\n", i*i) // up to 29 KB, of more than a buffer of go-redis
		id, err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []any{"meta", meta, "job", job}}).Result()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, id+" "+meta+" "+job)
	}
	var got []string
	for _, n := range []int{90, 20} {
		some, err := queue.ReadMany(ctx, pool, n)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, some...)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("read (-got +want):\n%s", diff)
	}
}
