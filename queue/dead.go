package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// DeadLetter is a job that was given up, with what it asked for.
type DeadLetter = Detail

// DeadList returns dead letters, the newest first. cursor is "" at first and
// then what the last call returned, until that is "". limit is 1 to MaxBatch.
func (c *Client) DeadList(ctx context.Context, limit int, cursor string) (letters []DeadLetter, next string, err error) {
	items, next, err := c.walk(ctx, limit, cursor, c.deadPage)
	if err != nil {
		return nil, "", fmt.Errorf("list dead letters: %w", err)
	}
	return details(items), next, nil
}

// deadPage is the page of dead letters from the offset at pos.
func (c *Client) deadPage(ctx context.Context, p int, pos string, limit int) ([]listed, string, error) {
	offset, _ := strconv.ParseInt(pos, 10, 64) // "" and garbage begin at 0
	offset = max(offset, 0)
	members, err := c.rdb.ZRevRangeWithScores(ctx, c.all(ctx)[p].dead(), offset, offset+int64(limit)-1).Result()
	if err != nil {
		return nil, "", err
	}
	items, err := c.bodies(ctx, p, Dead, members)
	return items, nextOffset(offset, len(members), limit), err
}

// bodies reads the jobs of members of a sorted set, whose scores are times.
func (c *Client) bodies(ctx context.Context, p int, state State, members []redis.Z) ([]listed, error) {
	if len(members) == 0 {
		return nil, nil
	}
	jids := make([]string, len(members))
	for i, m := range members {
		jids[i], _ = m.Member.(string)
	}
	values, err := c.rdb.HMGet(ctx, c.all(ctx)[p].body(), jids...).Result()
	if err != nil {
		return nil, err
	}
	var items []listed
	for i, v := range values {
		text, ok := v.(string)
		if !ok {
			continue // it left the place between the two reads
		}
		it := newListed(p, jids[i], state, text)
		it.status.readScore(&it.meta, int64(members[i].Score))
		items = append(items, it)
	}
	return items, nil
}

// RetryDead makes dead letters ready again, with attempts and crashes at 0. It
// returns how many; ids that are no dead letters do not count. At most
// MaxBatch ids.
func (c *Client) RetryDead(ctx context.Context, ids ...string) (int, error) {
	return c.runOnEach(ctx, scriptRequeue, ids)
}

// RemoveDead deletes dead letters for good and returns how many. At most
// MaxBatch ids.
func (c *Client) RemoveDead(ctx context.Context, ids ...string) (int, error) {
	return c.runOnEach(ctx, scriptRemove, ids)
}

// DeadShow returns one dead letter with its attempts. ErrNotFound if no dead
// letter has this id.
func (c *Client) DeadShow(ctx context.Context, id string) (DeadLetter, error) {
	at, err := c.resolve(ctx, id)
	if err != nil {
		return DeadLetter{}, err
	}
	s, err := c.status(ctx, at)
	if err != nil {
		return DeadLetter{}, err
	}
	body, err := c.rdb.HGet(ctx, c.all(ctx)[at.partition].body(), at.jid).Result()
	if s.State != Dead || err == redis.Nil {
		return DeadLetter{}, ErrNotFound
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("show dead letter: %w", err)
	}
	return DeadLetter{Status: s, Job: rawJob(newListed(at.partition, at.jid, Dead, body).job)}, nil
}

// nextOffset is the cursor after a page of a list that is read by offset.
func nextOffset(offset int64, got, limit int) string {
	if got < limit {
		return ""
	}
	return strconv.FormatInt(offset+int64(got), 10)
}

// since is the age in seconds of something that began at ms, never below 0.
func since(now time.Time, ms int64) float64 {
	if ms <= 0 {
		return 0
	}
	return max(now.Sub(time.UnixMilli(ms)).Seconds(), 0)
}
