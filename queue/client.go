package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/crashpoint"
)

// DefaultQueueMax is how many jobs may be ready and running in one partition.
const DefaultQueueMax = 10_000_000

// DefaultDeadMax is how many dead letters one partition keeps before it takes no
// more jobs: about 1 GB of Redis with jobs of 1 KB, and more than a person reads.
const DefaultDeadMax = 1_000_000

// ClientOptions say how a [Client] works. The zero value has usable defaults.
type ClientOptions struct {
	Prefix       string        // first part of every key; "" means DefaultPrefix
	Partitions   int           // 0 means 1, at most MaxPartitions; the same in all processes
	QueueMax     int64         // most ready and running jobs of a partition; 0 means DefaultQueueMax
	DeadMax      int64         // dead letters of a partition from which on Enqueue refuses; 0 means DefaultDeadMax
	Durability   Durability    // what Enqueue waits for; "" means Memory
	AckTimeout   time.Duration // how long it waits for that; 0 means DefaultAckTimeout
	LogRetention time.Duration // how long attempts are kept; 0 means DefaultLogRetention, below 0 keeps none
	Observer     Observer
}

// Client puts jobs into the queue and looks at them. It is safe for concurrent
// use and keeps no state but what it has learnt of Redis.
type Client struct {
	rdb   redis.UniversalClient
	opts  ClientOptions
	parts []keys // those that jobs are put into; reach has all
	reach *reach
	turn  atomic.Uint32
	disks disks
	acked atomic.Pointer[lastAck]
}

// NewClient returns a client on rdb, whose MaxRetries must be -1: go-redis
// would otherwise send a command twice on its own. The caller closes rdb.
func NewClient(rdb redis.UniversalClient, opts ClientOptions) *Client {
	opts.Partitions = min(max(opts.Partitions, 1), MaxPartitions)
	if opts.Durability == "" {
		opts.Durability = Memory
	}
	if opts.AckTimeout <= 0 {
		opts.AckTimeout = DefaultAckTimeout
	}
	if opts.DeadMax <= 0 {
		opts.DeadMax = DefaultDeadMax
	}
	if opts.QueueMax <= 0 {
		opts.QueueMax = DefaultQueueMax
	}
	if opts.LogRetention == 0 {
		opts.LogRetention = DefaultLogRetention
	}
	c := &Client{rdb: rdb, opts: opts, reach: newReach(opts.Prefix, opts.Partitions)}
	c.parts = *c.reach.parts.Load()
	return c
}

// Receipt says under which id a job is known.
type Receipt struct {
	ID        string `json:"id"`                  // "" if the job was not accepted
	Duplicate bool   `json:"duplicate,omitempty"` // a job with this id was there already
	Unsure    bool   `json:"unsure,omitempty"`    // accepted, but not acknowledged as the level wants it
}

// Enqueue puts up to MaxBatch jobs into the queue, in one round trip. It
// returns a receipt for each, in order. All jobs are checked first and none is
// enqueued if one is invalid ([InvalidJobError]). [ErrFull] or [ErrDeadFull] if a
// partition is full; then, and after a Redis error, receipts with an ID stand for
// accepted jobs. After an unknown outcome (a broken line) a job that has an id may
// be sent again: it is accepted once in 24 hours.
//
// Above level Memory a job without an id is given one, "auto-" and random letters,
// since it must be possible to send it again: [UnsureError] if no replica, or not
// the disk, acknowledged it in time; its receipts say Unsure and have the id.
// [ErrNoDurability] if this Redis cannot do the level.
func (c *Client) Enqueue(ctx context.Context, jobs ...json.RawMessage) ([]Receipt, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	if len(jobs) > MaxBatch {
		return nil, fmt.Errorf("enqueue: %d jobs, want at most %d", len(jobs), MaxBatch)
	}
	b := batch{client: c, receipts: make([]Receipt, len(jobs)), groups: make([]*share, len(c.parts))}
	turn := int(c.turn.Add(1)-1) % len(c.parts) // jobs without an id stay together: one round trip to one slot
	for i, raw := range jobs {
		job := &Job{}
		err := decodeJob(job, raw)
		if err == nil && job.ID == "" && c.opts.Durability != Memory {
			job.ID = mintFor(turn, len(c.parts))
			raw, err = WithID(raw, job.ID)
		}
		if err != nil {
			return nil, &InvalidJobError{Index: i, Err: err}
		}
		p := turn
		if job.ID != "" {
			p = partitionOf(job.ID, len(c.parts))
		}
		b.add(p, i, job, raw)
	}
	if len(c.parts) > 1 { // no job goes where nobody would look for it
		if _, err := c.reach.look(ctx, c.rdb); err != nil {
			return b.receipts, c.failed(err)
		}
	}
	if c.opts.Durability != Memory {
		return b.receipts, b.sendDurably(ctx)
	}
	return b.receipts, b.send(ctx)
}

// batch is one Enqueue: a script call for each partition that gets jobs.
type batch struct {
	client   *Client
	receipts []Receipt
	groups   []*share
}

// share is the part of a batch for one partition.
type share struct {
	call
	partition int
	index     []int // places in the batch
	ids       []string
	kinds     []string
}

