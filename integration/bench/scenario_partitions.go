package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// partitions is the drain of a queue that is cut into 1, 2 and 4 partitions, on a
// cluster of three primaries. All share the cores of this machine, so that more
// partitions cannot be faster here; they must not cost more.
type partitions struct{}

func (partitions) name() string { return "partitions" }

func (partitions) counts() []int { return []int{1, 2, 4} }

// clusterSlots is how many there are (Redis Cluster specification).
const clusterSlots = 16384

// formed is how long three nodes may take to know each other: a second or two.
const formed = 30 * time.Second

// cluster starts three primaries without replicas, which would take a part of the
// cores.
func (w *world) cluster(ctx context.Context) ([]*redis.Client, []string, error) {
	var nodes []*redis.Client
	var addrs, buses []string
	for i := range 3 {
		bus, err := queuetest.FreePort()
		if err != nil {
			return nil, nil, err
		}
		dir := filepath.Join(w.dir, fmt.Sprintf("node-%d", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, fmt.Errorf("make a directory: %w", err)
		}
		r, err := peers.StartRedis(dir, append(w.durable(), "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus))...)
		if err != nil {
			return nil, nil, err
		}
		c := r.Client()
		w.later(func() { _ = errors.Join(c.Close(), r.Kill()) })
		nodes, addrs, buses = append(nodes, c), append(addrs, r.Addr), append(buses, fmt.Sprint(bus))
	}
	for i, c := range nodes {
		err := c.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", i*clusterSlots/3, (i+1)*clusterSlots/3-1).Err()
		if err != nil {
			return nil, nil, fmt.Errorf("make a cluster: %w", err)
		}
		host, port, err := net.SplitHostPort(addrs[i])
		if err != nil {
			return nil, nil, fmt.Errorf("make a cluster: %w", err)
		}
		if err := nodes[0].Do(ctx, "CLUSTER", "MEET", host, port, buses[i]).Err(); err != nil {
			return nil, nil, fmt.Errorf("make a cluster: %w", err)
		}
	}
	return nodes, addrs, peers.Wait(formed, "the cluster", func() error {
		for _, c := range nodes {
			text, err := c.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			if !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_known_nodes:3") {
				return errors.New("not yet")
			}
		}
		return nil
	})
}

func (k partitions) open(ctx context.Context, w *world) ([]side, error) {
	nodes, addrs, err := w.cluster(ctx)
	if err != nil {
		return nil, err
	}
	var sides []side
	for _, n := range k.counts() {
		p, err := w.goSide("sealpost")
		if err != nil {
			return nil, err
		}
		r := request{Cluster: addrs, Partitions: n, Concurrency: 200, Jobs: w.jobs}
		sides = append(sides, side{name: partitioned(n), turn: func(ctx context.Context) (figures, error) {
			return spread(ctx, nodes, p, r)
		}})
	}
	return sides, nil
}

func partitioned(n int) string { return fmt.Sprintf("%d partitions", n) }

// spread fills and drains the cluster.
func spread(ctx context.Context, nodes []*redis.Client, p *process, r request) (figures, error) {
	used := func() (sum float64, err error) {
		for _, c := range nodes {
			cpu, err := redisCPU(ctx, c)
			if err != nil {
				return 0, err
			}
			sum += cpu
		}
		return sum, nil
	}
	for _, c := range nodes {
		if err := c.FlushAll(ctx).Err(); err != nil {
			return nil, fmt.Errorf("empty Redis: %w", err)
		}
	}
	r.Op = "enqueue"
	filled, err := p.call(ctx, r)
	if err != nil {
		return nil, err
	}
	before, err := used()
	if err != nil {
		return nil, err
	}
	r.Op = "drain"
	a, err := p.call(ctx, r)
	if err != nil {
		return nil, err
	}
	after, err := used()
	if err != nil {
		return nil, err
	}
	n := float64(r.Jobs)
	return figures{
		rate: n / a.Seconds, enqueue: n / filled.Seconds, client: a.CPU * 1e6 / n, server: (after - before) * 1e6 / n,
		total: (a.CPU + after - before) * 1e6 / n, memory: a.RSS,
	}, nil
}

func (k partitions) rows(r results) []row {
	var rows []row
	for _, n := range k.counts()[1:] {
		what := fmt.Sprintf("drain of %d partitions beside 1, three primaries", n)
		// 0.85: nearer to 1 means nothing.
		rows = append(rows, r.compare(what, rate, partitioned(n), partitioned(1), goal{is: 0.85}),
			r.compare(what, total, partitioned(n), partitioned(1), goal{1.15, true}))
	}
	return rows
}
