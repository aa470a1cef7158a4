package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
)

const (
	clusterPrimaries = 3
	clusterSlots     = 16384
)

// Cluster is a Redis Cluster of three primaries and a replica of each.
type Cluster struct {
	// Nodes are the first primaries 0 to 2, then a replica of each.
	Nodes []*Node
	next  int // primary to be killed next
}

// StartCluster starts the cluster with its files in dir.
func StartCluster(dir string) (*Cluster, error) {
	c := &Cluster{}
	if err := c.start(dir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(dir string) error {
	var buses []string
	for i := range 2 * clusterPrimaries {
		bus, err := freePort()
		if err != nil {
			return err
		}
		n, err := startNode(filepath.Join(dir, fmt.Sprintf("node%d", i)), func(port string) []string {
			return []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", bus,
				"--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", port, "--cluster-announce-bus-port", bus,
				"--cluster-require-full-coverage", "no"}
		})
		if err != nil {
			return err
		}
		c.Nodes, buses = append(c.Nodes, n), append(buses, bus)
	}
	for i, n := range c.Nodes {
		if err := n.do("CLUSTER", "SET-CONFIG-EPOCH", i+1); err != nil {
			return err
		}
		if i < clusterPrimaries {
			from, to := i*clusterSlots/clusterPrimaries, (i+1)*clusterSlots/clusterPrimaries-1
			if err := n.do("CLUSTER", "ADDSLOTSRANGE", from, to); err != nil {
				return err
			}
		}
		if err := c.Nodes[0].do("CLUSTER", "MEET", "127.0.0.1", n.port, buses[i]); err != nil {
			return err
		}
	}
	return c.attachReplicas()
}

func (c *Cluster) attachReplicas() error {
	err := until("all nodes to know each other", func() bool {
		for _, n := range c.Nodes {
			if strings.Count(n.cluster("NODES"), " connected") != len(c.Nodes) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	for i := range clusterPrimaries {
		id := c.Nodes[i].cluster("MYID")
		if err := c.Nodes[clusterPrimaries+i].do("CLUSTER", "REPLICATE", id); err != nil {
			return err
		}
	}
	return until("the replicas", func() bool {
		for i, n := range c.Nodes {
			if !strings.Contains(n.cluster("INFO"), "cluster_state:ok") || i < clusterPrimaries && !n.feeds() {
				return false
			}
		}
		return true
	})
}

// do sends one command to the node, past its line.
func (n *Node) do(args ...any) error {
	c := n.Client()
	defer c.Close()
	if err := c.Do(context.Background(), args...).Err(); err != nil {
		return fmt.Errorf("%v at %s: %w", args[:2], n.Addr, err)
	}
	return nil
}

// cluster is the answer of CLUSTER and one word, "" if there is none.
func (n *Node) cluster(word string) string {
	c := n.Client()
	defer c.Close()
	text, _ := c.Do(context.Background(), "CLUSTER", word).Text()
	return text
}

// Client returns a client of the cluster; the caller closes it.
func (c *Cluster) Client() redis.UniversalClient {
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Line.Addr())
	}
	o := quietClient(addrs)
	o.IsClusterMode = true
	return redis.NewUniversalClient(o)
}

// Lines are the lines of all nodes.
func (c *Cluster) Lines() []*Lag {
	var lines []*Lag
	for _, n := range c.Nodes {
		lines = append(lines, n.Line)
	}
	return lines
}

// Failover kills one primary with kill -9, another one each time, waits until its
// replica is promoted, starts the old one and waits until it has caught up.
func (c *Cluster) Failover() error {
	old, next := c.Nodes[c.next], c.Nodes[c.next+clusterPrimaries]
	if !old.isPrimary() {
		old, next = next, old
	}
	c.next = (c.next + 1) % clusterPrimaries
	if err := old.Kill(); err != nil {
		return err
	}
	if err := until("the promotion", next.isPrimary); err != nil {
		return err
	}
	if err := old.Start(); err != nil {
		return err
	}
	return until("the old primary as a replica", func() bool {
		return old.follows() && next.feeds() && strings.Contains(c.Nodes[0].cluster("INFO"), "cluster_state:ok")
	})
}

// primary returns the node that has the slot.
func (c *Cluster) primary(slot int) (*Node, error) {
	for _, n := range c.Nodes {
		for line := range strings.Lines(n.cluster("NODES")) {
			if strings.Contains(line, "myself,master") && hasSlot(strings.Fields(line), slot) {
				return n, nil
			}
		}
	}
	return nil, fmt.Errorf("no node has slot %d", slot)
}

// hasSlot looks at the ranges that follow the eight fields of a line of CLUSTER NODES.
func hasSlot(fields []string, slot int) bool {
	const first = 8
	for _, r := range fields[min(first, len(fields)):] {
		from, to, isRange := strings.Cut(r, "-")
		low, err := strconv.Atoi(from)
		if err != nil {
			continue // a slot that is on its way
		}
		high := low
		if isRange {
			high, _ = strconv.Atoi(to)
		}
		if low <= slot && slot <= high {
			return true
		}
	}
	return false
}

// MoveSlot moves the slot of key to another primary, as redis-cli --cluster
// reshard does, key by key while it is in use. between is called in the middle,
// when both nodes know that the slot is on its way and no key has moved yet.
func (c *Cluster) MoveSlot(key string, between func()) error {
	one := c.Nodes[0].Client()
	defer one.Close()
	number, err := one.ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		return err
	}
	slot := int(number)
	from, err := c.primary(slot)
	if err != nil {
		return err
	}
	to := c.Nodes[0]
	for _, n := range c.Nodes {
		if n != from && n.isPrimary() {
			to = n
		}
	}
	if err := to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.cluster("MYID")); err != nil {
		return err
	}
	if err := from.do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.cluster("MYID")); err != nil {
		return err
	}
	between()
	if err := moveKeys(from, to, slot); err != nil {
		return err
	}
	id := to.cluster("MYID")
	for _, n := range []*Node{to, from} { // the new one first, as the manual says
		if err := n.do("CLUSTER", "SETSLOT", slot, "NODE", id); err != nil {
			return err
		}
	}
	return nil
}

// moveKeys moves keys until the slot is empty.
func moveKeys(from, to *Node, slot int) error {
	const page, timeout = 100, 5000 // keys, ms
	c := from.Client()
	defer c.Close()
	host, port, err := net.SplitHostPort(to.Addr)
	if err != nil {
		return err
	}
	for {
		keys, err := c.ClusterGetKeysInSlot(context.Background(), slot, page).Result()
		if err != nil || len(keys) == 0 {
			return err
		}
		args := []any{"MIGRATE", host, port, "", 0, timeout, "KEYS"}
		for _, k := range keys {
			args = append(args, k)
		}
		if err := c.Do(context.Background(), args...).Err(); err != nil {
			return fmt.Errorf("MIGRATE: %w", err)
		}
	}
}

// Close ends all processes.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.Nodes {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// NewSentinel starts a [Sentinel] for the test. It skips the test when there is no
// redis-server on this machine.
func NewSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	needRedis(tb)
	s, err := StartSentinel(Dir(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// NewCluster starts a [Cluster] for the test. It skips the test when there is no
// redis-server on this machine.
func NewCluster(tb testing.TB) *Cluster {
	tb.Helper()
	needRedis(tb)
	c, err := StartCluster(Dir(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

func needRedis(tb testing.TB) {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		tb.Skip("skipped: no redis-server on this machine (make install-test-deps installs it)")
	}
}

func freePort() (string, error) {
	port, err := queuetest.FreePort()
	return strconv.Itoa(port), err
}
