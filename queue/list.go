package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNoList says that jobs of this state cannot be listed.
var ErrNoList = errors.New("queue: want one of the states ready, running, delayed, parked, dead, done, cancelled, expired")

// Filter says which jobs [Client.List] returns.
type Filter struct {
	State  State  // required; "ended" states are read from the log
	Limit  int    // 1 to MaxBatch; 0 means 100
	Cursor string // "" at first, then what the last call returned
	Kind   string // of the action; then a page may be short, or empty, and have a next one
}

// List returns jobs of one state, without their attempts: the first to be done
// first, dead letters and ended jobs the newest first. The list is no
// snapshot: a job that moves meanwhile may be missing or be there twice. next
// is "" at the end. ErrNoList for an unknown state.
func (c *Client) List(ctx context.Context, f Filter) (jobs []Status, next string, err error) {
	items, next, err := c.list(ctx, f)
	if err != nil {
		return nil, "", err
	}
	jobs = make([]Status, 0, len(items))
	for _, it := range items {
		jobs = append(jobs, it.status)
	}
	return jobs, next, nil
}

// Detail is a job with what it asks for.
type Detail struct {
	Status
	Job json.RawMessage `json:"job"`
}

// ListDetails is List with what each job asks for. Ended jobs do not tell any
// more: ErrNoList for their states.
func (c *Client) ListDetails(ctx context.Context, f Filter) (jobs []Detail, next string, err error) {
	if isEnd(f.State) {
		return nil, "", ErrNoList
	}
	items, next, err := c.list(ctx, f)
	if err != nil {
		return nil, "", err
	}
	return details(items), next, nil
}

func details(items []listed) []Detail {
	list := make([]Detail, 0, len(items))
	for _, it := range items {
		list = append(list, Detail{Status: it.status, Job: rawJob(it.job)})
	}
	return list
}

func (c *Client) list(ctx context.Context, f Filter) (items []listed, next string, err error) {
	pages := map[State]pager{
		Ready: c.readyPage, Running: c.runningPage, Delayed: c.delayedPage, Parked: c.parkedPage, Dead: c.deadPage,
		Done: c.endedPage(Done), Cancelled: c.endedPage(Cancelled), Expired: c.endedPage(Expired),
	}
	page, ok := pages[f.State]
	if !ok {
		return nil, "", ErrNoList
	}
	items, next, err = c.walk(ctx, f.Limit, f.Cursor, page)
	if err != nil {
		return nil, "", fmt.Errorf("list %s jobs: %w", f.State, err)
	}
	if f.Kind != "" {
		items = slices.DeleteFunc(items, func(it listed) bool { return it.status.Kind != f.Kind })
	}
	return items, next, nil
}

// listed is a job in a list.
type listed struct {
	status Status
	meta   meta
	job    string
}

// newListed reads a job's body, "<meta>\n<job>".
func newListed(p int, jid string, state State, body string) listed {
	text, job, _ := strings.Cut(body, "\n")
	it := listed{meta: parseMeta(jid, text), job: job}
	ref := publicID(p, jid)
	it.status = Status{ID: ref, Ref: ref, State: state}
	it.status.read(&it.meta, job)
	return it
}

// newEntry reads a job that is in the stream.
func newEntry(p int, state State, e redis.XMessage) listed {
	text, _ := e.Values["meta"].(string)
	job, _ := e.Values["job"].(string)
	m := parseMeta(e.ID, text)
	return newListed(p, m.JID, state, text+"\n"+job)
}

// pager reads one page of partition p from pos ("" is the first) and returns
// the position of the next one, "" at the end.
type pager func(ctx context.Context, p int, pos string, limit int) (items []listed, next string, err error)

// walk reads the partitions one after the other until limit jobs are found. A
// cursor is "<partition>:<position>".
func (c *Client) walk(ctx context.Context, limit int, cursor string, page pager) ([]listed, string, error) {
	const usual = 100
	if limit <= 0 {
		limit = usual
	}
	limit = min(limit, MaxBatch)
	first, pos, _ := strings.Cut(cursor, ":")
	p, _ := strconv.Atoi(first) // "" and garbage begin at 0
	var items []listed
	for p = max(p, 0); p < len(c.all(ctx)); {
		got, next, err := page(ctx, p, pos, limit-len(items))
		if err != nil {
			return nil, "", err
		}
		items = append(items, got...)
		pos = next
		if pos == "" {
			p++
		}
		if len(items) >= limit || pos != "" && len(got) == 0 {
			break
		}
	}
	if p >= len(c.all(ctx)) {
		return items, "", nil
	}
	return items, strconv.Itoa(p) + ":" + pos, nil
}

