package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

func faultConfig(rdb redis.UniversalClient, prefix string) queue.PoolConfig {
	return queue.PoolConfig{
		Redis: rdb, Prefix: prefix, Slots: 32, Lease: queue.MinLease, Grace: 5 * time.Second, Logger: quietLog(),
		Backoff: func(int) time.Duration { return 20 * time.Millisecond },
	}
}

// addrOf returns the address of a client's server.
func addrOf(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	c, ok := rdb.(*redis.Client)
	if !ok {
		t.Fatal("not a client of one server")
	}
	return c.Options().Addr
}

func dial(t *testing.T, addr string) *redis.Client {
	t.Helper()
	opts := queuetest.Options(addr)
	opts.DialTimeout = time.Second
	rdb := redis.NewClient(opts)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func named(i int) json.RawMessage { return queuetest.Job(fmt.Sprintf(`"id":"n%d"`, i)) }

func enqueueNamed(t *testing.T, c *queue.Client, n int) {
	t.Helper()
	var jobs []json.RawMessage
	for i := range n {
		jobs = append(jobs, named(i))
	}
	if _, err := c.Enqueue(context.Background(), jobs...); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
}

// allDone waits until n named jobs are done.
func allDone(t *testing.T, c *queue.Client, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("n%d", i)
		queuetest.Eventually(t, "job "+id+" is done", func() bool {
			s, err := c.Show(context.Background(), id)
			return err == nil && s.State == queue.Done
		})
	}
}

func TestJobsOfAWorkerThatVanishesAreDoneByAnother(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	line := queuetest.NewLine(t, addrOf(t, rdb))
	const jobs = 200
	enqueueNamed(t, client, jobs)

	begun, forever := make(chan struct{}, jobs), make(chan struct{})
	cfg := faultConfig(dial(t, line.Addr()), prefix)
	cfg.LaneSlots = cfg.Slots
	queuetest.Run(t, cfg, &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		begun <- struct{}{}
		<-forever
		return queue.Reply{}, errors.New("nobody hears this")
	}})
	t.Cleanup(func() { close(forever) })
	for range cfg.Slots {
		<-begun
	}
	line.Cut()
	start := time.Now()

	var recovered atomic.Int64
	cfg = faultConfig(rdb, prefix)
	cfg.Observer.Recovered = func(n int) { recovered.Add(int64(n)) }
	h := &queuetest.Handler{}
	queuetest.Run(t, cfg, h)
	allDone(t, client, jobs)
	if took := time.Since(start); took < 3*time.Second {
		t.Errorf("taken over after %v, before the lease ran out", took)
	}
	if got := recovered.Load(); got != int64(cfg.Slots) {
		t.Errorf("got %d jobs recovered, want %d", got, cfg.Slots)
	}
	for i := range jobs {
		if n := h.Count(fmt.Sprintf("n%d", i)); n != 1 {
			t.Errorf("job %d: got %d attempts by the other worker, want 1", i, n)
		}
	}
}

func TestALongJobKeepsItsLease(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	var calls atomic.Int64
	h := &queuetest.Handler{Do: func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
		calls.Add(1)
		<-time.After(queue.MinLease + 2500*time.Millisecond) // the work; another worker looks for lost jobs meanwhile
		return queue.Reply{}, c.Begin(ctx)
	}}
	queuetest.Run(t, faultConfig(rdb, prefix), h)
	queuetest.Run(t, faultConfig(rdb, prefix), h)
	enqueueNamed(t, client, 1)
	allDone(t, client, 1)
	s, err := client.Show(context.Background(), "n0")
	if err != nil || calls.Load() != 1 || s.Crashes != 0 {
		t.Errorf("got %d calls, %+v, %v; want one call and no crash", calls.Load(), s, err)
	}
}

// produce sends n jobs one by one, each again until Redis has it.
func produce(t *testing.T, c *queue.Client, n int) {
	t.Helper()
	for i := range n {
		queuetest.Eventually(t, "job is accepted", func() bool {
			_, err := c.Enqueue(context.Background(), named(i))
			return err == nil
		})
	}
}

func TestRedisKilledAndStartedAgainUnderLoad(t *testing.T) {
	t.Parallel()
	server := queuetest.NewServer(t)
	rdb := dial(t, server.Addr())
	client := queue.NewClient(rdb, queue.ClientOptions{})
	const jobs = 3000
	var troubles atomic.Int64
	h := &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		<-time.After(time.Millisecond)
		return queue.Reply{}, nil
	}}
	for range 2 {
		cfg := faultConfig(rdb, "")
		cfg.Observer.RedisError = func(string) { troubles.Add(1) }
		queuetest.Run(t, cfg, h)
	}
	var producer sync.WaitGroup
	producer.Go(func() { produce(t, client, jobs) })
	for i := range 2 {
		queuetest.Eventually(t, "some jobs are done", func() bool { return len(h.Order()) > (i+1)*500 })
		server.Kill()
		<-time.After(1500 * time.Millisecond) // the outage
		if err := server.Start(); err != nil {
			t.Fatalf("start again: %v", err)
		}
	}
	producer.Wait()
	allDone(t, client, jobs)
	t.Logf("%d jobs, %d attempts, %d failed calls", jobs, len(h.Order()), troubles.Load())
	if n := troubles.Load(); n == 0 || n > 1000 {
		t.Errorf("got %d failed calls in 3 s without Redis, want some and no hot loop", n)
	}
}

