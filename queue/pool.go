package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/crashpoint"
)

// Defaults and bounds of a [PoolConfig].
const (
	DefaultSlots     = 256
	DefaultLaneSlots = 32
	DefaultLease     = 60 * time.Second
	MinLease         = 5 * time.Second
	DefaultGrace     = 25 * time.Second // below the 30 s after which Kubernetes kills a pod
)

// MaxCrashes is how often a job may lose its worker before it is a dead letter,
// as the likely cause. A claim does not tell which of a worker's jobs ended it,
// and with three, one innocent job in 100,000 was buried in a run that killed
// one of four workers each second (make chaos).
const MaxCrashes = 5

// abortTime is how long handlers may take to return once their context has ended.
const abortTime = 5 * time.Second

// PoolConfig says how a [Pool] works. Only Redis is required.
type PoolConfig struct {
	// Redis is the store. Its MaxRetries must be -1: go-redis would otherwise
	// send commands again that must not be. Each partition holds one of its
	// connections in a blocking read, and each of SettleCalls takes one for a
	// moment, so PoolSize should be above both together.
	Redis  redis.UniversalClient
	Prefix string // first part of every key; "" means DefaultPrefix
	// Partitions is 1 if 0, at most MaxPartitions, and the same in all processes.
	// While it is being changed, partitions that only others know are read too.
	Partitions int
	Slots      int           // jobs this process holds at once; 0 means DefaultSlots
	LaneSlots  int           // of these, running in one lane; 0 means DefaultLaneSlots
	Lease      time.Duration // claim without renewal; 0 means DefaultLease, at least MinLease
	Grace      time.Duration // how long running jobs may go on when Run's ctx ends; 0 cancels them at once
	// MaxAttempts is how often a job is tried that does not say so itself; 0
	// means DefaultMaxAttempts.
	MaxAttempts  int
	LogRetention time.Duration // as in ClientOptions
	// LogMax is how many records of attempts are kept, of all partitions: 0 means
	// DefaultLogMax, below 0 any number. A burst may have some more for 5 s.
	LogMax   int64
	Backoff  func(n int) time.Duration // delay after attempt n; nil means Backoff
	Name     string                    // of this worker in records; "" means the host's
	Logger   *slog.Logger              // nil means slog.Default
	Observer Observer
	// Credentials returns the newest version of a secret. The pool asks it
	// for every secret that jobs are parked on, each 10 s, in case nobody
	// called CredentialChanged. nil: nobody is asked.
	Credentials func(ctx context.Context, secret string) (version int64, err error)
	// CredentialsOf returns the versions of the secrets that work will use. It
	// is asked only while some credential is refused (gate.go). nil: refused
	// credentials are tried by each job again.
	CredentialsOf func(ctx context.Context, w Work) ([]Credential, error)

	recover time.Duration // scale of the growth of learnt limits; 0 means paceRecover

	block time.Duration // of a read that finds nothing; 0 means readBlock
	look  time.Duration // between looks for new partitions; 0 means lookEach
	// Those of audit.go; 0 means the constants.
	auditLook, auditEach time.Duration
	auditRest            int
	pace                 int // all that is done again and again comes this many times more seldom; 0 means 1
}

// Pool takes jobs from Redis and gives them to a [Handler].
type Pool struct {
	cfg      PoolConfig
	rdb      redis.UniversalClient
	handler  Handler
	log      *slog.Logger
	client   *Client
	consumer string                       // unique for each boot: two pools of one name would share their claims
	parts    atomic.Pointer[[]*partition] // it only grows
	slots    *slots
	lanes    *lanes
	gate     *gate
	pace     *pacer
	pauses   pauses
	settler  *settler
	work     *ready
	epoch    time.Time
	clock    clock
	taken    atomic.Int64 // claims that were taken over and have not ended
	quiet    quiet
	jobs     context.Context // of all handlers; ends Grace after the intake
	running  atomic.Bool
}

