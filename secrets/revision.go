package secrets

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// tripTimeout bounds one shared trip to Redis. Callers may give up earlier by
// their own contexts.
const tripTimeout = 5 * time.Second

// Revision reads the store's revision: a text that is another one after every
// write. What was read from Redis after a revision was seen is current for as
// long as the same revision is seen again.
//
// Callers that come at the same time share one trip, and a trip serves only
// those who came before it started: the answer is never older than the
// question, so a revoked token or a replaced secret is not used once more. The
// trip also carries their audit entries.
type Revision struct {
	rdb  redis.UniversalClient
	keys keys
	busy chan struct{} // holds one: a trip under way
	done sync.WaitGroup

	mu   sync.Mutex
	next *trip // gathers callers; nil when there are none
	flow flow  // of callers
}

// trip is one read of the revision for all who joined it.
type trip struct {
	entries []tripEntry
	bound   bool          // some of the entries are bound to a revision
	over    chan struct{} // closed when the rest is set
	rev     string
	revs    []string // of each entry, if some are bound
	err     error
}

// NewRevision returns a reader for the keyring's store.
func NewRevision(rdb redis.UniversalClient, keyring *Keyring) *Revision {
	return &Revision{rdb: rdb, keys: keyring.keys(), busy: make(chan struct{}, 1)}
}

// Current returns the revision as it is after the call began.
func (r *Revision) Current(ctx context.Context) (string, error) { return r.join(ctx, nil) }

// Close waits for the trip under way, at most tripTimeout for each of two.
func (r *Revision) Close() { r.done.Wait() }

// record writes an audit entry and returns the revision. If the error is nil,
// the entry is in Redis.
func (r *Revision) record(ctx context.Context, e AuditEntry) (string, error) {
	return r.join(ctx, &tripEntry{PreparedEntry: e.Prepare()})
}

// join goes on the next trip, with an entry or without, and returns the revision
// at which the entry was written, or left out.
func (r *Revision) join(ctx context.Context, e *tripEntry) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("read revision: %w", err)
	}
	r.mu.Lock()
	t := r.next
	if t == nil {
		t = &trip{over: make(chan struct{})}
		r.next = t
		// The trip serves others too, so the context of the caller who happens
		// to be the first must not end it.
		r.done.Go(func() { r.fly(context.WithoutCancel(ctx), t) })
	}
	r.flow.add(time.Now())
	seat := len(t.entries)
	if e != nil {
		t.entries = append(t.entries, *e)
		t.bound = t.bound || e.bound
	}
	r.mu.Unlock()
	select {
	case <-t.over:
		if e != nil && t.revs != nil {
			return t.revs[seat], t.err
		}
		return t.rev, t.err
	case <-ctx.Done():
		return "", fmt.Errorf("read revision: %w", ctx.Err())
	}
}

// fly waits for the trip before it, closes the door and goes.
func (r *Revision) fly(ctx context.Context, t *trip) {
	r.busy <- struct{}{}
	defer func() { <-r.busy }()
	r.mu.Lock()
	linger := r.flow.linger()
	r.mu.Unlock()
	if linger > 0 {
		time.Sleep(linger)
	} else {
		// Requests that wait for the processor get on board first: that costs nothing.
		runtime.Gosched()
	}
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, tripTimeout)
	defer cancel()
	if t.bound {
		if t.revs, t.err = r.noteBound(ctx, t.entries); t.err == nil {
			t.rev = t.revs[len(t.revs)-1]
		}
	} else {
		t.rev, t.err = r.exchange(ctx, t.entries)
	}
	close(t.over)
}

func (r *Revision) exchange(ctx context.Context, entries []tripEntry) (string, error) {
	pipe := r.rdb.Pipeline()
	for _, e := range entries {
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: r.keys.audit(), MaxLen: AuditMax, Approx: true, Values: *e.fields})
	}
	rev := pipe.Get(ctx, r.keys.rev()) // last: what it says is true after the entries are written
	cmds, err := pipe.Exec(ctx)
	if err == nil {
		return rev.Val(), nil
	}
	var refused []tripEntry
	for i, c := range cmds[:len(cmds)-1] {
		switch {
		case redis.IsOOMError(c.Err()):
			refused = append(refused, entries[i])
		case c.Err() != nil:
			return "", fmt.Errorf("write audit entry: %w", c.Err())
		}
	}
	if len(refused) > 0 {
		revs, err := r.noteBound(ctx, refused)
		return revs[len(revs)-1], err
	}
	if errors.Is(rev.Err(), redis.Nil) { // nothing was ever written
		return "", nil
	}
	return "", fmt.Errorf("read revision: %w", err)
}