func TestAStalledLineLosesNothing(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	line := queuetest.NewLine(t, addrOf(t, rdb))
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	h := &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		<-time.After(2 * time.Millisecond)
		return queue.Reply{}, nil
	}}
	queuetest.Run(t, faultConfig(dial(t, line.Addr()), prefix), h)
	const jobs = 900
	enqueueNamed(t, client, jobs)
	for _, disturb := range []func(){line.Stall, line.Cut} {
		n := len(h.Order())
		queuetest.Eventually(t, "jobs are being done", func() bool { return len(h.Order()) > n+50 })
		disturb()
		<-time.After(700 * time.Millisecond)
		line.Mend()
		line.Resume()
	}
	allDone(t, client, jobs)
	if n := len(h.Order()); n > jobs+2*32 {
		t.Errorf("got %d attempts at %d jobs", n, jobs)
	}
}

func TestAWorkerStopsAlthoughRedisIsGone(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	line := queuetest.NewLine(t, addrOf(t, rdb))
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	begun, cut := make(chan struct{}), make(chan struct{})
	stop := queuetest.Run(t, faultConfig(dial(t, line.Addr()), prefix), &queuetest.Handler{
		Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
			close(begun)
			<-cut
			return queue.Reply{}, nil
		}})
	enqueueNamed(t, client, 1)
	<-begun
	line.Cut()
	close(cut)
	start := time.Now()
	stop()
	if took := time.Since(start); took > 12*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

func TestAFullRedisStillLetsJobsEnd(t *testing.T) {
	t.Parallel()
	server := queuetest.NewServer(t)
	rdb := dial(t, server.Addr())
	ctx := context.Background()
	client := queue.NewClient(rdb, queue.ClientOptions{})
	begun, full := make(chan struct{}), make(chan struct{})
	queuetest.Run(t, faultConfig(rdb, ""), &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		close(begun)
		<-full
		return queue.Reply{}, nil
	}})
	enqueueNamed(t, client, 1)
	<-begun
	if err := rdb.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatalf("CONFIG SET: %v", err)
	}
	if _, err := client.Enqueue(ctx, named(1)); !errors.Is(err, queue.ErrNoMemory) {
		t.Errorf("Enqueue: got %v, want ErrNoMemory", err)
	}
	close(full)
	queuetest.Eventually(t, "the job has left the stream", func() bool {
		return rdb.XLen(ctx, queue.StreamKey("", 0)).Val() == 0
	})
}

func TestTheSweepFindsACredentialThatNobodyAnnounced(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	cfg := faultConfig(rdb, prefix)
	cfg.Credentials = func(_ context.Context, secret string) (int64, error) {
		if secret != "s1" {
			return 0, errors.New("no such secret")
		}
		return 2, nil
	}
	var calls atomic.Int64
	queuetest.Run(t, cfg, &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		switch calls.Add(1) {
		case 1:
			return queue.Reply{}, &queue.ParkedError{Secret: "s0", Version: 1, Err: errors.New("535")}
		case 2:
			return queue.Reply{}, &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")}
		}
		return queue.Reply{}, nil
	}})
	enqueueNamed(t, client, 2)
	queuetest.Eventually(t, "the job of s1 is done and that of s0 is still parked", func() bool {
		s, err := client.Stats(context.Background())
		return err == nil && calls.Load() == 3 && s.Jobs[queue.Parked] == 1
	})
}

func TestPartitionsShareTheSlots(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix, Partitions: 4})
	const jobs = 400
	enqueueNamed(t, client, jobs)
	var anonymous []string
	for range 8 {
		receipts, err := client.Enqueue(context.Background(), queuetest.Job())
		if err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
		anonymous = append(anonymous, receipts[0].ID)
	}
	cfg := faultConfig(rdb, prefix)
	cfg.Partitions, cfg.Slots = 4, 8
	h := &queuetest.Handler{}
	queuetest.Run(t, cfg, h)
	allDone(t, client, jobs)
	for _, id := range anonymous {
		queuetest.Eventually(t, id+" is done", func() bool {
			s, err := client.Show(context.Background(), id)
			return err == nil && s.State == queue.Done
		})
	}
	if n := len(h.Order()); n != jobs+len(anonymous) {
		t.Errorf("got %d attempts, want %d", n, jobs+len(anonymous))
	}
	seen := map[byte]int{}
	for _, id := range anonymous {
		seen[id[1]]++
	}
	if len(seen) != 4 {
		t.Errorf("jobs without an id went to partitions %v, want all 4 in turn", seen)
	}
	done := 0
	for cursor := ""; ; {
		page, next, err := client.List(context.Background(), queue.Filter{State: queue.Done, Limit: 50, Cursor: cursor})
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if done += len(page); next == "" {
			break
		}
		cursor = next
	}
	if done != jobs+len(anonymous) {
		t.Errorf("listed %d done jobs, want %d", done, jobs+len(anonymous))
	}
}
