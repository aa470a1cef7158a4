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
	done    []time.Time
	refused []time.Time
}

var errTooMuch = errors.New("450 4.7.1 too much mail")

// take is one job at the destination; mine counts what this process has open.
func (b *bearing) take(mine *int, took time.Duration) error {
	b.mu.Lock()
	now := time.Now()
	if b.most > 0 && b.open >= b.most {
		b.refused = append(b.refused, now)
		count := *mine
		b.mu.Unlock()
		return &queue.ThrottledError{Lesson: queue.ConnectionLimit, Count: count, Err: errTooMuch}
	}
	if s := now.Unix(); s != b.second {
		b.second, b.inIt = s, 0
	}
	if b.rate > 0 && b.inIt >= b.rate {
		b.refused = append(b.refused, now)
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
	b.done = append(b.done, time.Now())
	return nil
}

func (b *bearing) allow(rate int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = rate
}

// within counts what was done and refused from and to a moment after start.
func (b *bearing) within(start time.Time, from, to time.Duration) (done, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	count := func(list []time.Time) (n int) {
		for _, t := range list {
			if d := t.Sub(start); d >= from && d < to {
				n++
			}
		}
		return n
	}
	return count(b.done), count(b.refused)
}

func (b *bearing) total() (done, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.done), len(b.refused)
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

func TestTwoPoolsLearnOneRateAndARestartKeepsIt(t *testing.T) {
	t.Parallel()
	const rate, jobs = 100, 4000
	rdb, prefix := queuetest.Redis(t)
	c := backlog(t, rdb, prefix, jobs)
	b := &bearing{rate: rate}
	stop := b.worker(t, paceConfig(rdb, prefix), time.Millisecond)
	b.worker(t, paceConfig(rdb, prefix), time.Millisecond)
	queuetest.Eventually(t, "the rate is learnt", func() bool { return len(lanesOf(t, c)) == 1 })
	start := time.Now()
	l := lanesOf(t, c)[0]
	if l.Rate <= 0 || l.Rate > 3*rate || l.Code != "450 4.7.1" || l.Rule != "rate" || l.HeldUntil.IsZero() {
		t.Errorf("the lane is shown as %+v", l)
	}
	<-time.After(11 * time.Second)
	done, refused := b.within(start, 5*time.Second, 11*time.Second) // by then the guess has doubled a few times
	t.Logf("of %d a second: %d done and %d refused in 6 s; lane %+v", rate, done, refused, lanesOf(t, c))
	if done < 6*rate/2 || refused > done/20 {
		t.Errorf("once the rate of %d was learnt: got %d done and %d refused in 6 s", rate, done, refused)
	}
	stop()
	b.worker(t, paceConfig(rdb, prefix), time.Millisecond)
	again := time.Now()
	<-time.After(4 * time.Second)
	done, refused = b.within(again, 0, 4*time.Second)
	t.Logf("after a restart: %d done, %d refused in 4 s", done, refused)
	if done < 4*rate/3 || refused > done/10 {
		t.Errorf("after a restart: got %d done and %d refused in 4 s", done, refused)
	}
}

func TestALimitThatIsLiftedIsForgotten(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	c := backlog(t, rdb, prefix, 100)
	b := &bearing{rate: 50}
	for range 2 {
		b.worker(t, queue.Recovering(paceConfig(rdb, prefix), 200*time.Millisecond), time.Millisecond)
	}
	queuetest.Eventually(t, "the rate is learnt", func() bool { l := lanesOf(t, c); return len(l) == 1 && l[0].Rate > 0 })
	b.allow(0)
	queuetest.Eventually(t, "the limit is forgotten", func() bool {
		backlog(t, rdb, prefix, 20)
		return len(lanesOf(t, c)) == 0
	})
}

func TestTwoPoolsLearnTheConnections(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	const most, jobs = 5, 3000
	c := backlog(t, rdb, prefix, jobs)
	b := &bearing{most: most}
	for range 2 {
		b.worker(t, paceConfig(rdb, prefix), 10*time.Millisecond)
	}
	queuetest.Eventually(t, "the number is learnt", func() bool { l := lanesOf(t, c); return len(l) == 1 && l[0].Connections > 0 })
	start := time.Now()
	<-time.After(6 * time.Second)
	done, refused := b.within(start, 3*time.Second, 6*time.Second)
	t.Logf("%d done and %d refused in 3 s; lane %+v", done, refused, lanesOf(t, c))
	if done < 20 || refused > 5 {
		t.Errorf("with %d connections at most: got %d done and %d refused in 3 s, want some, though a hold may lie in them, and next to none refused", most, done, refused)
	}
	if l := lanesOf(t, c); len(l) != 1 || l[0].Connections < 1 || l[0].Connections > most+1 {
		t.Errorf("got %+v, want about %d connections", l, most)
	}
}

// deadServer is a destination that does not answer until it is mended.
type deadServer struct {
	mu       sync.Mutex
	attempts []time.Time
	mended   bool
}

func (s *deadServer) do(context.Context, *queue.Claim) (queue.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mended {
		return queue.Reply{}, nil
	}
	s.attempts = append(s.attempts, time.Now())
	return queue.Reply{Stage: "dial", Text: "connection refused"}, errors.New("connection refused")
}

func (s *deadServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attempts)
}

