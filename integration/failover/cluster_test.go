package failover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

const soon = 30 * time.Second

func poolConfig(rdb redis.UniversalClient, partitions int) queue.PoolConfig {
	return queue.PoolConfig{Redis: rdb, Partitions: partitions, Slots: 32, Lease: queue.MinLease, Grace: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Backoff: func(int) time.Duration { return 20 * time.Millisecond }}
}

func named(i int) json.RawMessage { return queuetest.Job(fmt.Sprintf(`"id":"n%d"`, i)) }

// load sends jobs until stop, each until it is accepted, and returns how many.
func load(c *queue.Client) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var producer sync.WaitGroup
	n := 0
	producer.Go(func() {
		for ; ctx.Err() == nil; n++ {
			for {
				if _, err := c.Enqueue(context.Background(), named(n)); err == nil {
					break
				}
				<-time.After(10 * time.Millisecond)
			}
		}
	})
	return func() int {
		cancel()
		producer.Wait()
		return n
	}
}

// allDone waits until the handler has had n named jobs.
func allDone(t *testing.T, h *queuetest.Handler, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("n%d", i)
		peers.Eventually(t, soon, id, func() error {
			if h.Count(id) == 0 {
				return fmt.Errorf("not done")
			}
			return nil
		})
	}
}

func TestSlotsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	const partitions = 6
	for _, level := range []queue.Durability{queue.Memory, queue.Replica} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			cluster := peers.NewCluster(t)
			rdb := cluster.Client()
			t.Cleanup(func() { _ = rdb.Close() })
			h := &queuetest.Handler{}
			queuetest.Run(t, poolConfig(rdb, partitions), h)
			client := queue.NewClient(rdb, queue.ClientOptions{Partitions: partitions, Durability: level, AckTimeout: time.Second})
			stop := load(client)
			for p := range partitions {
				before := len(h.Order())
				peers.Eventually(t, soon, "jobs to be done", func() error {
					if len(h.Order()) < before+50 {
						return fmt.Errorf("%d", len(h.Order())-before)
					}
					return nil
				})
				err := cluster.MoveSlot(queue.StreamKey("", p), func() {
					<-time.After(300 * time.Millisecond) // the load meets TRYAGAIN and ASK
				})
				if err != nil {
					t.Fatalf("move partition %d: %v", p, err)
				}
			}
			n := stop()
			allDone(t, h, n)
			t.Logf("%d jobs, %d attempts", n, len(h.Order()))
			if got := len(h.Order()); got > n+partitions*32 {
				t.Errorf("got %d attempts at %d jobs", got, n)
			}
		})
	}
}

func TestScriptsAreLostUnderLoadInACluster(t *testing.T) {
	t.Parallel()
	const partitions = 6
	cluster := peers.NewCluster(t)
	rdb := cluster.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	h := &queuetest.Handler{}
	queuetest.Run(t, poolConfig(rdb, partitions), h)
	stop := load(queue.NewClient(rdb, queue.ClientOptions{Partitions: partitions}))
	for range 10 {
		before := len(h.Order())
		for _, n := range cluster.Nodes {
			c := n.Client()
			err := c.ScriptFlush(t.Context()).Err()
			_ = c.Close()
			if err != nil {
				t.Fatalf("SCRIPT FLUSH: %v", err)
			}
		}
		peers.Eventually(t, soon, "jobs to be done", func() error {
			if len(h.Order()) < before+50 {
				return fmt.Errorf("%d", len(h.Order())-before)
			}
			return nil
		})
	}
	n := stop()
	allDone(t, h, n)
	if got := len(h.Order()); got != n {
		t.Errorf("got %d attempts at %d jobs", got, n)
	}
}

// The replica is promoted without the last writes: what was done in them is done
// again, the group is made again, and nobody has to start anything.
func TestAReplicaIsPromotedWithoutTheLastWrites(t *testing.T) {
	t.Parallel()
	s := peers.NewSentinel(t)
	rdb := s.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	client := queue.NewClient(rdb, queue.ClientOptions{})
	const early, late = 20, 20
	for i := range early {
		if _, err := client.Enqueue(t.Context(), named(i)); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
	}
	peers.Eventually(t, soon, "the replica to have them", func() error {
		c := s.Nodes[1].Client()
		defer c.Close()
		if n, err := c.XLen(t.Context(), queue.StreamKey("", 0)).Result(); err != nil || n != early {
			return fmt.Errorf("%d, %w", n, err)
		}
		return nil
	})
	for _, l := range s.Lines() {
		l.Set(time.Hour, time.Hour) // from now on nothing arrives
	}
	h := &queuetest.Handler{}
	queuetest.Run(t, poolConfig(rdb, 1), h) // the group is made in the part that is lost
	for i := early; i < early+late; i++ {
		if _, err := client.Enqueue(t.Context(), named(i)); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
	}
	allDone(t, h, early+late)
	for _, l := range s.Lines() {
		l.Set(0, 0)
	}
	if err := s.Failover(); err != nil {
		t.Fatal(err)
	}
	peers.Eventually(t, soon, "the early jobs to be done again", func() error {
		for i := range early {
			if n := h.Count(fmt.Sprintf("n%d", i)); n != 2 {
				return fmt.Errorf("job %d was done %d times", i, n)
			}
		}
		return nil
	})
	// A late one was forgotten with its id: sent again it is a new job.
	receipts, err := client.Enqueue(t.Context(), named(early), named(0))
	if err != nil || receipts[0].Duplicate || !receipts[1].Duplicate {
		t.Errorf("got %+v, %v; want a new job and a duplicate", receipts, err)
	}
}

func TestAFullClusterRefusesAndRunningJobsEnd(t *testing.T) {
	t.Parallel()
	const partitions = 6
	cluster := peers.NewCluster(t)
	rdb := cluster.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	client := queue.NewClient(rdb, queue.ClientOptions{Partitions: partitions})
	begun, full := make(chan struct{}, 100), make(chan struct{})
	h := &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		begun <- struct{}{}
		<-full
		return queue.Reply{}, nil
	}}
	queuetest.Run(t, poolConfig(rdb, partitions), h)
	const jobs = 12
	for i := range jobs {
		if _, err := client.Enqueue(t.Context(), named(i)); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
	}
	for range jobs {
		<-begun
	}
	for _, n := range cluster.Nodes {
		c := n.Client()
		err := c.ConfigSet(t.Context(), "maxmemory", "1").Err()
		_ = c.Close()
		if err != nil {
			t.Fatalf("CONFIG SET: %v", err)
		}
	}
	if _, err := client.Enqueue(t.Context(), named(jobs)); !errors.Is(err, queue.ErrNoMemory) {
		t.Errorf("Enqueue: got %v, want ErrNoMemory", err)
	}
	close(full)
	for p := range partitions {
		peers.Eventually(t, soon, "the jobs to leave the streams", func() error {
			n, err := rdb.XLen(t.Context(), queue.StreamKey("", p)).Result()
			if err != nil || n != 0 {
				return fmt.Errorf("%d left, %w", n, err)
			}
			return nil
		})
	}
}
