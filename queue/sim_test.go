package queue_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sealpost/sealpost/queue"
)

// Years in a bubble of fake time: real pools, clients and scripts against a
// Redis in memory, a far side that does every bad thing, workers that stop, die
// and lose their line, and a credential that is changed. The world follows the
// seed. What pools roll for themselves (jitter) and the order of goroutines does
// not, so a seed that fails may have to be run a few times.

var (
	simSeed  = flag.Uint64("sim.seed", 1, "seed of the first simulated world")
	simHours = flag.Int("sim.hours", 0, "hours to simulate; 0: a few short worlds")
)

const simSettle = 100 // hours without new trouble, for the jobs that are left: 12 attempts an hour apart, and more

// simRetention is longer than the operator does not look.
const simRetention = 30 * 24 * time.Hour

// simRun is how one world goes: for so many hours, with something happening
// after a random time up to gap, and all polls so many times more seldom than
// they are, since a real one each 100 ms makes an hour take ten seconds.
type simRun struct {
	hours, pace int
	gap         time.Duration
}

// simRuns are worlds in which much happens, and worlds that go on for long.
func simRuns(hours int) (runs []simRun) {
	if hours == 0 {
		return []simRun{{3, 600, 15 * time.Minute}, {100, 36000, 8 * time.Hour}}
	}
	for i := 0; hours > 0; i++ {
		r := simRun{8000, 36000, 24 * time.Hour}
		if i%2 == 0 {
			r = simRun{100, 600, 30 * time.Minute}
		}
		runs = append(runs, r)
		hours -= r.hours + simSettle
	}
	return runs
}

func TestSimulatedWorlds(t *testing.T) {
	began := time.Now()
	var all simCounts
	for i, r := range simRuns(*simHours) {
		seed := *simSeed + uint64(i)
		ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSimWorld(t, seed, r.pace)
				w.live(r)
				all.add(w.counts)
				if t.Failed() {
					t.Logf("again: go test ./queue -run TestSimulatedWorlds -sim.seed %d -sim.hours %d", *simSeed, *simHours)
				}
			})
		})
		if !ok {
			break
		}
	}
	t.Logf("%.1f years in %v: %v", all.took.Hours()/24/365, time.Since(began).Round(time.Second), all)
}

// TestAnIdlePoolAsksRedisAtItsPace counts what a pool asks that has nothing to
// do: a promote each 100 ms, a read and a look for lost claims each 500 ms, what is
// learnt of others each second, the records of the last three minutes each 5 s, and a little.
func TestAnIdlePoolAsksRedisAtItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSimWorld(t, *simSeed, 1)
		before := w.calls.Load()
		time.Sleep(20 * time.Second)
		const pools, promotes, reads, looks, limits, records, sweeps, others = 2, 20 * 10, 20 * 2, 20 * 2, 20, 20 / 5 * 3, 3, 20
		if got, most := w.calls.Load()-before, int64(pools*(promotes*4/3+reads+(looks+limits+records+sweeps)*4/3+others)); got > most || got < pools*promotes/2 {
			t.Errorf("got %d calls in 20 s, want at most %d", got, most)
		}
		w.close()
	})
}

// simCounts is what a simulation went through.
type simCounts struct {
	jobs, attempts, done, dead, expired   int
	stops, crashes, cuts, rotations, sent int
	calls                                 int64
	took                                  time.Duration // by the bubble's clock
}

func (c *simCounts) add(o simCounts) {
	c.jobs += o.jobs
	c.attempts += o.attempts
	c.done += o.done
	c.dead += o.dead
	c.expired += o.expired
	c.stops += o.stops
	c.crashes += o.crashes
	c.cuts += o.cuts
	c.rotations += o.rotations
	c.sent += o.sent
	c.calls += o.calls
	c.took += o.took
}

func (c simCounts) String() string {
	return fmt.Sprintf("%d jobs, %d attempts; %d done, %d dead, %d expired; %d sent; %d stops, %d crashes, %d cut lines, %d rotations; %d calls",
		c.jobs, c.attempts, c.done, c.dead, c.expired, c.sent, c.stops, c.crashes, c.cuts, c.rotations, c.calls)
}

