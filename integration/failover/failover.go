// Package failover kills the primary of a Redis with replicas while jobs go in and
// out, and counts what came of it.
//
// A run starts a primary with a replica and three sentinels, or a cluster of three
// and three; the replication stream of every node is held back by a random time, and
// dies with its node. Producers enqueue jobs with ids of their own, each again until
// it is accepted; a pool does them. The primary is killed with kill -9 again and
// again. At the end the accepted ids are compared with those that were done.
package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/queue"
)

const (
	ackTimeout = time.Second            // longer than the lag, or nothing would be accepted
	between    = time.Second            // of load before each kill
	again      = 20 * time.Millisecond  // until a producer tries again
	pace       = 20 * time.Millisecond  // between two jobs of a producer: a machine too busy looks dead to sentinels
	look       = 100 * time.Millisecond // between looks at an emptying queue
	patience   = 2 * time.Minute        // for the queue to be empty in the end
	partitions = 6                      // in a cluster
)

// Config says what a run does. The zero value of a field means the default.
type Config struct {
	// Dir is where all processes keep their files. No default.
	Dir string
	// Cluster takes a cluster of three and three instead of sentinels.
	Cluster bool
	// Failovers is how often a primary is killed. Default 20.
	Failovers int
	// Level is what producers wait for. Default memory.
	Level queue.Durability
	// Least and Most are the lag of replication. Default 200 to 500 ms.
	Least, Most time.Duration
	// Producers is how many send at once. Default 16.
	Producers int
	// Logf gets a line for each step. Nil: silence.
	Logf func(format string, args ...any)
}

// Result is what a run has found.
type Result struct {
	Kind      string           `json:"kind"`
	Level     queue.Durability `json:"level"`
	Failovers int              `json:"failovers"`
	Accepted  int              `json:"accepted"` // ids that Enqueue acknowledged
	Done      int              `json:"done"`     // of these, done at least once
	Lost      int              `json:"lost"`     // of these, never done and in no place any more
	Again     int              `json:"again"`    // attempts at jobs that had been done: their record was lost
	Resent    int              `json:"resent"`   // enqueues that failed or were not acknowledged and were sent again
	Seconds   float64          `json:"seconds"`
}

// Err is nil if no acknowledged job was lost.
func (r Result) Err() error {
	if r.Lost > 0 {
		return fmt.Errorf("%d of %d accepted jobs are lost", r.Lost, r.Accepted)
	}
	return nil
}

// String is the line that "make failover" prints.
func (r Result) String() string {
	return fmt.Sprintf("%s, level %s: failovers %d, accepted %d, done %d, lost %d, done again %d, sent again %d, %.1f s",
		r.Kind, r.Level, r.Failovers, r.Accepted, r.Done, r.Lost, r.Again, r.Resent, r.Seconds)
}

// group is a Redis with replicas.
type group interface {
	Failover() error
	Client() redis.UniversalClient
}

type lines interface {
	Lines() []*peers.Lag
	Close() error
}

func start(c Config) (group, lines, error) {
	if c.Cluster {
		g, err := peers.StartCluster(c.Dir)
		return g, g, err
	}
	g, err := peers.StartSentinel(c.Dir)
	return g, g, err
}

func withDefaults(c Config) Config {
	if c.Failovers == 0 {
		c.Failovers = 20
	}
	if c.Level == "" {
		c.Level = queue.Memory
	}
	if c.Most == 0 {
		c.Least, c.Most = 200*time.Millisecond, 500*time.Millisecond
	}
	if c.Producers == 0 {
		c.Producers = 16
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return c
}

// Run does one run. The error is for what kept it from coming to an end; look at
// [Result.Err] for the verdict.
func Run(ctx context.Context, c Config) (Result, error) {
	c = withDefaults(c)
	g, l, err := start(c)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = l.Close() }()
	for _, line := range l.Lines() {
		line.Set(c.Least, c.Most)
	}
	r := &run{Config: c, accepted: map[string]bool{}, done: map[string]int{}}
	r.parts = 1
	result := Result{Kind: "sentinel"}
	if c.Cluster {
		r.parts, result.Kind = partitions, "cluster"
	}
	r.rdb = g.Client()
	defer func() { _ = r.rdb.Close() }()
	began := time.Now()
	if err := r.work(ctx, g); err != nil {
		return Result{}, err
	}
	result.Level, result.Failovers, result.Seconds = c.Level, c.Failovers, time.Since(began).Seconds()
	r.count(&result)
	return result, nil
}