func TestFourPoolsSendOneProbe(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	c := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	far := &deadServer{}
	h := &queuetest.Handler{Do: far.do}
	cfg := paceConfig(rdb, prefix)
	cfg.LaneSlots, cfg.MaxAttempts = 1, 1000
	queuetest.Run(t, cfg, h)
	backlog(t, rdb, prefix, 200)
	broken := func() bool { l := lanesOf(t, c); return len(l) == 1 && !l[0].BrokenSince.IsZero() }
	queuetest.Eventually(t, "the lane is broken", broken)
	if l := lanesOf(t, c)[0]; l.Text != "connection refused" || l.NextProbe.IsZero() {
		t.Errorf("the lane is shown as %+v", l)
	}
	before := far.count()
	for range 3 { // restarted processes
		queuetest.Run(t, cfg, h)
	}
	<-time.After(6 * time.Second)
	// The pauses are 1, 2, 4 s: probes after 1, 3 and 7.
	if n := far.count() - before; n < 1 || n > 3 {
		t.Errorf("got %d attempts by four processes in 6 s, want one for each pause: 2 or 3", n)
	}
	far.mu.Lock()
	far.mended = true
	far.mu.Unlock()
	queuetest.Eventually(t, "a probe mends the lane for all", func() bool { return len(lanesOf(t, c)) == 0 })
	<-time.After(1500 * time.Millisecond) // a process learns of it within a second
	for range 20 {
		r, err := c.Enqueue(t.Context(), json.RawMessage(`{"action":{"type":"test"}}`))
		if err != nil {
			t.Fatal(err)
		}
		queuetest.Eventually(t, "a new job is done", func() bool {
			s, err := c.Show(t.Context(), r[0].ID)
			if s.Handbacks > 0 {
				t.Fatalf("a process still holds the lane back: %+v", s)
			}
			return err == nil && s.State == queue.Done
		})
	}
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
			reply := pace(t, rdb, prefix, "share", me, 60000, 200, 60000, lane, 0, 20, running[me], 0)
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

func TestTokensComeAtTheRateOfAllTogether(t *testing.T) {
	t.Parallel()
	rdb, prefix := queuetest.Redis(t)
	pace(t, rdb, prefix, "teach", "l", "w0", 60000, "rate", 100, 0, 1, "450", "rate", "", 500)
	if err := rdb.HSet(t.Context(), queue.PaceKey(prefix), "l", `{"w":100,"r":100,"rs":32000,"rt":1}`).Err(); err != nil {
		t.Fatal(err)
	}
	start, got := time.Now(), 0
	for i := 0; time.Since(start) < 2*time.Second; i++ {
		n := 0
		_, _ = fmt.Sscan(pace(t, rdb, prefix, "share", fmt.Sprint("w", i%5), 60000, 200, 3000, "l", 50, 0, 0, 0)[1], &n)
		got += n
		<-time.After(5 * time.Millisecond)
	}
	if most := int(time.Since(start).Seconds()*100) + 25; got > most || got < 150 {
		t.Errorf("got %d tokens in 2 s at 100 a second, want 150 to %d", got, most)
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