// NewPool returns a pool that has not started. An error names every setting
// that is out of range.
func NewPool(cfg PoolConfig, h Handler) (*Pool, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errors.New("queue: no handler")
	}
	p := &Pool{
		cfg: cfg, rdb: cfg.Redis, handler: h, log: cfg.Logger,
		consumer: cfg.Name + "-" + strings.ToLower(rand.Text()[:10]),
		slots:    newSlots(cfg.Slots), lanes: newLanes(cfg.LaneSlots),
		work: newReady(), epoch: time.Now(),
	}
	p.gate = newGate(cfg.Redis, cfg.Prefix)
	p.pace = newPacer(cfg.Redis, cfg.Prefix, p.consumer, cfg.recover)
	p.client = NewClient(cfg.Redis, ClientOptions{Prefix: cfg.Prefix, Partitions: cfg.Partitions, LogRetention: cfg.LogRetention})
	p.settler = newSettler(p)
	p.addPartitions(cfg.Partitions)
	return p, nil
}

// complete puts defaults for zero values and checks the rest.
func (cfg *PoolConfig) complete() error {
	set := func(v *int, usual int) {
		if *v == 0 {
			*v = usual
		}
	}
	set(&cfg.Partitions, 1)
	set(&cfg.Slots, DefaultSlots)
	set(&cfg.LaneSlots, min(DefaultLaneSlots, cfg.Slots))
	set(&cfg.MaxAttempts, DefaultMaxAttempts)
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.LogRetention == 0 {
		cfg.LogRetention = DefaultLogRetention
	}
	if cfg.LogMax == 0 {
		cfg.LogMax = DefaultLogMax
	}
	if cfg.Backoff == nil {
		cfg.Backoff = Backoff
	}
	set(&cfg.pace, 1)
	if cfg.block == 0 {
		cfg.block = readBlock * time.Duration(cfg.pace)
	}
	if cfg.recover == 0 {
		cfg.recover = paceRecover
	}
	if cfg.look == 0 {
		cfg.look = lookEach
	}
	if cfg.auditEach == 0 {
		cfg.auditLook, cfg.auditEach, cfg.auditRest = auditLook, auditEach, auditRest
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Name == "" {
		cfg.Name, _ = os.Hostname() // "" is a name too
	}
	cfg.LaneSlots = min(cfg.LaneSlots, cfg.Slots)
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New("queue: "+text))
		}
	}
	check(cfg.Redis != nil, "no Redis")
	check(cfg.Partitions > 0 && cfg.Partitions <= MaxPartitions, fmt.Sprintf("want 1 to %d partitions", MaxPartitions))
	check(cfg.Slots >= cfg.Partitions, fmt.Sprintf("want at least one slot for each of the %d partitions", cfg.Partitions))
	check(cfg.LaneSlots > 0, "want at least 1 slot for a lane")
	check(cfg.Lease >= MinLease, fmt.Sprintf("want a lease of at least %v", MinLease))
	check(cfg.Grace >= 0, "want a grace of 0 or more")
	check(cfg.MaxAttempts > 0, "want at least 1 attempt")
	return errors.Join(errs...)
}

// Run works until ctx ends and then drains: it takes no more jobs, puts back
// those it has not begun, gives running ones the Grace, cancels their context
// with [ErrDrainTimeout] as the cause, and puts back, without using an
// attempt, those that surely were not done. A Redis that is gone does not end
// Run. A Pool runs once.
func (p *Pool) Run(ctx context.Context) error {
	if !p.running.CompareAndSwap(false, true) {
		return errors.New("queue: the pool has run already")
	}
	base := context.WithoutCancel(ctx)
	jobs, abort := context.WithCancelCause(base)
	defer abort(nil)
	p.jobs = jobs
	behind, stopBehind := context.WithCancel(base) // what must outlive the jobs
	defer stopBehind()
	if err := loadScripts(ctx, p.rdb); err != nil {
		p.trouble("group", err) // they are sent again when they are missed
	}
	if err := p.refreshPace(ctx); err != nil { // a restart must not find out all again
		p.trouble("pace", err)
	}

	var readers, workers, helpers sync.WaitGroup
	go p.settler.run(base)
	for range p.cfg.Slots {
		workers.Go(p.worker)
	}
	helpers.Go(func() { p.renewLeases(behind) })
	helpers.Go(func() { p.tickLanes(behind) })
	readers.Go(func() { p.schedule(ctx) })
	readers.Go(func() { p.sweep(ctx) })
	readers.Go(func() { p.watchGate(ctx) })
	readers.Go(func() { p.watchPauses(ctx) })
	readers.Go(func() { p.audit(ctx) })
	readers.Go(func() { p.capLog(ctx) })
	readers.Go(func() { p.watchPace(ctx) })
	for _, part := range p.partitions() {
		readers.Go(func() { part.run(ctx) })
	}
	readers.Go(func() {
		p.watchPartitions(ctx, func(part *partition) { readers.Go(func() { part.run(ctx) }) })
	})

	readers.Wait()
	idle := p.drain(abort)
	p.work.end()
	if idle {
		workers.Wait()
	}
	close(p.settler.stop)
	<-p.settler.stopped
	stopBehind()
	helpers.Wait()
	p.reapSelf(base)
	return nil
}