// world is one bubble.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	pace   int
	mini   *miniredis.Miniredis
	line   *simLine // of the producer and the operator
	client *queue.Client
	pools  [2]*simPool
	far    *farSide
	jobs   map[string]*simJob
	counts simCounts
	calls  atomic.Int64
}

func newSimWorld(t *testing.T, seed uint64, pace int) *world {
	redis.SetLogger(silent{}) // a cut line is a line of its log each second
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 0)), pace: pace, mini: miniredis.NewMiniRedis(), jobs: map[string]*simJob{}}
	w.mini.ClockTTL(true)
	w.line = w.newLine()
	w.client = queue.NewClient(w.line.rdb, queue.ClientOptions{LogRetention: simRetention})
	w.far = &farSide{world: w, version: 1, works: 1}
	for i := range w.pools {
		w.pools[i] = w.start(i)
	}
	return w
}

// live lets the world go on for a while, with trouble, and then until all jobs
// have ended.
func (w *world) live(r simRun) {
	start := time.Now()
	for time.Since(start) < time.Duration(r.hours)*time.Hour {
		time.Sleep(time.Duration(w.rng.Int64N(int64(r.gap))))
		w.happen()
		w.look()
	}
	for _, p := range w.pools {
		p.line.mend()
	}
	w.far.rotate()
	for h := 0; h < simSettle && len(w.jobs) > 0; h++ {
		time.Sleep(time.Hour)
		w.look()
	}
	for id, j := range w.jobs {
		s, err := w.client.Show(context.Background(), id)
		w.t.Errorf("job %s has not ended after %d quiet hours: %+v, %v; %+v", id, simSettle, s, err, j)
	}
	w.bounded(time.Since(start))
	w.counts.calls, w.counts.took = w.calls.Load(), time.Since(start)
	w.counts.sent, w.counts.attempts = w.far.counts()
	w.close()
}

// bounded checks that nothing spins: calls for each attempt, and so many an hour.
func (w *world) bounded(took time.Duration) {
	_, attempts := w.far.counts()
	hours := int64(took / time.Hour)
	perHour := int64(len(w.pools)) * (60*60*(10*4/3+4)/int64(w.pace) + 60)
	const perAttempt = 200 // promotes, hand-backs, renewals of slow ones: each 10 s of 10 minutes
	trouble := int64(w.counts.cuts) * 2000
	if most := perHour*hours + perAttempt*int64(attempts) + trouble; w.calls.Load() > most {
		w.t.Errorf("%d calls in %d hours with %d attempts, want at most %d: something spins", w.calls.Load(), hours, attempts, most)
	}
}

// happen is one event.
func (w *world) happen() {
	p := w.pools[w.rng.IntN(len(w.pools))]
	switch n := w.rng.IntN(100); {
	case n < 60:
		for range 1 + w.rng.IntN(4) {
			w.enqueue()
		}
	case n < 74:
		w.counts.stops++
		p.stop()
		w.pools[p.index] = w.start(p.index)
	case n < 80:
		w.counts.crashes++
		p.lose()
		p.stop()
		w.pools[p.index] = w.start(p.index)
	case n < 90:
		w.counts.cuts++
		p.lose()
		time.Sleep(time.Duration(w.rng.Int64N(int64(10 * time.Minute))))
		p.regain()
	case n < 95:
		w.far.spoil()
	default:
		w.far.rotate()
	}
}

func (w *world) close() {
	for _, p := range w.pools {
		p.stop()
	}
	_ = w.line.rdb.Close()
	w.mini.Close()
}

// newLine opens a client of its own.
func (w *world) newLine() *simLine {
	l := &simLine{mini: w.mini}
	l.rdb = redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", MaxRetries: -1, PoolSize: 20, Dialer: l.dial, ContextTimeoutEnabled: true,
		DialTimeout: time.Second, DisableIdentity: true, Protocol: 2, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	l.rdb.AddHook(simCounter{&w.calls})
	return l
}

// silent is a logger of go-redis.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
