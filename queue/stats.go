package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Stats counts the jobs of all partitions. Its JSON is part of the public
// contract.
type Stats struct {
	Jobs       map[State]int64   `json:"jobs"`           // by place
	Oldest     map[State]float64 `json:"oldest_seconds"` // see [Client.Stats]
	Partitions int               `json:"partitions"`
	Workers    []Worker          `json:"workers"`
	Paused     []Pause           `json:"paused"` // by an operator
	// Retention is how long an attempt is kept after the last one of its minute; 0: not at all.
	Retention float64     `json:"log_retention_seconds"`
	Lanes     []LaneState `json:"lanes"` // that are limited, held or broken
}

// Worker is one running Pool, as Redis sees it.
type Worker struct {
	Name    string  `json:"name"`
	Running int64   `json:"running"`      // jobs it holds
	Idle    float64 `json:"idle_seconds"` // since it last asked for jobs
}

// Stats counts jobs by state. Oldest is in seconds: for ready, running, parked
// the age of the oldest job since it came to the stream or was enqueued, for
// dead since the oldest died, for delayed how late the first one is.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	s := Stats{Jobs: map[State]int64{}, Oldest: map[State]float64{}, Partitions: len(c.all(ctx)), Workers: []Worker{},
		Retention: max(c.opts.LogRetention, 0).Seconds()}
	for _, state := range []State{Ready, Running, Delayed, Parked, Dead} {
		s.Jobs[state], s.Oldest[state] = 0, 0
	}
	var err error
	if s.Paused, err = c.Paused(ctx); err != nil {
		return Stats{}, err
	}
	if s.Lanes, err = c.Lanes(ctx); err != nil {
		return Stats{}, err
	}
	workers := map[string]*Worker{}
	for _, k := range c.all(ctx) {
		if err := c.addStats(ctx, k, &s, workers); err != nil {
			return Stats{}, fmt.Errorf("read stats: %w", err)
		}
	}
	for _, w := range workers {
		s.Workers = append(s.Workers, *w)
	}
	return s, nil
}

func (c *Client) addStats(ctx context.Context, k keys, s *Stats, workers map[string]*Worker) error {
	now, err := c.rdb.Time(ctx).Result()
	if err != nil {
		return err
	}
	if err := c.addStream(ctx, k, s, now); err != nil {
		return err
	}
	if err := c.addWorkers(ctx, k, workers); err != nil {
		return err
	}
	sets := map[State][]string{Delayed: {k.due()}, Dead: {k.dead()}}
	names, err := c.rdb.HKeys(ctx, k.parks()).Result()
	if err != nil {
		return err
	}
	for _, name := range names {
		sets[Parked] = append(sets[Parked], k.parked(name))
	}
	for state, keys := range sets {
		for _, key := range keys {
			if err := c.addSet(ctx, key, state, s, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// addSet counts a sorted set whose scores are times.
func (c *Client) addSet(ctx context.Context, key string, state State, s *Stats, now time.Time) error {
	pipe := c.rdb.Pipeline()
	card, first := pipe.ZCard(ctx, key), pipe.ZRangeWithScores(ctx, key, 0, 0)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	s.Jobs[state] += card.Val()
	for _, z := range first.Val() {
		s.Oldest[state] = max(s.Oldest[state], since(now, int64(z.Score)))
	}
	return nil
}

// addStream counts ready and running jobs.
func (c *Client) addStream(ctx context.Context, k keys, s *Stats, now time.Time) error {
	last, err := c.delivered(ctx, k.partition)
	if err != nil {
		return err
	}
	pipe := c.rdb.Pipeline()
	length := pipe.XLen(ctx, k.jobs())
	first := pipe.XRangeN(ctx, k.jobs(), "("+last, "+", 1)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	pending, err := c.rdb.XPending(ctx, k.jobs(), group).Result()
	if err != nil && !isNoGroup(err) && err != redis.Nil {
		return err
	}
	var running int64
	if pending != nil && pending.Count > 0 {
		running = pending.Count
		s.Oldest[Running] = max(s.Oldest[Running], since(now, jidMillis(pending.Lower)))
	}
	s.Jobs[Running] += running
	s.Jobs[Ready] += max(length.Val()-running, 0)
	for _, e := range first.Val() {
		s.Oldest[Ready] = max(s.Oldest[Ready], since(now, jidMillis(e.ID)))
	}
	return nil
}

func (c *Client) addWorkers(ctx context.Context, k keys, workers map[string]*Worker) error {
	consumers, err := c.rdb.XInfoConsumers(ctx, k.jobs(), group).Result()
	if err != nil && (isNoGroup(err) || strings.Contains(err.Error(), "no such key")) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, i := range consumers {
		w := workers[i.Name]
		if w == nil {
			w = &Worker{Name: i.Name, Idle: i.Idle.Seconds()}
			workers[i.Name] = w
		}
		w.Running += i.Pending
		w.Idle = min(w.Idle, i.Idle.Seconds())
	}
	return nil
}
