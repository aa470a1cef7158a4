package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// A record of an attempt takes some 230 bytes of Redis (go test -bench Record
// ./queue), and a process that does 50,000 short jobs a second writes 10 MB of
// them each second. So what the log may hold is bounded by a number too, and
// when there are more, all records of its oldest minutes go.
const (
	// DefaultLogMax bounds the log to some 500 MB.
	DefaultLogMax = 2_000_000
	capEach       = 5 * time.Second  // between two looks at the newest minutes
	capAllFirst   = time.Minute      // after the start: until all of them are counted
	capAllEach    = 10 * time.Minute // between two counts of all, while there is much to record
	capPage       = 500              // logs that are asked for at once
	minuteMS      = int64(time.Minute / time.Millisecond)
)

// logCap is what one process knows of the size of the log.
type logCap struct {
	counts map[int64]int64 // minute -> records, of all partitions
	all    time.Duration   // when all minutes are counted next, on the pool's clock
	known  bool            // they were
	busy   bool            // a minute since then had more records than all could have
}

// capLog drops the oldest records of attempts while there are too many.
func (p *Pool) capLog(ctx context.Context) {
	if p.cfg.LogMax < 0 || p.cfg.LogRetention <= 0 {
		return
	}
	l := &logCap{all: p.elapsed() + p.each(capAllFirst)}
	for ctx.Err() == nil {
		wait(ctx, jittered(p.each(capEach)))
		if err := p.capOnce(ctx, l); err != nil && ctx.Err() == nil {
			p.trouble("log", err)
		}
	}
}

// capOnce counts and, when there are too many, drops.
func (p *Pool) capOnce(ctx context.Context, l *logCap) error {
	now := p.now().UnixMilli() / minuteMS
	kept := int64(p.cfg.LogRetention/time.Minute) + 1
	oldest, from := now-kept, now-1
	if l.counts == nil {
		l.counts = map[int64]int64{}
	}
	if p.elapsed() >= l.all && (l.busy || !l.known) {
		from, l.all, l.known, l.busy = oldest, p.elapsed()+p.each(capAllEach), true, false
	}
	if err := p.countLogs(ctx, l, from, now+1); err != nil { // Redis may be ahead of us
		return err
	}
	l.busy = l.busy || max(l.counts[now-1], l.counts[now], l.counts[now+1]) > p.cfg.LogMax/kept
	before := l.over(p.cfg.LogMax, oldest, now+1)
	if before == oldest {
		return nil
	}
	return p.dropLogs(ctx, oldest, before)
}

// over forgets the oldest of the minutes [oldest, newest] until the rest have most
// records at most, and returns the first that is left. What is older than oldest has
// expired in Redis: it must not count, or a process that runs for longer than records
// are kept would drop young ones for it.
func (l *logCap) over(most, oldest, newest int64) (before int64) {
	sum := int64(0)
	for minute, n := range l.counts {
		if minute < oldest {
			delete(l.counts, minute)
			continue
		}
		sum += n
	}
	for before = oldest; sum > most && before <= newest; before++ {
		sum -= l.counts[before]
		delete(l.counts, before)
	}
	return before
}

// countLogs asks for the number of records of each minute of [from, to].
func (p *Pool) countLogs(ctx context.Context, l *logCap, from, to int64) error {
	for minute := from; minute <= to; minute++ {
		delete(l.counts, minute)
	}
	for _, part := range p.partitions() {
		for first := from; first <= to; first += capPage {
			pipe := p.rdb.Pipeline()
			var asked []*redis.IntCmd
			for minute := first; minute <= min(to, first+capPage-1); minute++ {
				asked = append(asked, pipe.HLen(ctx, part.keys.log(minute)))
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return fmt.Errorf("count records: %w", err)
			}
			for i, n := range asked {
				if n.Val() > 0 {
					l.counts[first+int64(i)] += n.Val()
				}
			}
		}
	}
	return nil
}

// dropLogs drops the logs of the minutes [from, before).
func (p *Pool) dropLogs(ctx context.Context, from, before int64) error {
	dropped := int64(0)
	ttl := retentionSeconds(p.cfg.LogRetention)
	for _, part := range p.partitions() {
		for first := from; first < before; first += capPage {
			end := min(first+capPage, before)
			names := []string{part.keys.dropped()}
			for minute := first; minute < end; minute++ {
				names = append(names, part.keys.log(minute))
			}
			n, err := scriptTrim.Run(ctx, p.rdb, part.keys.with(names...), end, ttl).Int64()
			if err != nil {
				return fmt.Errorf("drop records: %w", err)
			}
			dropped += n
		}
	}
	if dropped > 0 {
		p.log.Warn("dropped the oldest records of attempts: there are more than SEALPOST_LOG_MAX",
			"records", dropped, "jobs_before", time.UnixMilli(before*minuteMS).UTC(), "most", p.cfg.LogMax)
	}
	return nil
}

// Dropped is before which time of their enqueue jobs have lost their records
// because the log had too many; zero: none has.
func (c *Client) Dropped(ctx context.Context) (time.Time, error) {
	pipe := c.rdb.Pipeline()
	var asked []*redis.StringCmd
	for _, k := range c.all(ctx) {
		asked = append(asked, pipe.Get(ctx, k.dropped()))
	}
	_, _ = pipe.Exec(ctx) // every command carries its own error
	latest := int64(0)
	for _, cmd := range asked {
		minute, err := cmd.Int64()
		if err != nil && err != redis.Nil {
			return time.Time{}, fmt.Errorf("read log: %w", err)
		}
		latest = max(latest, minute)
	}
	if latest == 0 {
		return time.Time{}, nil
	}
	return time.UnixMilli(latest * minuteMS).UTC(), nil
}
