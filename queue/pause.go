package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

// A pause holds jobs back that have not begun: all of them, those of a kind, or
// those of a lane. It is a field of a hash that all pools read once a second,
// so it outlives every process, and a resume is seen however many changes there
// were in between: a pool takes the whole hash and no differences.
//
// With all jobs held back, nobody reads: the backlog stays in the stream. Else
// the jobs that are held back must be read, because others wait behind them.
// They go to due, without an attempt, for pauseFirst to pauseFirst+pauseJitter,
// and one after the other at pauseRate if there are many, so that a backlog
// comes back once in laneHorizon at the most and other jobs get the slots.
const (
	pauseRefresh = time.Second // how late a process learns of a change
	pauseFirst   = 5 * time.Second
	pauseJitter  = 5 * time.Second
	pauseRate    = 2000 // jobs a second that one process takes back once there are more of them
	maxPauses    = 1000
	maxPauseName = 256 // bytes of a kind's or a lane's name
)

// Pause names what is held back. Without a kind and a lane it is everything.
type Pause struct {
	Kind  string    `json:"kind,omitempty"`
	Lane  string    `json:"lane,omitempty"` // of one destination, as Work.Lane names it
	Since time.Time `json:"since,omitzero"`
}

// ErrPauses says that there are too many pauses, or what a pause may name.
var ErrPauses = errors.New("queue: want no name, a kind or a lane of 1 to 256 printable characters, and at most 1000 pauses")

const (
	pauseAll  = "all"
	pauseKind = "kind:"
	pauseLane = "lane:"
)

// field is the pause's name in the hash.
func (p Pause) field() (string, error) {
	name := p.Kind + p.Lane
	unprintable := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if p.Kind != "" && p.Lane != "" || len(name) > maxPauseName || strings.ContainsFunc(name, unprintable) {
		return "", ErrPauses
	}
	switch {
	case p.Kind != "":
		return pauseKind + p.Kind, nil
	case p.Lane != "":
		return pauseLane + p.Lane, nil
	}
	return pauseAll, nil
}

func parsePause(field, ms string) (p Pause, ok bool) {
	if at, err := strconv.ParseInt(ms, 10, 64); err == nil {
		p.Since = time.UnixMilli(at).UTC()
	}
	if kind, found := strings.CutPrefix(field, pauseKind); found {
		p.Kind = kind
		return p, kind != ""
	}
	if lane, found := strings.CutPrefix(field, pauseLane); found {
		p.Lane = lane
		return p, lane != ""
	}
	return p, field == pauseAll
}

// Pause holds jobs back from now on, in every process within a second or two.
// Running jobs finish. It returns whether it was not so before. ErrPauses.
func (c *Client) Pause(ctx context.Context, p Pause) (bool, error) {
	return c.changePause(ctx, "pause", p)
}

// Resume ends one pause, and no other: with all of them at work, ending that of
// a kind moves nothing. Jobs that were handed back come within half a minute. It
// returns whether there was such a pause. ErrPauses.
func (c *Client) Resume(ctx context.Context, p Pause) (bool, error) {
	return c.changePause(ctx, "resume", p)
}

func (c *Client) changePause(ctx context.Context, op string, p Pause) (bool, error) {
	field, err := p.field()
	if err != nil {
		return false, err
	}
	key := newShared(c.opts.Prefix).paused()
	n, err := scriptPause.Run(ctx, c.rdb, []string{key}, op, field, maxPauses).Int()
	if err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	if n < 0 {
		return false, ErrPauses
	}
	return n == 1, nil
}

// Paused returns what is held back: everything first, then kinds, then lanes.
func (c *Client) Paused(ctx context.Context) ([]Pause, error) {
	return readPauses(ctx, c.rdb, newShared(c.opts.Prefix).paused())
}

func readPauses(ctx context.Context, rdb redis.UniversalClient, key string) ([]Pause, error) {
	all, err := rdb.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, fmt.Errorf("read pauses: %w", err)
	}
	list := make([]Pause, 0, len(all))
	for field, ms := range all {
		if p, ok := parsePause(field, ms); ok {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b Pause) int {
		return cmp.Or(strings.Compare(a.Lane, b.Lane), strings.Compare(a.Kind, b.Kind))
	})
	return list, nil
}

// pauses is the copy that one process has of them.
type pauses struct {
	mu      sync.Mutex
	known   bool // it was read once
	any     atomic.Bool
	all     bool
	kinds   map[string]bool
	lanes   map[string]bool
	changed chan struct{} // closed when all ends
	clock   time.Time     // due time of the next hand-back beyond the first ones
}

// take replaces the copy.
func (ps *pauses) take(list []Pause) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.known, ps.all = true, false
	ps.any.Store(len(list) > 0)
	ps.kinds, ps.lanes = map[string]bool{}, map[string]bool{}
	for _, p := range list {
		switch {
		case p.Kind != "":
			ps.kinds[p.Kind] = true
		case p.Lane != "":
			ps.lanes[p.Lane] = true
		default:
			ps.all = true
		}
	}
	if !ps.all && ps.changed != nil {
		close(ps.changed)
		ps.changed = nil
	}
}

// closed returns nil if jobs may be read, and else what is closed when they may.
func (ps *pauses) closed() <-chan struct{} {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.known && !ps.all {
		return nil
	}
	if ps.changed == nil {
		ps.changed = make(chan struct{})
	}
	return ps.changed
}

// holds returns for how long a job must wait, 0 if it may begin.
func (ps *pauses) holds(kind, lane string) time.Duration {
	if !ps.any.Load() {
		return 0 // without the lock and the clock: it is asked twice for each job
	}
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !ps.all && !ps.kinds[kind] && !ps.lanes[lane] {
		return 0
	}
	first := now.Add(pauseFirst + time.Duration(rand.Int64N(int64(pauseJitter))))
	if ps.clock.Before(now.Add(pauseFirst)) {
		ps.clock = now.Add(pauseFirst)
	}
	ps.clock = ps.clock.Add(time.Second / pauseRate)
	if end := now.Add(laneHorizon); ps.clock.After(end) {
		ps.clock = end
	}
	if ps.clock.After(first) {
		return ps.clock.Sub(now) + time.Duration(rand.Int64N(int64(time.Second)))
	}
	return first.Sub(now)
}

// heldBack hands a job back, without an attempt, that an operator has paused.
// The job has its place in a lane only if it was to begin now.
func (p *Pool) heldBack(c *claim) bool {
	after := p.pauses.holds(c.kind, c.destination())
	if after == 0 {
		return false
	}
	c.meta.Handbacks++
	p.handBack(c, after)
	return true
}

// mayRead waits while everything is paused. It returns false when ctx ends.
func (p *Pool) mayRead(ctx context.Context) bool {
	for {
		again := p.pauses.closed()
		if again == nil {
			return ctx.Err() == nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return false
		}
	}
}

// watchPauses keeps the copy fresh. Until it has been read once nothing begins,
// so that a restart does not break a pause.
func (p *Pool) watchPauses(ctx context.Context) {
	key := newShared(p.cfg.Prefix).paused()
	failures := 0
	for ctx.Err() == nil {
		list, err := readPauses(ctx, p.rdb, key)
		if err != nil {
			if ctx.Err() == nil {
				p.trouble("pause", err)
			}
			failures++
			pause(ctx, failures)
			continue
		}
		failures = 0
		p.pauses.take(list)
		wait(ctx, jittered(p.each(pauseRefresh)))
	}
}
