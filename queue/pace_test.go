package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// bearing is a destination that refuses what is too much for it.
type bearing struct {
	mu      sync.Mutex
	rate    int // jobs in a second of the clock; 0: any number
	most    int // jobs at once; 0: any number
	open    int
	second  int64
	inIt    int
	done    int
	refused int
}

var errTooMuch = errors.New("450 4.7.1 too much mail")

// take is one job at the destination; mine counts what this process has open.
func (b *bearing) take(mine *int, took time.Duration) error {
	b.mu.Lock()
	now := time.Now()
	if b.most > 0 && b.open >= b.most {
		b.refused++
		count := *mine
		b.mu.Unlock()
		return &queue.ThrottledError{Lesson: queue.ConnectionLimit, Count: count, Err: errTooMuch}
	}
	if s := now.Unix(); s != b.second {
		b.second, b.inIt = s, 0
	}
	if b.rate > 0 && b.inIt >= b.rate {
		b.refused++
		b.mu.Unlock()
		return &queue.ThrottledError{Lesson: queue.RateLimit, Err: errTooMuch}
	}
	b.inIt++
	b.open++
	*mine++
	b.mu.Unlock()
	<-time.After(took)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	*mine--
	b.done++
	return nil
}

func (b *bearing) allow(rate int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = rate
}

func (b *bearing) total() (done, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done, b.refused
}

// worker is a process that sends to the destination.
func (b *bearing) worker(t *testing.T, cfg queue.PoolConfig, took time.Duration) (stop func()) {
	mine := 0
	return queuetest.Run(t, cfg, &queuetest.Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		return queue.Reply{Code: "450 4.7.1", Rule: "rate"}, b.take(&mine, took)
	}})
}

func paceConfig(rdb redis.UniversalClient, prefix string) queue.PoolConfig {
	cfg := faultConfig(rdb, prefix)
	cfg.Slots, cfg.LaneSlots = 128, 32
	return cfg
}

func backlog(t *testing.T, rdb redis.UniversalClient, prefix string, n int) *queue.Client {
	t.Helper()
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	for n > 0 {
		jobs := make([]json.RawMessage, min(n, queue.MaxBatch))
		for i := range jobs {
			jobs[i] = json.RawMessage(`{"action":{"type":"test"}}`)
		}
		if _, err := c.Enqueue(t.Context(), jobs...); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
		n -= len(jobs)
	}
	return c
}

func lanesOf(t *testing.T, c *queue.Client) []queue.LaneState {
	t.Helper()
	list, err := c.Lanes(t.Context())
	if err != nil {
		t.Fatalf("Lanes: %v", err)
	}
	return list
}

// deadServer is a destination that does not answer until it is mended.
type deadServer struct {
	mu       sync.Mutex
	attempts int
	mended   bool
}

func (s *deadServer) do(context.Context, *queue.Claim) (queue.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mended {
		return queue.Reply{}, nil
	}
	s.attempts++
	return queue.Reply{Stage: "dial", Text: "connection refused"}, errors.New("connection refused")
}

func (s *deadServer) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mended = true
}

func (s *deadServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts
}

// pace calls the script.
func pace(t *testing.T, rdb redis.UniversalClient, prefix string, args ...any) []string {
	t.Helper()
	reply, err := queue.Moves["pace"].Run(t.Context(), rdb, []string{queue.PaceKey(prefix)}, args...).StringSlice()
	if err != nil {
		t.Fatalf("pace %v: %v", args, err)
	}
	return reply[1:]
}

func TestConnectionsAreSplitAndNeverExceeded(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	for _, most := range []int{1, 2, 5, 7} {
		lane := fmt.Sprint("l", most)
		pace(t, rdb, prefix, "teach", lane, "w0", 60000, "connections", most, 20, 0, "421", "connections", "", 500)
		running, had := map[string]int{}, map[string]int{}
		for turn := range 40 {
			me := fmt.Sprint("w", turn%3)
			reply := pace(t, rdb, prefix, "share", me, 60000, 200, 60000, lane, 0, 20, running[me], 0, 0)
			if _, err := fmt.Sscan(reply[2], new(int)); err != nil {
				t.Fatal(err)
			}
			n := 0
			_, _ = fmt.Sscan(reply[2], &n)
			running[me], had[me] = n, max(had[me], n)
			if sum := running["w0"] + running["w1"] + running["w2"]; sum > most {
				t.Fatalf("%d of %d connections are given away: %v", sum, most, running)
			}
		}
		if most >= 3 && (running["w0"] < most/3 || running["w1"] < most/3 || running["w2"] < most/3) {
			t.Errorf("%d connections are split as %v", most, running)
		}
	}
}

func TestWhatIsUnderWayCountsOnce(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	var first, last struct {
		R float64 `json:"r"`
		H float64 `json:"h"`
	}
	for i := range 50 {
		reply := pace(t, rdb, prefix, "teach", "l", "w0", 60000, "rate", 40, 0, 0, "450", "rate", "", 500)
		into := &last
		if i == 0 {
			into = &first
		}
		if err := json.Unmarshal([]byte(reply[0]), into); err != nil {
			t.Fatal(err)
		}
	}
	if first.R != 40*0.85 || last != first {
		t.Errorf("got %+v after the first and %+v after 50 refusals at once, want the same", first, last)
	}
}

func TestJobsAreDoneWithoutTheHashOfLanes(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	if err := rdb.Set(t.Context(), queue.PaceKey(prefix), "wrong", 0).Err(); err != nil {
		t.Fatal(err)
	}
	b := &bearing{rate: 20}
	backlog(t, rdb, prefix, 60)
	b.worker(t, paceConfig(rdb, prefix), time.Millisecond)
	queuetest.Eventually(t, "all is done", func() bool { done, _ := b.total(); return done == 60 })
	if _, refused := b.total(); refused == 0 {
		t.Error("nothing was refused")
	}
}
