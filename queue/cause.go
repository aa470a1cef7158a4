package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Bounds of one call that looks at many jobs. A body may have 256 KiB, so a
// page of them is short; a call ends before a proxy or a client gives up.
const (
	causePage = 100    // bodies in one read
	causeMost = 20_000 // jobs that one call looks at
	maxCauses = 500    // that are told apart: a code is the other side's text
)

// Cause is why jobs were given up or parked, with how many there are.
type Cause struct {
	Name   string    `json:"cause"` // "<kind>/<reason>[/<rule or code>]"; a kind that is not known is "-"
	Kind   string    `json:"kind"`
	Reason string    `json:"reason"`
	Rule   string    `json:"rule,omitempty"`
	Code   string    `json:"code,omitempty"`
	Jobs   int64     `json:"jobs"`
	Oldest time.Time `json:"oldest"` // of a dead letter when it died, of a parked job when it was enqueued
	Newest time.Time `json:"newest"`
	ID     string    `json:"example"` // ref of the newest one
	Text   string    `json:"text"`    // of that one
}

// Causes is one page of them.
type Causes struct {
	Causes  []Cause `json:"causes"`
	Scanned int     `json:"scanned"` // jobs that this call looked at
	Cursor  string  `json:"cursor"`  // "" at the end; else the next call goes on there
}

// because remembers what the last failure came of, so that dead letters can be
// told apart by it.
func (m *meta) because(c *claim, reply *Reply) {
	m.Code, m.Rule, m.Kind, m.Used, m.Lane = clip(reply.Code), clip(reply.Rule), c.kind, reply.Secret, clip(c.destination())
}

// cause is that of one job.
func (it *listed) cause() Cause {
	c := Cause{Kind: it.kind(), Reason: it.meta.Reason, Rule: it.meta.Rule, Code: it.meta.Code, Jobs: 1, ID: it.status.Ref, Text: it.meta.Text}
	c.Oldest = it.status.DiedAt
	if it.status.State == Parked {
		c.Oldest = it.status.EnqueuedAt
	}
	c.Newest = c.Oldest
	c.Name = c.names()[0]
	return c
}

// kind of a job: as it was tried, or else as it says.
func (it *listed) kind() string { return cmp.Or(it.meta.Kind, it.status.Kind) }

// names are the words by which an operator may name the cause, the most exact first.
func (c *Cause) names() []string {
	base := cmp.Or(c.Kind, "-") + "/" + cmp.Or(c.Reason, "-")
	var names []string
	for _, more := range []string{c.Rule, c.Code} {
		if more != "" {
			names = append(names, base+"/"+more)
		}
	}
	return append(names, base)
}

// Causes groups dead letters or parked jobs by their cause, the largest group
// first. A call looks at a bounded number of jobs; [MergeCauses] puts the pages
// together. ErrNoList for other states.
func (c *Client) Causes(ctx context.Context, state State, cursor string) (Causes, error) {
	pages := map[State]pager{Dead: c.deadSince(0), Parked: c.parkedPage}
	page, ok := pages[state]
	if !ok {
		return Causes{}, ErrNoList
	}
	var out Causes
	for {
		items, next, err := c.walk(ctx, causePage, cursor, page)
		if err != nil {
			return Causes{}, fmt.Errorf("group %s jobs by cause: %w", state, err)
		}
		more := make([]Cause, len(items))
		for i := range items {
			more[i] = items[i].cause()
		}
		out.Causes = MergeCauses(out.Causes, more)
		out.Scanned += len(items)
		if cursor = next; cursor == "" || out.Scanned >= causeMost {
			out.Cursor = cursor
			return out, nil
		}
	}
}

// MergeCauses adds up two lists of causes. Beyond 500 of them only kinds and
// reasons are told apart.
func MergeCauses(a, b []Cause) []Cause {
	byName := map[[4]string]int{}
	list := make([]Cause, 0, len(a))
	for _, c := range slices.Concat(a, b) {
		key := [4]string{c.Kind, c.Reason, c.Rule, c.Code}
		if _, ok := byName[key]; !ok && len(list) >= maxCauses {
			c.Rule, c.Code = "", ""
			c.Name, key = c.names()[0], [4]string{c.Kind, c.Reason}
		}
		i, ok := byName[key]
		if !ok {
			byName[key] = len(list)
			list = append(list, c)
			continue
		}
		list[i].add(c)
	}
	slices.SortStableFunc(list, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Jobs, a.Jobs), strings.Compare(a.Name, b.Name))
	})
	return list
}

func (c *Cause) add(more Cause) {
	c.Jobs += more.Jobs
	if more.Oldest.Before(c.Oldest) {
		c.Oldest = more.Oldest
	}
	if more.Newest.After(c.Newest) {
		c.Newest, c.ID, c.Text = more.Newest, more.ID, more.Text
	}
}

// RetryFilter says which dead letters [Client.RetryDeadBy] means. All that is
// given must hold.
type RetryFilter struct {
	Cause   string        // a Cause's name, or the first two parts of one; "" is any
	Secrets []string      // id and key of one secret that they used or name as their lane; none is any
	Older   time.Duration // died at least so long before the first call; 0 is any
	Newer   time.Duration // died at most so long before the first call; 0 is any
	DryRun  bool          // count and move nothing
	Cursor  string        // "" at first, then what the last call returned
}

