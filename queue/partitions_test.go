package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// ledger is a producer of jobs with ids and what came of them.
type ledger struct {
	t      *testing.T
	rdb    redis.UniversalClient
	prefix string
	h      *queuetest.Handler
	next   int
}

// put sends n more jobs through a client of that many partitions.
func (l *ledger) put(partitions, n int) {
	l.t.Helper()
	c := queue.NewClient(l.rdb, queue.ClientOptions{Prefix: l.prefix, Partitions: partitions})
	for range n {
		if _, err := c.Enqueue(context.Background(), named(l.next)); err != nil {
			l.t.Fatalf("Enqueue: %v", err)
		}
		l.next++
	}
}

// settled waits until all jobs are done, each once.
func (l *ledger) settled() {
	l.t.Helper()
	c := queue.NewClient(l.rdb, queue.ClientOptions{Prefix: l.prefix})
	allDone(l.t, c, l.next)
	for i := range l.next {
		if n := l.h.Count(fmt.Sprintf("n%d", i)); n != 1 {
			l.t.Errorf("job %d: got %d attempts, want 1", i, n)
		}
	}
}

func TestThePartitionsGoFromFourToTwoToEightUnderLoad(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	l := &ledger{t: t, rdb: rdb, prefix: prefix, h: &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		<-time.After(2 * time.Millisecond)
		return queue.Reply{}, nil
	}}}
	start := func(partitions int) (stop func()) {
		cfg := faultConfig(rdb, prefix)
		cfg.Partitions = partitions
		return queuetest.Run(t, queue.LookOften(cfg), l.h)
	}
	stop := []func(){start(4), start(4)}
	was := 4
	l.put(was, 400)
	for _, next := range []int{2, 8} {
		// A rolling restart: one worker after the other, while producers of both
		// numbers put jobs.
		for i := range stop {
			l.put(was, 150)
			stop[i]()
			l.put(next, 150)
			stop[i] = start(next)
		}
		was = next
	}
	l.put(was, 150)
	l.settled()
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	s, err := c.Stats(context.Background())
	if err != nil || s.Partitions != 8 {
		t.Errorf("Stats: got %d partitions, %v; want the 8 that jobs were in", s.Partitions, err)
	}
	done := 0
	for cursor := ""; ; {
		page, next, err := c.List(context.Background(), queue.Filter{State: queue.Done, Limit: 500, Cursor: cursor})
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if done += len(page); next == "" {
			break
		}
		cursor = next
	}
	if done != l.next {
		t.Errorf("a client of one partition lists %d done jobs, want %d", done, l.next)
	}
}

func TestAWorkerOfOnePartitionEmptiesTheOthers(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	l := &ledger{t: t, rdb: rdb, prefix: prefix, h: &queuetest.Handler{}}
	l.put(8, 200) // nobody works yet
	cfg := faultConfig(rdb, prefix)
	queuetest.Run(t, cfg, l.h)
	l.settled()
}

func TestDeadAndParkedJobsOfOldPartitionsAreFound(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rdb, prefix := queuetest.Redis(t)
	wide := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix, Partitions: 16})
	var jobs []json.RawMessage
	for i := range 40 {
		jobs = append(jobs, named(i))
	}
	if _, err := wide.Enqueue(ctx, jobs...); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	var mu sync.Mutex
	n := 0
	queuetest.Run(t, faultConfig(rdb, prefix), &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		switch n++; {
		case n <= 20:
			return queue.Reply{}, queue.Permanent(fmt.Errorf("no"))
		case n <= 40:
			return queue.Reply{}, &queue.ParkedError{Secret: "s1", Version: 1, Err: fmt.Errorf("535")}
		}
		return queue.Reply{}, nil
	}})
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	queuetest.Eventually(t, "20 are dead and 20 parked", func() bool {
		s, err := c.Stats(ctx)
		return err == nil && s.Jobs[queue.Dead] == 20 && s.Jobs[queue.Parked] == 20
	})
	letters, next, err := c.DeadList(ctx, 100, "")
	if err != nil || len(letters) != 20 || next != "" {
		t.Fatalf("DeadList: got %d, next %q, %v; want 20", len(letters), next, err)
	}
	for _, l := range letters {
		if moved, err := c.RetryDead(ctx, l.Ref); err != nil || moved != 1 {
			t.Errorf("RetryDead: got %d, %v; want 1", moved, err)
		}
	}
	if released, err := c.CredentialChanged(ctx, "s1", 2); err != nil || released != 20 {
		t.Errorf("CredentialChanged: got %d, %v; want 20", released, err)
	}
	allDone(t, c, 40)
}
