// Package bench measures the queue on somebody's own Redis.
//
// A run enqueues no-op jobs in bulk, drains them with the whole protocol on
// (leases, retries, a record of each attempt), and then sends jobs one by one at a
// steady rate and takes the time from enqueue to start. All its keys begin with a
// prefix of the run's own, so that it never sees a real job, and are removed at the
// end, also when the run is broken off.
//
// `sealpost bench` is this package.
package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

// Defaults of a [Config].
const (
	DefaultJobs  = 100_000
	DefaultSlots = 200
	DefaultRate  = 500 // jobs a second
	DefaultFor   = 4 * time.Second
)

// Bounds of a [Config].
const (
	MaxJobs  = queue.DefaultQueueMax
	MaxSlots = 10_000 // as SEALPOST_SLOTS
	MaxRate  = 20_000 // jobs a second, each from a goroutine of its own
	MaxFor   = 10 * time.Minute
)

const (
	batch     = 100 // jobs of one Enqueue
	producers = 2   // goroutines that enqueue
)

// Config says what a run does. Only Redis is required.
type Config struct {
	// Redis is what is measured. Its MaxRetries must be -1, and its PoolSize leave
	// room for a blocking read of each partition.
	Redis      redis.UniversalClient
	Jobs       int              // that are enqueued and drained; 0 means DefaultJobs
	Slots      int              // jobs at once; 0 means DefaultSlots
	Partitions int              // 0 means 1
	Durability queue.Durability // what an enqueue waits for; "" means memory
	Rate       int              // of the jobs that are timed, a second; 0 means DefaultRate
	For        time.Duration    // how long those are sent; 0 means DefaultFor
	// Progress, if set, is told often how far the run is, one call at a time.
	Progress func(stage string, done, of int64)
}

// Result is what was measured. Every figure is a measurement; a nil one could not
// be taken, because Redis does not tell.
type Result struct {
	Jobs        int    `json:"jobs"`
	Concurrency int    `json:"concurrency"`
	Partitions  int    `json:"partitions"`
	Durability  string `json:"durability"`

	EnqueuePerSecond float64 `json:"enqueue_per_second"`
	EnqueueSeconds   float64 `json:"enqueue_seconds"`
	DrainPerSecond   float64 `json:"drain_per_second"`
	DrainSeconds     float64 `json:"drain_seconds"`

	// P50 and P99 are milliseconds from enqueue to start at the paced rate.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	// PacedPerSecond is the rate that was reached, of PacedRate that was wanted.
	PacedRate      int     `json:"paced_rate"`
	PacedPerSecond float64 `json:"paced_per_second"`
	PacedJobs      int     `json:"paced_jobs"`
	PacedSeconds   float64 `json:"paced_seconds"`

	// Processor time for one job during the drain, microseconds: of this process,
	// and of Redis with whatever others asked of it meanwhile.
	ClientCPU *float64 `json:"client_cpu_us_per_job"`
	RedisCPU  *float64 `json:"redis_cpu_us_per_job"`
	// Bytes of Redis for one job that waits (MEMORY USAGE of the streams).
	Bytes *float64 `json:"bytes_per_queued_job"`
	// Ping is the median round trip to Redis, milliseconds.
	Ping float64 `json:"ping_ms"`
}

// complete puts defaults for zero values and checks the rest.
func (c *Config) complete() error {
	set := func(v *int, usual int) {
		if *v == 0 {
			*v = usual
		}
	}
	set(&c.Jobs, DefaultJobs)
	set(&c.Slots, DefaultSlots)
	set(&c.Partitions, 1)
	set(&c.Rate, DefaultRate)
	if c.For == 0 {
		c.For = DefaultFor
	}
	if c.Durability == "" {
		c.Durability = queue.Memory
	}
	var one sync.Mutex // several goroutines tell
	tell := c.Progress
	c.Progress = func(stage string, done, of int64) {
		if tell != nil {
			one.Lock()
			defer one.Unlock()
			tell(stage, done, of)
		}
	}
	var errs []error
	check := func(ok bool, text string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("bench: want "+text, args...))
		}
	}
	check(c.Redis != nil, "a Redis")
	check(c.Jobs > 0 && c.Jobs <= MaxJobs, "1 to %d jobs", MaxJobs)
	check(c.Partitions > 0 && c.Partitions <= queue.MaxPartitions, "1 to %d partitions", queue.MaxPartitions)
	check(c.Slots >= c.Partitions && c.Slots > 0 && c.Slots <= MaxSlots, "1 to %d slots, and one for each partition", MaxSlots)
	check(c.Rate > 0 && c.Rate <= MaxRate, "a rate of 1 to %d jobs a second", MaxRate)
	check(c.For > 0 && c.For <= MaxFor, "a time up to %v", MaxFor)
	check(float64(c.Rate)*c.For.Seconds() >= 1, "a rate and a time that make at least one job")
	return errors.Join(errs...)
}

// run is one run in progress.
type run struct {
	Config
	prefix string
	client *queue.Client
}

// cleanLimit is for the removal of all keys: Redis frees ten million jobs in the
// background.
const cleanLimit = time.Minute