// delivered returns the id up to which entries were given to workers.
func (c *Client) delivered(ctx context.Context, p int) (string, error) {
	groups, err := c.rdb.XInfoGroups(ctx, c.all(ctx)[p].jobs()).Result()
	if err != nil && strings.Contains(err.Error(), "no such key") {
		return "0-0", nil
	}
	if err != nil {
		return "", err
	}
	for _, g := range groups {
		if g.Name == group {
			return g.LastDeliveredID, nil
		}
	}
	return "0-0", nil
}

func (c *Client) readyPage(ctx context.Context, p int, pos string, limit int) ([]listed, string, error) {
	if !isEntryID(pos) {
		last, err := c.delivered(ctx, p)
		if err != nil {
			return nil, "", err
		}
		pos = last
	}
	entries, err := c.rdb.XRangeN(ctx, c.all(ctx)[p].jobs(), "("+pos, "+", int64(limit)).Result()
	if err != nil {
		return nil, "", err
	}
	var items []listed
	for _, e := range entries {
		items = append(items, newEntry(p, Ready, e))
	}
	if len(entries) < limit {
		return items, "", nil
	}
	return items, entries[len(entries)-1].ID, nil
}

func (c *Client) runningPage(ctx context.Context, p int, pos string, limit int) ([]listed, string, error) {
	start := "-"
	if isEntryID(pos) {
		start = "(" + pos
	}
	args := &redis.XPendingExtArgs{Stream: c.all(ctx)[p].jobs(), Group: group, Start: start, End: "+", Count: int64(limit)}
	pending, err := c.rdb.XPendingExt(ctx, args).Result()
	if isNoGroup(err) {
		return nil, "", nil
	}
	if err != nil || len(pending) == 0 {
		return nil, "", err
	}
	pipe := c.rdb.Pipeline()
	reads := make([]*redis.XMessageSliceCmd, len(pending))
	for i, e := range pending {
		reads[i] = pipe.XRange(ctx, c.all(ctx)[p].jobs(), e.ID, e.ID)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, "", err
	}
	var items []listed
	for i, r := range reads {
		for _, e := range r.Val() {
			it := newEntry(p, Running, e)
			it.status.Crashes += int(pending[i].RetryCount) - 1
			items = append(items, it)
		}
	}
	if len(pending) < limit {
		return items, "", nil
	}
	return items, pending[len(pending)-1].ID, nil
}

func (c *Client) delayedPage(ctx context.Context, p int, pos string, limit int) ([]listed, string, error) {
	offset, _ := strconv.ParseInt(pos, 10, 64) // "" and garbage begin at 0
	offset = max(offset, 0)
	members, err := c.rdb.ZRangeWithScores(ctx, c.all(ctx)[p].due(), offset, offset+int64(limit)-1).Result()
	if err != nil {
		return nil, "", err
	}
	items, err := c.bodies(ctx, p, Delayed, members)
	return items, nextOffset(offset, len(members), limit), err
}

// endedPage reads the log, one key a minute, from the newest. A position is
// "<minute>/<scan cursor>". The order within a minute is not defined.
func (c *Client) endedPage(state State) pager {
	return func(ctx context.Context, p int, pos string, limit int) ([]listed, string, error) {
		now := time.Now()
		oldest := now.Add(-max(c.opts.LogRetention, 0)).Unix() / 60
		m, s, _ := strings.Cut(pos, "/")
		minute, err := strconv.ParseInt(m, 10, 64)
		if err != nil {
			minute = now.Unix()/60 + 1 // Redis may be ahead of us
		}
		scan, _ := strconv.ParseUint(s, 10, 64) // "" is 0, the begin
		var items []listed
		for ; minute >= oldest; minute, scan = minute-1, 0 {
			for {
				found, next, err := c.rdb.HScan(ctx, c.all(ctx)[p].log(minute), scan, "", int64(limit)).Result()
				if err != nil {
					return nil, "", err
				}
				items = append(items, endedOf(p, state, found)...)
				if scan = next; scan == 0 || len(items) >= limit {
					break
				}
			}
			if len(items) >= limit {
				if scan == 0 {
					minute--
				}
				return items, strconv.FormatInt(minute, 10) + "/" + strconv.FormatUint(scan, 10), nil
			}
		}
		return items, "", nil
	}
}

// endedOf picks the records of one state out of field-value pairs of a log.
func endedOf(p int, state State, pairs []string) []listed {
	var items []listed
	for i := 0; i+1 < len(pairs); i += 2 {
		after, r, ok := parseRecord(pairs[i+1])
		if !ok || after != state {
			continue
		}
		jid, _, _ := strings.Cut(pairs[i], "/")
		at := place{p, jid}
		s := Status{ID: at.ref(), Ref: at.ref(), EnqueuedAt: time.UnixMilli(jidMillis(jid)).UTC()}
		s.fill(&r, after)
		items = append(items, listed{status: s})
	}
	return items
}
