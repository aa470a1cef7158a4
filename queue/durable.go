package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Durability says what an enqueue waits for before the job counts as accepted.
type Durability string

// The levels. Each survives what the one before survives, and more.
const (
	Memory  Durability = "memory"  // the answer of the primary
	Replica Durability = "replica" // and the acknowledgement of one replica
	Disk    Durability = "disk"    // and the disk of the primary
)

// DefaultAckTimeout is how long an enqueue waits for a replica or for the disk, the
// latter beyond the second after which Redis flushes with appendfsync everysec. A
// replica in the same building acknowledges in about a millisecond, a disk in
// tens of them; what takes 200 ms is an outage or a line across an ocean.
const DefaultAckTimeout = 200 * time.Millisecond

const (
	movedTries = 5                     // of a call that a cluster refused because its slot moves
	movedPause = 25 * time.Millisecond // doubled each time: 0.8 s in all; go-redis reads the slots again meanwhile
	shownIDs   = 3                     // ids in the text of an error
)

var (
	// ErrNotReplicated says that the primary has the job and no replica said in
	// time that it has it too. It may be lost if the primary fails now.
	ErrNotReplicated = errors.New("queue: accepted by the primary only; send again with the same id")
	// ErrNotOnDisk says that Redis has the job in memory and did not write it to
	// disk in time.
	ErrNotOnDisk = errors.New("queue: accepted in memory only, not on disk; send again with the same id")
	// ErrNoDurability says that this Redis cannot keep the promise of the level
	// at all. Nothing was enqueued.
	ErrNoDurability = errors.New("queue: this Redis cannot do that level of durability")
)

// UnsureError says which jobs were accepted and not acknowledged as the level
// wants it. They may be there and they may get lost: send them again with the
// same ids ([WithID]), which is safe. It is ErrNotReplicated or ErrNotOnDisk.
type UnsureError struct {
	IDs []string
	Err error
}

// Error names the first of the ids.
func (e *UnsureError) Error() string {
	shown := strings.Join(e.IDs[:min(len(e.IDs), shownIDs)], ", ")
	if more := len(e.IDs) - shownIDs; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return e.Err.Error() + " (" + shown + ")"
}

// Unwrap returns ErrNotReplicated or ErrNotOnDisk.
func (e *UnsureError) Unwrap() error { return e.Err }

// lastAck is what the last wait came to, for people.
type lastAck struct {
	at   time.Time
	took time.Duration
	err  error
}

// sendDurably enqueues each partition's share and waits until it is as safe as
// the level says. Every share has a connection of its own, and one wait.
func (b *batch) sendDurably(ctx context.Context) error {
	errs := make([]error, len(b.groups))
	var shares sync.WaitGroup
	for i, g := range b.groups {
		if g != nil {
			shares.Go(func() { errs[i] = b.sendShare(ctx, g) })
		}
	}
	shares.Wait()
	return errors.Join(errs...)
}

// sendShare sends one share. A cluster that moves the slot refuses the call
// without having run it; then it is tried again on the slot's new node.
func (b *batch) sendShare(ctx context.Context, g *share) error {
	for try := 0; ; try++ {
		node, err := b.client.nodeOf(ctx, g.keys[0])
		if err == nil {
			err = b.client.sendTo(ctx, node, &g.call)
		}
		if c, ok := b.client.rdb.(*redis.ClusterClient); ok && err != nil {
			c.ReloadState(ctx) // the node may be gone; it asks in the background
			if isMoving(err) && try < movedTries && ctx.Err() == nil {
				wait(ctx, movedPause<<try)
				continue
			}
		}
		unsure := errors.Is(err, ErrNotReplicated) || errors.Is(err, ErrNotOnDisk)
		if err != nil && !unsure {
			return b.client.failed(err)
		}
		if err := b.read(g, unsure); err != nil {
			return err // refused: there was nothing to wait for
		}
		if unsure {
			return &UnsureError{IDs: slices.Clone(g.ids), Err: err}
		}
		return nil
	}
}

// isMoving reports whether a node refused a call because another one has, or
// will soon have, the slot. The scripts' keys are many and some do not exist,
// so while a slot is on its way neither node can run them (TRYAGAIN).
func isMoving(err error) bool {
	for _, word := range []string{"MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN"} {
		if strings.HasPrefix(err.Error(), word) {
			return true
		}
	}
	return false
}

// nodeOf returns the client of the primary that has the key: WAIT has no key, so
// a cluster's client would send it anywhere.
func (c *Client) nodeOf(ctx context.Context, key string) (*redis.Client, error) {
	switch rdb := c.rdb.(type) {
	case *redis.Client: // one server, or the primary that the sentinels name
		return rdb, nil
	case *redis.ClusterClient:
		return rdb.MasterForKey(ctx, key)
	}
	return nil, fmt.Errorf("%w: want a client of one server, of sentinels or of a cluster, not %T", ErrNoDurability, c.rdb)
}

// sendTo sends one call and the wait for it through one connection of node.
func (c *Client) sendTo(ctx context.Context, node *redis.Client, call *call) error {
	ack, err := c.ackCommand(ctx, node)
	if err != nil {
		return err
	}
	if t := node.Options().ReadTimeout; t > 0 {
		node = node.WithTimeout(t + c.opts.AckTimeout + flushEach) // the wait must not count as a silent server
	}
	conn := node.Conn()
	defer conn.Close()
	send := func(eval func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd) *redis.Cmd {
		pipe := conn.Pipeline()
		call.cmd = eval(ctx, pipe, call.keys, call.args...)
		var waited *redis.Cmd
		if ack != nil {
			waited = pipe.Do(ctx, ack...)
		}
		_, _ = pipe.Exec(ctx) // every command carries its own error
		return waited
	}
	start := time.Now()
	waited := send(call.script.EvalSha)
	if isNoScript(call.cmd.Err()) {
		waited = send(call.script.Eval)
	}
	if err := call.cmd.Err(); err != nil {
		return err
	}
	err = c.acknowledged(waited)
	c.acked.Store(&lastAck{at: time.Now(), took: time.Since(start), err: err})
	return err
}

// ackCommand is what waits for the level on this node; nil if the answer of the
// enqueue itself comes late enough.
func (c *Client) ackCommand(ctx context.Context, node *redis.Client) ([]any, error) {
	if c.opts.Durability == Replica {
		return []any{"WAIT", 1, c.opts.AckTimeout.Milliseconds()}, nil
	}
	aof, err := c.disks.waits(ctx, node)
	if err != nil || !aof {
		return nil, err
	}
	return []any{"WAITAOF", 1, 0, (c.opts.AckTimeout + flushEach).Milliseconds()}, nil
}

// acknowledged reads the answer of WAIT (replicas) or WAITAOF (own disk, replicas).
func (c *Client) acknowledged(waited *redis.Cmd) error {
	if waited == nil {
		return nil
	}
	if c.opts.Durability == Replica {
		n, err := waited.Int64()
		if err != nil {
			return fmt.Errorf("%w: wait for a replica: %w", ErrNotReplicated, err)
		}
		if n < 1 {
			return ErrNotReplicated
		}
		return nil
	}
	n, err := waited.Int64Slice()
	if err != nil {
		return fmt.Errorf("%w: wait for the disk: %w", ErrNotOnDisk, err)
	}
	if len(n) < 1 || n[0] < 1 {
		return ErrNotOnDisk
	}
	return nil
}