// run is one run in progress.
type run struct {
	Config
	rdb   redis.UniversalClient
	parts int

	mu       sync.Mutex
	accepted map[string]bool
	done     map[string]int
	resent   int
	refusal  error // why the last enqueue was not accepted
}

// work runs producers and a pool while primaries are killed, and then until the
// queue is empty. At every other kill nobody works, so that all that was accepted
// since is in the queue and can be lost; at the others jobs are in all places.
func (r *run) work(ctx context.Context, g group) error {
	client := queue.NewClient(r.rdb, queue.ClientOptions{Partitions: r.parts, Durability: r.Level, AckTimeout: ackTimeout})
	producing, stopLoad := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer load.Wait()
	defer stopLoad()
	for p := range r.Producers {
		load.Go(func() { r.produce(producing, client, p) })
	}
	for i := range r.Failovers {
		if err := r.round(ctx, g, i); err != nil {
			return fmt.Errorf("failover %d: %w", i+1, err)
		}
	}
	stopLoad()
	load.Wait()
	return r.working(ctx, func() error { return r.emptied(ctx, client) })
}

// round is one kill.
func (r *run) round(ctx context.Context, g group, i int) error {
	began, before := time.Now(), r.sizes()
	kill := func() error {
		rest(ctx, between)
		began = time.Now()
		return g.Failover()
	}
	var err error
	if i%2 == 0 {
		if err = kill(); err == nil {
			err = r.working(ctx, func() error { rest(ctx, between); return nil })
		}
	} else {
		err = r.working(ctx, kill)
	}
	if err == nil {
		now := r.sizes()
		r.Logf("failover %d of %d, %.1f s, %d jobs accepted", i+1, r.Failovers, time.Since(began).Seconds(), now)
		if now == before {
			err = r.starved()
		}
	}
	return err
}

// starved is the error of a round in which nothing was accepted: a run that goes on
// like that would count failovers that nobody sees.
func (r *run) starved() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Errorf("no job was accepted, the last for: %w", r.refusal)
}

// working runs a pool while do runs.
func (r *run) working(ctx context.Context, do func() error) error {
	pool, err := queue.NewPool(queue.PoolConfig{
		Redis: r.rdb, Partitions: r.parts, Slots: 64, LaneSlots: 64, Lease: queue.MinLease, Name: "failover",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, r)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	err = do()
	stop()
	return errors.Join(err, <-ended)
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// produce sends jobs until ctx ends, each until it is accepted.
func (r *run) produce(ctx context.Context, client *queue.Client, p int) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("p%d-%d", p, i)
		job := json.RawMessage(`{"id":"` + id + `","action":{"type":"count"}}`)
		for ctx.Err() == nil {
			_, err := client.Enqueue(ctx, job)
			if err == nil {
				r.accept(id)
				break
			}
			r.notAccepted(err)
			rest(ctx, again)
		}
		rest(ctx, pace)
	}
}

func (r *run) accept(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted[id] = true
}

func (r *run) notAccepted(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resent++
	r.refusal = err
}

func (r *run) sizes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.accepted)
}

// emptied waits until nothing is in any place.
func (r *run) emptied(ctx context.Context, client *queue.Client) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ctx.Err() == nil {
		s, err := client.Stats(ctx)
		var left int64
		for _, n := range s.Jobs {
			left += n
		}
		if err == nil && left == 0 {
			return nil
		}
		rest(ctx, look)
	}
	return fmt.Errorf("the queue is not empty: %w", context.Cause(ctx))
}

func (r *run) count(result *Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result.Accepted, result.Resent = len(r.accepted), r.resent
	for id := range r.accepted {
		if r.done[id] > 0 {
			result.Done++
		} else {
			result.Lost++
		}
	}
	for _, n := range r.done {
		result.Again += n - 1
	}
}

// Prepare makes the run the handler of its pool.
func (r *run) Prepare(*queue.Job) (queue.Work, error) { return work{r}, nil }

// work counts a job.
type work struct{ r *run }

// Kind implements queue.Work.
func (work) Kind() string { return "count" }

// Lane implements queue.Work.
func (work) Lane() string { return "count" }

// Do implements queue.Work.
func (w work) Do(_ context.Context, c *queue.Claim) (queue.Reply, error) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.done[c.Job.ID]++
	return queue.Reply{Stage: "done"}, nil
}
