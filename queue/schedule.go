package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sealpost/sealpost/crashpoint"
)

const (
	promoteEach = 100 * time.Millisecond // how late a delayed job may become ready
	promoteSoon = 20 * time.Millisecond  // the same while many do: all at once they would be in others' way,
	promoteMany = 16                     // and few of them one by one
	promotePage = 200                    // jobs in one script call: a script blocks its Redis
	promoteMost = 50                     // pages in one go, so that a stop is not kept waiting
	sweepFirst  = time.Second            // after the start: a fleet whose workers die young must sweep too
	sweepEach   = 10 * time.Second
	reapEach    = time.Hour // and for consumers that were idle for so long
	renewPage   = 128       // claims in one script call
)

// schedule makes delayed jobs ready when they are due, and forgets workers
// that are gone.
func (p *Pool) schedule(ctx context.Context) {
	failures := 0
	reap := time.Now().Add(jittered(reapEach))
	for ctx.Err() == nil {
		moved, err := p.promote(ctx)
		if err != nil {
			failures++
			pause(ctx, failures)
			continue
		}
		failures = 0
		if time.Now().After(reap) {
			p.reapOthers(ctx)
			reap = time.Now().Add(jittered(reapEach))
		}
		next := promoteEach
		if moved >= promoteMany {
			next = promoteSoon
		}
		wait(ctx, jittered(p.each(next)))
	}
}

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// promote moves all jobs that are due, page by page, and reads Redis' clock.
func (p *Pool) promote(ctx context.Context) (moved int64, err error) {
	parts := p.partitions()
	for range promoteMost {
		calls := make([]*call, len(parts))
		for i, part := range parts {
			calls[i] = &call{script: scriptPromote, keys: part.keys.with(), args: []any{promotePage}}
		}
		before := time.Now()
		crashpoint.Point("promote-before")
		runCalls(ctx, p.rdb, calls)
		after := time.Now()
		crashpoint.Point("promote-after")
		var more []*partition
		for i, c := range calls {
			reply, err := c.cmd.Int64Slice()
			if err == nil && len(reply) != 2 {
				err = errors.New("promote: answer of another form")
			}
			if err != nil {
				if ctx.Err() == nil {
					p.trouble("promote", err)
				}
				return moved, err
			}
			moved += reply[0]
			p.clock.saw(reply[1], before, after)
			if reply[0] >= promotePage {
				more = append(more, parts[i])
			}
		}
		if parts = more; len(parts) == 0 || ctx.Err() != nil {
			break
		}
	}
	return moved, nil
}

// reapOthers forgets consumers that have not asked for jobs for long and hold none.
func (p *Pool) reapOthers(ctx context.Context) {
	for _, part := range p.partitions() {
		consumers, err := p.rdb.XInfoConsumers(ctx, part.keys.jobs(), group).Result()
		if err != nil {
			p.trouble("reap", err)
			return
		}
		for _, c := range consumers {
			if c.Name == p.consumer || c.Pending > 0 || c.Idle < reapEach {
				continue
			}
			if err := scriptReap.Run(ctx, p.rdb, part.keys.with(), c.Name).Err(); err != nil {
				p.trouble("reap", err)
				return
			}
		}
	}
}

// sweep looks for secrets that have changed although nobody said so.
func (p *Pool) sweep(ctx context.Context) {
	if p.cfg.Credentials == nil {
		return
	}
	next := sweepFirst
	var open map[string]bool // have parked jobs and no refusal; see regate
	for ctx.Err() == nil {
		wait(ctx, jittered(p.each(next)))
		parked, err := p.sweepOnce(ctx)
		if err == nil {
			open, err = p.regate(ctx, parked, open)
		}
		if err != nil && ctx.Err() == nil {
			p.trouble("sweep", err)
		}
		next = sweepEach
	}
}

// sweepOnce asks for the version of every secret that jobs are parked on. It
// returns the names of the sets that wait for no version there is.
func (p *Pool) sweepOnce(ctx context.Context) (waiting []string, err error) {
	oldest := map[string]int64{} // secret -> lowest version with parked jobs
	sets := map[string]parkedOn{}
	for _, part := range p.partitions() {
		names, err := p.rdb.HKeys(ctx, part.keys.parks()).Result()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			on, _ := parseOn(name)
			sets[name] = on
			for _, c := range on {
				if was, seen := oldest[c.Secret]; !seen || c.Version < was {
					oldest[c.Secret] = c.Version
				}
			}
		}
	}
	newest := map[string]int64{}
	for secret, parked := range oldest {
		version, err := p.cfg.Credentials(ctx, secret)
		if err != nil {
			p.log.Debug("version of a secret with parked jobs not known", "secret", secret, "err", clip(err.Error()))
			continue
		}
		if newest[secret] = version; version <= parked {
			continue
		}
		n, err := p.client.CredentialChanged(ctx, secret, version)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			p.log.Info("released parked jobs: their secret has a newer version", "secret", secret, "version", version, "jobs", n)
		}
	}
	for name, on := range sets {
		if on.current(newest) {
			waiting = append(waiting, name)
		}
	}
	return waiting, nil
}

// tickLanes hands back what waits in lanes that turned out to be slow, starts
// what waits for nothing any more, and recalls what a lane could do sooner.
func (p *Pool) tickLanes(ctx context.Context) {
	tick := time.NewTicker(p.each(laneTick))
	defer tick.Stop()
	var recalls sync.WaitGroup
	defer recalls.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			back, start := p.lanes.tick(now)
			p.handBackAll(back)
			for _, c := range start {
				p.work.put(c)
			}
			for _, lane := range p.lanes.dry(now) {
				recalls.Go(func() { p.recall(ctx, lane) })
			}
		}
	}
}

// renewLeases keeps the claims of this process until ctx ends: running jobs,
// and outcomes that Redis has not taken yet.
func (p *Pool) renewLeases(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, p.cfg.Lease/6)
		for _, part := range p.partitions() {
			old := p.elapsed() - p.cfg.Lease/6
			claims := part.held.all(func(c *claim) bool { return time.Duration(c.renewed.Load()) < old && !c.lost.Load() })
			for len(claims) > 0 && ctx.Err() == nil {
				n := min(len(claims), renewPage)
				p.renew(ctx, part, claims[:n])
				claims = claims[n:]
			}
		}
	}
}

// renew renews a page of claims. A claim that is lost is marked; its handler
// learns of it at Begin.
func (p *Pool) renew(ctx context.Context, part *partition, claims []*claim) {
	args := []any{p.consumer}
	for _, c := range claims {
		args = append(args, c.eid, c.Job.JID, "")
	}
	at := p.elapsed()
	crashpoint.Point("renew-before")
	codes, err := scriptRenew.Run(ctx, p.rdb, part.keys.with(), args...).Int64Slice()
	if err != nil {
		if ctx.Err() == nil {
			p.trouble("renew", err)
		}
		return
	}
	crashpoint.Point("renew-after")
	for i, c := range claims {
		if i < len(codes) && codes[i] == renewLost {
			c.lost.Store(true)
			continue
		}
		c.renewed.Store(int64(at))
	}
}