// drain ends the jobs that this process holds. It returns false if handlers
// run on although their context has ended.
func (p *Pool) drain(abort context.CancelCauseFunc) bool {
	for _, c := range p.lanes.drain() {
		p.release(c)
	}
	grace := time.NewTimer(p.cfg.Grace)
	defer grace.Stop()
	select {
	case <-p.lanes.idle:
		return true
	case <-grace.C:
	}
	abort(ErrDrainTimeout)
	last := time.NewTimer(abortTime)
	defer last.Stop()
	select {
	case <-p.lanes.idle:
		return true
	case <-last.C:
	}
	running, _ := p.lanes.counts()
	p.log.Warn("stopped while jobs ran on; their lease runs out", "jobs", running)
	return false
}

// reapSelf takes this worker's name out of Redis, if it holds nothing.
func (p *Pool) reapSelf(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	crashpoint.Point("reap-before")
	for _, part := range p.partitions() {
		if err := scriptReap.Run(ctx, p.rdb, part.keys.with(), p.consumer).Err(); err != nil {
			p.trouble("reap", err)
			return
		}
	}
}

// Slots says what the process is doing, for a metric.
func (p *Pool) Slots() (running, waiting, free int) {
	running, waiting = p.lanes.counts()
	return running, waiting, max(p.cfg.Slots-running-waiting, 0)
}

// each is how often something is done that is usually done each d. Simulations
// of years do it more seldom.
func (p *Pool) each(d time.Duration) time.Duration { return d * time.Duration(p.cfg.pace) }

// elapsed is the pool's own clock, which never jumps.
func (p *Pool) elapsed() time.Duration { return time.Since(p.epoch) }

// now is Redis' clock, as far as this process knows it.
func (p *Pool) now() time.Time { return p.clock.at(time.Now()) }

// trouble counts a Redis call that failed and logs the first of a kind, then
// one each five seconds.
func (p *Pool) trouble(op string, err error) {
	if err == nil {
		return
	}
	p.cfg.Observer.redisError(op)
	if skipped, ok := p.quiet.may(op, time.Now()); ok {
		p.log.Warn("redis call failed, will try again", "op", op, "skipped", skipped, "err", clip(err.Error()))
	}
}

// quiet keeps a log from repeating itself.
type quiet struct {
	mu   sync.Mutex
	last map[string]time.Time
	n    map[string]int
}

const quietTime = 5 * time.Second

// may reports whether op may be logged now, and how often it was not since.
func (q *quiet) may(op string, now time.Time) (skipped int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		q.last, q.n = map[string]time.Time{}, map[string]int{}
	}
	if now.Sub(q.last[op]) < quietTime {
		q.n[op]++
		return 0, false
	}
	skipped, q.n[op] = q.n[op], 0
	q.last[op] = now
	return skipped, true
}

// pause waits for a time that doubles with each failure in a row, with jitter,
// up to retryMost.
func pause(ctx context.Context, failures int) {
	const doublings = 6 // of retryFirst: over retryMost
	t := time.NewTimer(jittered(min(retryFirst<<min(failures, doublings), retryMost)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
