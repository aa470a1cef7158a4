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

	"github.com/sealpost/sealpost/crashpoint"
)

const (
	readBlock   = 500 * time.Millisecond // a blocking read; also how long a drain may wait for it
	startAlone  = 8                      // so many jobs are started while the next are read
	reclaimPage = 50                     // lost claims looked at in one script call
	// reclaimStart is the cursor of a look for lost claims that begins, and of one
	// that has ended.
	reclaimStart = "0-0"
	// reclaimEach bounds how long a lease that ran out goes unseen. With a part of
	// the lease alone, half of that was added to each take-over (chaos).
	reclaimEach = 500 * time.Millisecond
)

// partition is one stream and what this process holds of it.
type partition struct {
	pool     *Pool
	index    int
	keys     keys
	held     held
	cursor   string    // of the reclaim in progress
	reclaim  time.Time // next one
	took     time.Time // when it last brought jobs
	hot      bool      // the last read came back with jobs
	many     bool      // it came back with as many as are read without waiting
	reply    reply     // of such a read
	suspects bool      // some wait until the slot for them is free
	foreign  bool      // no process of our number of partitions puts jobs here

	starting sync.WaitGroup // has one while a batch is being started
}

// run reads jobs until ctx ends. What a read brings after that is released.
func (p *partition) run(ctx context.Context) {
	failures := 0
	defer p.starting.Wait()
	p.ensureGroup(ctx)
	for ctx.Err() == nil {
		err := p.turn(ctx)
		switch {
		case err == nil:
			failures = 0
			if p.foreign && !p.hot {
				wait(ctx, jittered(readBlock)) // instead of a connection in a blocking read
			}
		case isNoGroup(err):
			p.ensureGroup(ctx)
			fallthrough
		default:
			failures++
			pause(ctx, failures)
		}
	}
}

// turn takes free slots, fills them with jobs and starts these.
func (p *partition) turn(ctx context.Context) error {
	if !p.pool.mayRead(ctx) {
		return nil
	}
	n := p.pool.slots.take(ctx, p.share())
	if n == 0 {
		return nil
	}
	at := p.pool.elapsed()
	entries, err := p.fetch(ctx, n)
	p.pool.slots.put(n - len(entries))
	p.hot, p.many = len(entries) > 0, len(entries) >= startAlone
	p.starting.Wait()
	switch n := len(entries); {
	case n >= startAlone:
		p.starting.Go(func() { p.start(entries, at) })
	case n > 0:
		p.start(entries, at)
	}
	return err
}

// share is how many slots a read may take. With several partitions, readers
// that wait on an empty one keep half of the slots among them, so that the
// others find free ones.
func (p *partition) share() int {
	if n := len(p.pool.partitions()); n > 1 && !p.hot {
		return max(p.pool.cfg.Slots/(2*n), 1)
	}
	return p.pool.cfg.Slots
}

// fetch returns up to n entries: those of lost workers first, when it is time
// to look for them, else new ones.
func (p *partition) fetch(ctx context.Context, n int) ([]entry, error) {
	now := time.Now()
	if p.mayTakeOver(now) > 0 {
		p.starting.Wait() // takeOver tells our own jobs, and the free slots, by those that have been started
	}
	if most := p.mayTakeOver(now); most > 0 {
		entries, err := p.takeOver(ctx, min(n, most))
		if err != nil {
			return nil, err
		}
		if p.cursor == reclaimStart {
			p.reclaim = now.Add(jittered(min(p.pool.cfg.Lease/4, p.pool.each(reclaimEach))))
		}
		if len(entries) > 0 {
			p.took = now
			return entries, nil
		}
	}
	entries, err := p.read(ctx, n)
	if err != nil {
		p.pool.trouble("read", err)
	}
	return entries, err
}

// read asks for new entries. It waits for them, unless other partitions could
// use the slots meanwhile.
func (p *partition) read(ctx context.Context, n int) ([]entry, error) {
	block := p.pool.cfg.block
	if p.foreign || p.many || p.hot && len(p.pool.partitions()) > 1 {
		block = -1
	} else if p.suspects || p.cursor != reclaimStart {
		block = min(block, p.pool.each(suspectLook))
	}
	crashpoint.Point("read-before")
	var entries []entry
	var err error
	if p.many && len(p.pool.partitions()) == 1 { // with more of them it cost more, for a reason not found yet
		entries, err = p.readMany(ctx, n)
	} else {
		entries, err = p.readSome(ctx, n, block)
	}
	if errors.Is(err, redis.Nil) || ctx.Err() != nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	crashpoint.Point("read-after")
	return entries, nil
}

