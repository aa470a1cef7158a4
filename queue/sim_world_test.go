package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

// simLine is a client whose connections can be cut.
type simLine struct {
	mini *miniredis.Miniredis
	rdb  *redis.Client

	mu    sync.Mutex
	conns []net.Conn
	down  bool
}

func (l *simLine) dial(context.Context, string, string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("the line is cut")
	}
	c, err := l.mini.Dial()
	if err == nil {
		l.conns = append(l.conns, c)
	}
	return c, err
}

func (l *simLine) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *simLine) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

func (l *simLine) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// simCounter counts commands; a pipeline is one round trip, but its commands count.
type simCounter struct{ n *atomic.Int64 }

func (c simCounter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c simCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}
func (c simCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// simPool is a worker process.
type simPool struct {
	index int
	world *world
	line  *simLine
	stop  func()
}

func (w *world) start(index int) *simPool {
	p := &simPool{index: index, world: w, line: w.newLine()}
	lease := time.Duration(0)
	if w.pace > 10000 { // renewals come each sixth of it, and cost a tenth of a simulated year
		lease = 10 * time.Minute
	}
	pool, err := queue.NewPool(queue.Paced(queue.PoolConfig{
		Redis: p.line.rdb, Slots: 8, LaneSlots: 4, Logger: quietLog(), Name: fmt.Sprint("w", index),
		Credentials: w.far.newest, LogRetention: simRetention, Lease: lease,
	}, w.pace), simHandler{p})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
		_ = p.line.rdb.Close()
	})
	return p
}

// lose cuts the pool's line: what it has done in the last moments, and what it
// does from now on, may be done again.
func (p *simPool) lose() {
	p.line.cut()
	p.world.far.excuse(p)
}

// regain mends the line. Outcomes that could not be written are written now.
func (p *simPool) regain() {
	p.world.far.excuse(p)
	p.line.mend()
}

// simJob is what the world knows of a job.
type simJob struct {
	n       int
	rng     *rand.Rand // of its answers
	limit   int
	expires time.Time
	ended   time.Time // of the last attempt
	at      *simPool  // that made it

	idle                  time.Time // since when it runs in no attempt, as far as we looked
	failed, sent, refused int
	before                int // farSide.lost when it was enqueued
	excuses               int // events that may make an attempt happen again
	running               map[*simPool]int
}

func (w *world) enqueue() {
	n := w.counts.jobs
	w.counts.jobs++
	j := &simJob{n: n, rng: rand.New(rand.NewPCG(w.rng.Uint64(), uint64(n))), running: map[*simPool]int{}, limit: queue.DefaultMaxAttempts}
	more := ""
	switch w.rng.IntN(10) {
	case 0:
		more = fmt.Sprintf(`,"not_before":%q`, time.Now().Add(time.Duration(w.rng.Int64N(int64(5*time.Hour)))).Format(time.RFC3339Nano))
	case 1:
		j.expires = time.Now().Add(time.Duration(w.rng.Int64N(int64(5 * time.Hour)))).Add(time.Second)
		more = fmt.Sprintf(`,"expires_at":%q`, j.expires.Format(time.RFC3339Nano))
	case 2:
		j.limit = 1 + w.rng.IntN(4)
		more = fmt.Sprintf(`,"max_attempts":%d`, j.limit)
	}
	w.far.mu.Lock() // a worker may have it before we know its id
	defer w.far.mu.Unlock()
	j.before = w.far.lost
	receipts, err := w.client.Enqueue(context.Background(), json.RawMessage(fmt.Sprintf(`{"action":{"type":"sim","n":%d}%s}`, n, more)))
	if err != nil {
		w.t.Errorf("Enqueue: %v", err)
		return
	}
	w.jobs[receipts[0].ID] = j
}

// look checks the jobs that have ended, and forgets them.
func (w *world) look() {
	ctx := context.Background()
	for id, j := range w.jobs {
		s, err := w.client.Show(ctx, id)
		if err != nil {
			w.t.Errorf("job %s is lost: %v; %+v", id, err, j)
			w.far.forget(id)
			continue
		}
		switch s.State {
		case queue.Done:
			w.counts.done++
		case queue.Expired:
			w.counts.expired++
		case queue.Dead:
			w.counts.dead++
			if n, err := w.client.RemoveDead(ctx, id); n != 1 || err != nil {
				w.t.Errorf("RemoveDead: %d, %v", n, err)
			}
		default:
			w.far.held(id, s, j)
			continue
		}
		w.far.check(id, s, j)
		w.far.forget(id)
	}
}