// Run does one run. The end of ctx breaks it off; the keys are removed all the same.
func Run(ctx context.Context, c Config) (result Result, err error) {
	if err := c.complete(); err != nil {
		return Result{}, err
	}
	if err := roomFor(ctx, c); err != nil {
		return Result{}, err
	}
	r := &run{Config: c, prefix: name(time.Now())}
	r.client = queue.NewClient(c.Redis, queue.ClientOptions{Prefix: r.prefix, Partitions: c.Partitions, Durability: c.Durability})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
		defer cancel()
		err = errors.Join(err, clean(ctx, c.Redis, r.prefix))
	}()
	result = Result{Jobs: c.Jobs, Concurrency: c.Slots, Partitions: c.Partitions, Durability: string(c.Durability), PacedRate: c.Rate}
	for _, stage := range []func(context.Context, *Result) error{r.ping, r.fill, r.drain, r.pace} {
		if err := stage(ctx, &result); err != nil {
			return Result{}, err
		}
	}
	return result, nil
}

// name is a new prefix for the keys of a run.
func name(began time.Time) string {
	return fmt.Sprintf("%s%d-%s", family, began.Unix(), strings.ToLower(rand.Text()[:8]))
}

// pings is how often Redis is asked for the round trip.
const pings = 101

// ping measures the round trip.
func (r *run) ping(ctx context.Context, result *Result) error {
	var taken []time.Duration
	for range pings {
		began := time.Now()
		if err := r.Redis.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("ping Redis: %w", err)
		}
		taken = append(taken, time.Since(began))
	}
	slices.Sort(taken)
	result.Ping = ms(taken[pings/2])
	return nil
}

// fill enqueues all jobs.
func (r *run) fill(ctx context.Context, result *Result) error {
	jobs := slices.Repeat([]json.RawMessage{payload(0)}, batch)
	var taken atomic.Int64
	errs := make(chan error, producers)
	var all sync.WaitGroup
	began := time.Now()
	for range producers {
		all.Go(func() {
			for {
				first := int(taken.Add(batch)) - batch
				if first >= r.Jobs {
					return
				}
				if _, err := r.client.Enqueue(ctx, jobs[:min(batch, r.Jobs-first)]...); err != nil {
					errs <- err
					return
				}
				r.Progress("enqueue", int64(first), int64(r.Jobs))
			}
		})
	}
	all.Wait()
	result.EnqueueSeconds = time.Since(began).Seconds()
	close(errs)
	if err := <-errs; err != nil { // nil when none
		return fmt.Errorf("fill the queue: %w", err)
	}
	result.EnqueuePerSecond = float64(r.Jobs) / result.EnqueueSeconds
	result.Bytes = r.waiting(ctx)
	return nil
}

// drain does all jobs.
func (r *run) drain(ctx context.Context, result *Result) error {
	h := newHandler(int64(r.Jobs))
	redisBefore, told := redisCPU(ctx, r.Redis)
	own, ownTold := ownCPU()
	began := time.Now()
	stop, err := r.work(h)
	if err != nil {
		return err
	}
	defer stop()
	if err := r.await(ctx, h, "drain"); err != nil {
		return fmt.Errorf("drain the queue: %w", err)
	}
	result.DrainSeconds = time.Since(began).Seconds()
	result.DrainPerSecond = float64(r.Jobs) / result.DrainSeconds
	if now, ok := ownCPU(); ok && ownTold {
		result.ClientCPU = new(us(now-own) / float64(r.Jobs))
	}
	if now, ok := redisCPU(ctx, r.Redis); ok && told {
		result.RedisCPU = new(us(now-redisBefore) / float64(r.Jobs))
	}
	return nil
}

// pace sends jobs one by one and takes the times. A job that is slow to enqueue
// does not hold up the next.
func (r *run) pace(ctx context.Context, result *Result) error {
	n := int(float64(r.Rate) * r.For.Seconds())
	h := newHandler(int64(n))
	stop, err := r.work(h)
	if err != nil {
		return err
	}
	defer stop()
	began := time.Now()
	if err := r.send(ctx, n, began); err != nil {
		return fmt.Errorf("enqueue at a rate: %w", err)
	}
	if err := r.await(ctx, h, "pace"); err != nil {
		return fmt.Errorf("wait for the jobs that are timed: %w", err)
	}
	result.PacedSeconds = h.last().Sub(began).Seconds()
	result.PacedJobs, result.PacedPerSecond = n, float64(n)/result.PacedSeconds
	taken := h.times()
	result.P50, result.P99, result.Max = ms(taken[n/2]), ms(taken[n*99/100]), ms(taken[n-1])
	return nil
}

// send enqueues n jobs from began on.
func (r *run) send(ctx context.Context, n int, began time.Time) error {
	errs := make(chan error, n)
	var all sync.WaitGroup
	defer all.Wait()
	each := time.Second / time.Duration(r.Rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		timer.Reset(time.Until(began.Add(time.Duration(i) * each)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		case err := <-errs:
			return err
		}
		all.Go(func() {
			if _, err := r.client.Enqueue(ctx, payload(time.Now().UnixNano())); err != nil {
				errs <- err
			}
		})
		r.Progress("pace", int64(i), int64(n))
	}
	all.Wait()
	close(errs)
	return <-errs // nil when none
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
