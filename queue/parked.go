package queue

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/crashpoint"
)

// unparkPage is how many jobs one script call takes out of a parked set: a
// script blocks its Redis.
const unparkPage = 200

// ParkedGroup is all jobs that wait for the same secret to change.
type ParkedGroup struct {
	Secret  string    `json:"secret"`
	Version int64     `json:"version"`
	Jobs    int64     `json:"jobs"`
	Oldest  time.Time `json:"oldest"`           // enqueue of the oldest job
	Reason  string    `json:"reason,omitempty"` // of the oldest job's last attempt
	Text    string    `json:"text,omitempty"`
}

// ParkedList returns the groups of parked jobs, by secret and version. The
// jobs themselves are in [Client.List].
func (c *Client) ParkedList(ctx context.Context) ([]ParkedGroup, error) {
	byName := map[string]*ParkedGroup{}
	for p, k := range c.all(ctx) {
		names, err := c.rdb.HKeys(ctx, k.parks()).Result()
		if err != nil {
			return nil, fmt.Errorf("list parked jobs: %w", err)
		}
		for _, name := range names {
			if err := c.addParked(ctx, p, name, byName); err != nil {
				return nil, fmt.Errorf("list parked jobs: %w", err)
			}
		}
	}
	groups := make([]ParkedGroup, 0, len(byName))
	for _, g := range byName {
		groups = append(groups, *g)
	}
	sort.Slice(groups, func(i, j int) bool {
		a, b := groups[i], groups[j]
		return a.Secret < b.Secret || a.Secret == b.Secret && a.Version < b.Version
	})
	return groups, nil
}

// addParked adds one partition's share of a group.
func (c *Client) addParked(ctx context.Context, p int, name string, byName map[string]*ParkedGroup) error {
	on, ok := parseOn(name)
	if !ok {
		return nil
	}
	key := c.all(ctx)[p].parked(name)
	n, err := c.rdb.ZCard(ctx, key).Result()
	if err != nil || n == 0 {
		return err
	}
	first, err := c.rdb.ZRangeWithScores(ctx, key, 0, 0).Result()
	if err != nil {
		return err
	}
	items, err := c.bodies(ctx, p, Parked, first)
	if err != nil {
		return err
	}
	blamed := on[0].name()
	g := byName[blamed]
	if g == nil {
		g = &ParkedGroup{Secret: on[0].Secret, Version: on[0].Version}
		byName[blamed] = g
	}
	g.Jobs += n
	for _, it := range items {
		if g.Oldest.IsZero() || it.status.EnqueuedAt.Before(g.Oldest) {
			g.Oldest, g.Reason, g.Text = it.status.EnqueuedAt, it.status.Reason, it.status.Text
		}
	}
	return nil
}

// parkedPage lists the jobs of the parked sets one set after the other. A
// position is "<offset>/<name>".
func (c *Client) parkedPage(ctx context.Context, p int, pos string, limit int) ([]listed, string, error) {
	names, err := c.rdb.HKeys(ctx, c.all(ctx)[p].parks()).Result()
	if err != nil {
		return nil, "", err
	}
	sort.Strings(names)
	from, current, _ := strings.Cut(pos, "/")
	offset, _ := strconv.ParseInt(from, 10, 64) // "" and garbage begin at 0
	var items []listed
	for _, name := range names {
		if name < current {
			continue
		}
		if name != current {
			offset = 0
		}
		want := int64(limit - len(items))
		members, err := c.rdb.ZRangeWithScores(ctx, c.all(ctx)[p].parked(name), max(offset, 0), max(offset, 0)+want-1).Result()
		if err != nil {
			return nil, "", err
		}
		got, err := c.bodies(ctx, p, Parked, members)
		if err != nil {
			return nil, "", err
		}
		items = append(items, got...)
		if int64(len(members)) == want {
			return items, strconv.FormatInt(max(offset, 0)+want, 10) + "/" + name, nil
		}
	}
	return items, "", nil
}

// CredentialChanged tells the queue that a secret has a newer version: jobs
// parked on an older one, or with an older one beside what they are parked on, become ready, the oldest first, and no job is parked
// on an older one any more. It returns how many jobs were released. Calls may
// come in any order and more than once.
func (c *Client) CredentialChanged(ctx context.Context, secret string, version int64) (int, error) {
	if _, err := c.openGates(ctx, func(on parkedOn) bool { return on.before(secret, version) }); err != nil {
		return 0, err
	}
	released := 0
	for _, k := range c.all(ctx) {
		names, err := scriptVersion.Run(ctx, c.rdb, k.with(), secret, version).StringSlice()
		if err != nil {
			return released, fmt.Errorf("credential changed: %w", err)
		}
		for _, name := range names {
			if on, ok := parseOn(name); !ok || !on.before(secret, version) {
				continue
			}
			n, err := c.unpark(ctx, k, name)
			released += n
			if err != nil {
				return released, fmt.Errorf("release parked jobs: %w", err)
			}
		}
	}
	return released, nil
}

// ReleaseParked makes the jobs that are parked on a secret ready, although no
// newer version is known: an operator says that the other side has changed.
// version 0 means any. It returns how many.
func (c *Client) ReleaseParked(ctx context.Context, secret string, version int64) (int, error) {
	// First the gates, and then also the sets that are empty now: a worker that
	// goes by a refusal of before may be about to park a job.
	opened, err := c.openGates(ctx, func(on parkedOn) bool { return on.has(secret, version) })
	if err != nil {
		return 0, err
	}
	released := 0
	for _, k := range c.all(ctx) {
		names, err := c.rdb.HKeys(ctx, k.parks()).Result()
		if err != nil {
			return released, fmt.Errorf("release parked jobs: %w", err)
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(append(names, opened...)))) {
			if on, ok := parseOn(name); !ok || !on.has(secret, version) {
				continue
			}
			n, err := c.unpark(ctx, k, name)
			released += n
			if err != nil {
				return released, fmt.Errorf("release parked jobs: %w", err)
			}
		}
	}
	return released, nil
}

// unpark empties one parked set page by page. It stops at the number of jobs
// that were there at the start, because a job that fails again comes back.
func (c *Client) unpark(ctx context.Context, k keys, name string) (int, error) {
	left, err := c.rdb.ZCard(ctx, k.parked(name)).Result()
	if err != nil {
		return 0, err
	}
	released := 0
	for {
		page := max(min(left, unparkPage), 1) // at least 1: an empty set leaves the list of sets
		crashpoint.Point("unpark-before")
		n, err := scriptUnpark.Run(ctx, c.rdb, k.with(k.parked(name)), name, page, 1).Int()
		crashpoint.Point("unpark-after")
		if err != nil {
			return released, err
		}
		released += n
		if left -= int64(n); n == 0 || left <= 0 {
			return released, nil
		}
	}
}