// readSome is a read by go-redis, which waits for block, or not if that is below 0.
func (p *partition) readSome(ctx context.Context, n int, block time.Duration) ([]entry, error) {
	streams, err := p.pool.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: p.pool.consumer, Streams: []string{p.keys.jobs(), ">"}, Count: int64(n), Block: block,
	}).Result()
	var entries []entry
	for _, s := range streams {
		entries = slices.Grow(entries, len(s.Messages))
		for _, m := range s.Messages {
			e := entry{id: m.ID}
			e.meta, _ = m.Values["meta"].(string)
			job, _ := m.Values["job"].(string)
			e.job = []byte(job)
			entries = append(entries, e)
		}
	}
	return entries, err
}

// ensureGroup makes the stream and its group, from the first entry on: jobs
// that were queued before the first worker count.
func (p *partition) ensureGroup(ctx context.Context) {
	err := p.pool.rdb.XGroupCreateMkStream(ctx, p.keys.jobs(), group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		p.pool.trouble("group", err)
	}
}

// takeOver claims entries whose holder let the lease run out.
func (p *partition) takeOver(ctx context.Context, n int) ([]entry, error) {
	lease := p.pool.cfg.Lease.Milliseconds()
	from := p.cursor
	args := []any{p.pool.consumer, lease, reclaimPage, from, MaxCrashes, suspicion, p.pool.lanes.suspectRoom(), n, loner, suspectSlots,
		retentionSeconds(p.pool.cfg.LogRetention), p.keys.logPrefix()}
	crashpoint.Point("reclaim-before")
	reply, err := scriptReclaim.Run(ctx, p.pool.rdb, p.keys.with(), args...).Slice()
	if err != nil {
		p.pool.trouble("reclaim", err)
		return nil, err
	}
	crashpoint.Point("reclaim-after")
	const parts = 4
	if len(reply) < parts {
		return nil, fmt.Errorf("reclaim: answer of %d parts", len(reply))
	}
	p.cursor, _ = reply[0].(string)
	left, _ := reply[3].(int64)
	p.suspects = left > 0 || p.suspects && from != reclaimStart
	buried, _ := reply[2].([]any)
	for _, jid := range buried {
		p.pool.log.Warn("job is dead: its worker died or lost it too often", "job", publicID(p.index, fmt.Sprint(jid)))
		p.pool.cfg.Observer.finished("", Dead)
	}
	found, _ := reply[1].([]any)
	entries := make([]entry, 0, len(found))
	for _, f := range found {
		if e, ok := reclaimed(f); ok && !p.holds(e.id) {
			entries = append(entries, e)
		}
	}
	p.pool.cfg.Observer.recovered(len(entries) + len(buried))
	return entries, nil
}

// holds reports whether this process has the entry: it renewed its lease too
// late, and has now taken it from itself.
func (p *partition) holds(eid string) bool {
	mine := p.held.all(func(c *claim) bool { return c.eid == eid })
	for _, c := range mine {
		c.renewed.Store(int64(p.pool.elapsed()))
	}
	return len(mine) > 0
}

// reclaimed reads one entry of the script's answer.
func reclaimed(v any) (entry, bool) {
	f, _ := v.([]any)
	const fields = 6
	if len(f) < fields {
		return entry{}, false
	}
	e := entry{}
	e.id, _ = f[0].(string)
	n, _ := f[1].(int64)
	e.meta, _ = f[2].(string)
	job, _ := f[3].(string)
	e.job = []byte(job)
	e.mark, _ = f[4].(string)
	cancelled, _ := f[5].(int64)
	e.deliveries, e.cancelled = int(n), cancelled == 1
	return e, e.id != ""
}

// start gives each entry to its lane.
func (p *partition) start(entries []entry, at time.Duration) {
	claims := make([]*claim, len(entries))
	for i, e := range entries {
		claims[i] = newClaim(p, e, at)
		if claims[i].takenOver() {
			p.pool.taken.Add(1)
		}
	}
	p.held.add(claims)
	crashpoint.Point("claimed")
	now := time.Now()
	for _, c := range claims {
		p.pool.route(c, now)
	}
}
