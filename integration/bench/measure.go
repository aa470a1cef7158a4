package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/integration/peers"
)

// payload is the job of every peer: about 300 bytes, as a mail job has.
const payload = `{"action":{"type":"noop","smtp_secret":"RELAY","from":"alerts@example.test",` +
	`"to":"a@example.test;b@example.test","subject":"Temperature of $DEVICE$ is $VALUE$ $UNIT$",` +
	`"message":"The device has left its range."},"data":[{"variable":"temperature","value":73.5,"unit":"F",` +
	`"time":"2026-01-01T00:00:00Z","device":"boiler-7"}]}`

// peer is one system under test.
type peer interface {
	// enqueue puts n jobs into an empty Redis.
	enqueue(ctx context.Context, n int) error
	// drain does them all and returns when the last is gone. finish, unless it
	// is nil, ends what still runs; that is not measured.
	drain(ctx context.Context, n, concurrency int) (finish func(), err error)
}

// row is one line of the table.
type row struct {
	Name        string  `json:"name"`
	Concurrency int     `json:"concurrency"` // 0: it has none
	Jobs        int     `json:"jobs"`
	Enqueue     float64 `json:"enqueue_per_second"`
	Drain       float64 `json:"drain_per_second"`
	ClientCPU   float64 `json:"drain_client_us"` // CPU of the client for one job, microseconds
	RedisCPU    float64 `json:"drain_redis_us"`  // CPU of Redis for one job, microseconds
	Memory      float64 `json:"queued_bytes"`    // of Redis for one job that waits
}

// entrant is a peer at one concurrency.
type entrant struct {
	name        string
	concurrency int
	jobs        int
	peer        peer
}

// measure runs all rounds and returns the medians.
func measure(ctx context.Context, r *peers.Redis, s settings) ([]row, error) {
	c := r.Client()
	defer c.Close()
	entrants := []entrant{{"raw XREADGROUP by 100", 0, s.jobs, raw{c}}}
	for _, n := range s.concurrency {
		entrants = append(entrants,
			entrant{"sealpost", n, s.jobs, sealpost{rdb: c}},
			entrant{"sealpost, no record of attempts", n, s.jobs, sealpost{rdb: c, unrecorded: true}},
			entrant{"asynq", n, s.asynqJobs, asynqPeer{addr: r.Addr}})
	}
	rounds := make([][]row, len(entrants))
	for round := range s.rounds {
		for i, e := range entrants {
			got, err := e.once(ctx, c, r.Process().Pid())
			if err != nil {
				return nil, fmt.Errorf("%s at %d: %w", e.name, e.concurrency, err)
			}
			rounds[i] = append(rounds[i], got)
			fmt.Fprintf(os.Stderr, "round %d: %-32s %3d: enqueue %7.0f/s, drain %7.0f/s\n", round+1, e.name, e.concurrency, got.Enqueue, got.Drain)
		}
	}
	var rows []row
	for _, all := range rounds {
		rows = append(rows, median(all))
	}
	return rows, nil
}

// once fills and empties the queue of an entrant.
func (e entrant) once(ctx context.Context, c *redis.Client, pid int) (row, error) {
	out := row{Name: e.name, Concurrency: e.concurrency, Jobs: e.jobs}
	if err := c.FlushAll(ctx).Err(); err != nil {
		return out, err
	}
	before, err := usedMemory(ctx, c)
	if err != nil {
		return out, err
	}
	began := time.Now()
	if err := e.peer.enqueue(ctx, e.jobs); err != nil {
		return out, fmt.Errorf("enqueue: %w", err)
	}
	out.Enqueue = float64(e.jobs) / time.Since(began).Seconds()
	after, err := usedMemory(ctx, c)
	if err != nil {
		return out, err
	}
	out.Memory = float64(after-before) / float64(e.jobs)

	client, server, err := cpu(pid)
	if err != nil {
		return out, err
	}
	began = time.Now()
	finish, err := e.peer.drain(ctx, e.jobs, e.concurrency)
	if finish != nil {
		defer finish()
	}
	if err != nil {
		return out, fmt.Errorf("drain: %w", err)
	}
	out.Drain = float64(e.jobs) / time.Since(began).Seconds()
	client2, server2, err := cpu(pid)
	if err != nil {
		return out, err
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(e.jobs) }
	out.ClientCPU, out.RedisCPU = each(client2-client), each(server2-server)
	return out, nil
}

// median takes the median of each figure by itself.
func median(rows []row) row {
	mid := func(of func(row) float64) float64 {
		var all []float64
		for _, r := range rows {
			all = append(all, of(r))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	out := rows[0]
	out.Enqueue = mid(func(r row) float64 { return r.Enqueue })
	out.Drain = mid(func(r row) float64 { return r.Drain })
	out.ClientCPU = mid(func(r row) float64 { return r.ClientCPU })
	out.RedisCPU = mid(func(r row) float64 { return r.RedisCPU })
	out.Memory = mid(func(r row) float64 { return r.Memory })
	return out
}

// usedMemory is what Redis has allocated, in bytes.
func usedMemory(ctx context.Context, c *redis.Client) (int64, error) {
	info, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, fmt.Errorf("ask Redis for its memory: %w", err)
	}
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return 0, fmt.Errorf("ask Redis for its memory: no used_memory")
}

// tick is the unit of /proc/*/stat: USER_HZ, 100 a second on Linux.
const tick = 10 * time.Millisecond

// cpu returns the CPU time used so far by this process and by the one with pid.
func cpu(pid int) (own, other time.Duration, err error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0, fmt.Errorf("read our CPU time: %w", err)
	}
	own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read the CPU time of Redis: %w", err)
	}
	// The name in brackets may hold spaces; utime and stime are fields 14 and
	// 15 of the line, 12 and 13 after it (proc(5)).
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("read the CPU time of Redis: %d fields", len(fields))
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read the CPU time of Redis: %w", err)
		}
		other += time.Duration(n) * tick
	}
	return own, other, nil
}