func (b *batch) add(p, i int, job *Job, raw json.RawMessage) {
	g := b.groups[p]
	if g == nil {
		k := b.client.parts[p]
		ttl := max(DedupWindow, b.client.opts.LogRetention)
		g = &share{partition: p, call: call{script: scriptEnqueue, keys: k.with()}}
		g.args = append(g.args, b.client.opts.QueueMax, DedupWindow.Milliseconds(), ttl.Milliseconds(),
			b.client.opts.DeadMax, b.client.opts.Durability != Memory)
		b.groups[p] = g
	}
	dedup := 0
	if job.ID != "" {
		g.keys = append(g.keys, b.client.parts[p].dedup(job.ID))
		dedup = len(g.keys)
	}
	var due int64
	if !job.NotBefore.IsZero() {
		due = job.NotBefore.UnixMilli()
	}
	g.args = append(g.args, dedup, due, []byte(raw))
	g.index = append(g.index, i)
	g.ids = append(g.ids, job.ID)
	g.kinds = append(g.kinds, kindOf(job))
}

func (b *batch) send(ctx context.Context) error {
	var calls []*call
	for _, g := range b.groups {
		if g != nil {
			calls = append(calls, &g.call)
		}
	}
	crashpoint.Point("enqueue-before")
	runCalls(ctx, b.client.rdb, calls)
	crashpoint.Point("enqueue-after")
	var errs []error
	for _, g := range b.groups {
		if g != nil {
			errs = append(errs, b.read(g, false))
		}
	}
	return errors.Join(errs...)
}

// read turns the script's answer for one partition into receipts.
func (b *batch) read(g *share, unsure bool) error {
	reply, err := g.cmd.Slice()
	if err != nil {
		return b.client.failed(err)
	}
	if len(reply) == 1 && reply[0] == "dead-full" {
		return ErrDeadFull
	}
	if len(reply) != 1+2*len(g.index) || reply[0] != "ok" {
		return ErrFull
	}
	accepted := map[string]int{}
	for n, i := range g.index {
		jid, _ := reply[1+2*n].(string)
		dup, _ := reply[2+2*n].(int64)
		id := g.ids[n]
		if id == "" {
			id = publicID(g.partition, jid)
		}
		b.receipts[i] = Receipt{ID: id, Duplicate: dup == 1, Unsure: unsure}
		if dup == 0 {
			accepted[g.kinds[n]]++
		}
	}
	for kind, n := range accepted {
		b.client.opts.Observer.enqueued(kind, n)
	}
	return nil
}

// failed is the error of an enqueue that Redis did not run.
func (c *Client) failed(err error) error {
	c.opts.Observer.redisError("enqueue")
	if strings.HasPrefix(err.Error(), "OOM ") {
		return fmt.Errorf("enqueue: %w: %w", ErrNoMemory, err)
	}
	return fmt.Errorf("enqueue: %w", err)
}

// place is a job as the queue finds it.
type place struct {
	partition int
	jid       string
}

// ref is the id by which the job can always be found, also when its producer's
// id has been forgotten.
func (p place) ref() string { return publicID(p.partition, p.jid) }

// resolve finds the partition and jid of an id: one of ours, or a producer's
// that is not older than the log. ErrNotFound if there is none.
func (c *Client) resolve(ctx context.Context, id string) (place, error) {
	if p, jid, ok := splitPublicID(id); ok {
		if p >= len(c.all(ctx)) {
			return place{}, ErrNotFound
		}
		return place{p, jid}, nil
	}
	if id == "" || len(id) > MaxIDLength {
		return place{}, ErrNotFound
	}
	// The partition of the id comes first; the others are asked because the
	// number of partitions may have been another one at the enqueue.
	first := partitionOf(id, len(c.parts))
	order := []int{first}
	all := c.all(ctx)
	for p := range all {
		if p != first {
			order = append(order, p)
		}
	}
	for _, p := range order {
		was, err := c.rdb.Get(ctx, all[p].dedup(id)).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return place{}, fmt.Errorf("find job: %w", err)
		}
		jid, _, _ := strings.Cut(was, " ")
		return place{p, jid}, nil
	}
	return place{}, ErrNotFound
}

// resolveAll sorts ids by partition. Ids that stand for nothing are left out.
func (c *Client) resolveAll(ctx context.Context, ids []string) (map[int][]any, error) {
	if len(ids) > MaxBatch {
		return nil, fmt.Errorf("%d ids, want at most %d", len(ids), MaxBatch)
	}
	byPartition := map[int][]any{}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		at, err := c.resolve(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		byPartition[at.partition] = append(byPartition[at.partition], at.jid)
	}
	return byPartition, nil
}

// runOnEach runs a script that takes jids and answers 1 for each that it
// moved, in each partition that has any, and returns how many were moved.
func (c *Client) runOnEach(ctx context.Context, s *script, ids []string) (int, error) {
	byPartition, err := c.resolveAll(ctx, ids)
	if err != nil {
		return 0, err
	}
	moved := 0
	for p, jids := range byPartition {
		codes, err := s.Run(ctx, c.rdb, c.all(ctx)[p].with(), jids...).Int64Slice()
		if err != nil {
			return moved, fmt.Errorf("%s: %w", s.name, err)
		}
		for _, code := range codes {
			moved += int(code)
		}
	}
	return moved, nil
}