// Retried is what came of one call of [Client.RetryDeadBy].
type Retried struct {
	Retried int           `json:"retried"` // 0 in a dry run
	Matched int           `json:"matched"`
	Scanned int           `json:"scanned"`
	Where   []Destination `json:"where"`  // of the matched ones
	Cursor  string        `json:"cursor"` // "" at the end; else the next call goes on there
}

// Destination is how many jobs go one way.
type Destination struct {
	Kind   string `json:"kind"`
	Lane   string `json:"lane,omitempty"`   // "" if no attempt came so far
	Secret string `json:"secret,omitempty"` // id of the secret that was used last
	Jobs   int64  `json:"jobs"`
}

// ErrCursor is of a cursor that no answer gave.
var ErrCursor = errors.New("queue: cursor: want what the last answer gave")

// RetryDeadBy makes the dead letters ready that the filter means, the oldest
// first, a bounded number in a call. Those that die again meanwhile are not
// retried twice: they died after the first call.
func (c *Client) RetryDeadBy(ctx context.Context, f RetryFilter) (Retried, error) {
	until, cursor, err := c.retryStart(ctx, f.Cursor)
	if err != nil {
		return Retried{}, fmt.Errorf("retry dead letters: %w", err)
	}
	out := Retried{Where: []Destination{}}
	for {
		items, next, err := c.walk(ctx, causePage, cursor, c.deadSince(until))
		if err != nil {
			return out, fmt.Errorf("retry dead letters: %w", err)
		}
		out.Scanned += len(items)
		var ids []string
		for i := range items {
			if f.matches(&items[i], until) {
				ids = append(ids, items[i].status.Ref)
				out.Where = MergeDestinations(out.Where, items[i].destination())
			}
		}
		out.Matched += len(ids)
		if !f.DryRun && len(ids) > 0 {
			n, err := c.RetryDead(ctx, ids...)
			out.Retried += n
			if err != nil {
				return out, err
			}
		}
		if cursor = next; cursor == "" {
			return out, nil
		}
		if out.Scanned >= causeMost || !f.DryRun && out.Matched >= MaxBatch {
			out.Cursor = strconv.FormatInt(until, 10) + "@" + cursor
			return out, nil
		}
	}
}

// retryStart reads a cursor, "<ms of the first call>@<of walk>".
func (c *Client) retryStart(ctx context.Context, cursor string) (until int64, rest string, err error) {
	if cursor == "" {
		now, err := c.rdb.Time(ctx).Result()
		return now.UnixMilli(), "", err
	}
	first, rest, found := strings.Cut(cursor, "@")
	if until, err = strconv.ParseInt(first, 10, 64); err != nil || !found || until <= 0 {
		return 0, "", ErrCursor
	}
	return until, rest, nil
}

func (f *RetryFilter) matches(it *listed, until int64) bool {
	died, base := it.status.DiedAt, time.UnixMilli(until)
	if f.Older > 0 && died.After(base.Add(-f.Older)) || f.Newer > 0 && died.Before(base.Add(-f.Newer)) {
		return false
	}
	if f.Cause != "" {
		if cause := it.cause(); !slices.Contains(cause.names(), f.Cause) {
			return false
		}
	}
	return len(f.Secrets) == 0 || slices.ContainsFunc(f.Secrets, func(s string) bool {
		return s != "" && (it.meta.Used == s || strings.HasSuffix(it.meta.Lane, "/"+s))
	})
}

func (it *listed) destination() Destination {
	return Destination{Kind: it.kind(), Lane: it.meta.Lane, Secret: it.meta.Used, Jobs: 1}
}

// MergeDestinations adds up what goes the same way, in the order of the lanes.
func MergeDestinations(list []Destination, more ...Destination) []Destination {
	for _, d := range more {
		at, found := slices.BinarySearchFunc(list, d, func(a, b Destination) int {
			return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Lane, b.Lane), strings.Compare(a.Secret, b.Secret))
		})
		if found {
			list[at].Jobs += d.Jobs
			continue
		}
		list = slices.Insert(list, at, d)
	}
	return list
}

// deadSince lists dead letters from the oldest, those of the same millisecond by
// their jid, up to those that died at until (0: all). A position is
// "<ms>/<jid>" of the last one seen: retrying what was seen does not move it.
func (c *Client) deadSince(until int64) pager {
	return func(ctx context.Context, p int, pos string, limit int) ([]listed, string, error) {
		first, last, found := strings.Cut(pos, "/")
		from, err := strconv.ParseInt(first, 10, 64)
		if pos != "" && (!found || err != nil) {
			return nil, "", ErrCursor
		}
		by := redis.ZRangeBy{Min: strconv.FormatInt(from, 10), Max: "+inf", Count: int64(limit)}
		if until > 0 {
			by.Max = strconv.FormatInt(until, 10)
		}
		for {
			members, err := c.rdb.ZRangeByScoreWithScores(ctx, c.all(ctx)[p].dead(), &by).Result()
			if err != nil || len(members) == 0 {
				return nil, "", err
			}
			fresh := slices.DeleteFunc(slices.Clone(members), func(z redis.Z) bool {
				jid, _ := z.Member.(string)
				return found && int64(z.Score) == from && jid <= last
			})
			by.Offset += int64(len(members))
			if len(fresh) == 0 {
				continue // all of the millisecond where the last page ended
			}
			items, err := c.bodies(ctx, p, Dead, fresh)
			end := fresh[len(fresh)-1]
			jid, _ := end.Member.(string)
			return items, strconv.FormatInt(int64(end.Score), 10) + "/" + jid, err
		}
	}
}
