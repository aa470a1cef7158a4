package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// failoverTime is how long a failover, or a node's return, may take on a busy
// machine: it takes two seconds on an idle one.
const failoverTime = 60 * time.Second

// Node is a redis-server of a group, which everybody reaches through its line.
type Node struct {
	*Redis
	// Line is the address by which clients, sentinels and other nodes know it.
	Line *Lag
	port string // of the line
}

// startNode starts a node with its files in dir. more gets the port of its line.
func startNode(dir string, more func(port string) []string) (*Node, error) {
	line, err := NewLag()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(line.Addr())
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	if err != nil {
		line.Close()
		return nil, err
	}
	args := append([]string{"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"}, more(port)...)
	r, err := StartRedis(dir, args...)
	if err != nil {
		line.Close()
		return nil, err
	}
	line.To(r.Addr)
	return &Node{Redis: r, Line: line, port: port}, nil
}

func (n *Node) close() error {
	n.Line.Close()
	return n.Kill()
}

// info is a section of INFO, asked without the line.
func (n *Node) info(section string) string {
	c := n.Client()
	defer c.Close()
	return c.Info(context.Background(), section).Val() // "" if it does not answer
}

func (n *Node) isPrimary() bool { return strings.Contains(n.info("replication"), "role:master") }

// follows reports whether it is a replica that has caught up.
func (n *Node) follows() bool {
	text := n.info("replication")
	return strings.Contains(text, "role:slave") && strings.Contains(text, "master_link_status:up") &&
		strings.Contains(text, "master_sync_in_progress:0")
}

// feeds reports whether a replica of it is up to date.
func (n *Node) feeds() bool { return strings.Contains(n.info("replication"), "state=online") }

// quietClient are options of a client that sends no command twice by itself.
func quietClient(addrs []string) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs: addrs, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second, PoolSize: 60, DisableIdentity: true,
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// until waits for a condition of a group.
func until(what string, ok func() bool) error {
	return Wait(failoverTime, what, func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
}

// Sentinel is a primary with a replica, and three sentinels that promote the
// replica when the primary has been gone for two seconds. One second is too short on
// any machine: a sentinel counts the silence of a server it has just learnt of from
// then on, and first pings it after a second (SENTINEL_PING_PERIOD). So each switch made
// the new primary look down at once, and it was failed over again; a replica that
// lost its primary that way is shown as well only after two INFO of 10 s each, and one
// that has been without a primary for ten times down-after is not promoted any more.
type Sentinel struct {
	Nodes []*Node
	// Addrs are the sentinels.
	Addrs []string

	sentinels []*Process
}

// sentinelMaster is the name of the primary for the sentinels.
const sentinelMaster = "main"

// StartSentinel starts the group with its files in dir.
func StartSentinel(dir string) (*Sentinel, error) {
	s := &Sentinel{}
	if err := s.start(dir); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sentinel) start(dir string) error {
	for i := range 2 {
		n, err := startNode(filepath.Join(dir, fmt.Sprintf("node%d", i)), func(port string) []string {
			args := []string{"--replica-announce-ip", "127.0.0.1", "--replica-announce-port", port}
			if i > 0 {
				args = append(args, "--replicaof", "127.0.0.1 "+s.Nodes[0].port)
			}
			return args
		})
		if err != nil {
			return err
		}
		s.Nodes = append(s.Nodes, n)
	}
	if err := until("the replica", s.Nodes[0].feeds); err != nil {
		return err
	}
	for i := range 3 {
		if err := s.startSentinel(filepath.Join(dir, fmt.Sprintf("sentinel%d", i))); err != nil {
			return err
		}
	}
	return until("the sentinels", func() bool {
		return s.ask(func(c *redis.SentinelClient) bool {
			m, err := c.Master(context.Background(), sentinelMaster).Result()
			return err == nil && m["num-slaves"] == "1" && m["num-other-sentinels"] == "2"
		})
	})
}

func (s *Sentinel) startSentinel(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor %[3]s 127.0.0.1 %[4]s 2\n"+
		"sentinel down-after-milliseconds %[3]s 2000\nsentinel failover-timeout %[3]s 4000\n", port, dir, sentinelMaster, s.Nodes[0].port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := StartProcess(exec.Command("redis-server", conf, "--sentinel"), filepath.Join(dir, "sentinel.log"))
	if err != nil {
		return err
	}
	s.sentinels = append(s.sentinels, p)
	s.Addrs = append(s.Addrs, net.JoinHostPort("127.0.0.1", port))
	return nil
}

// Client returns a client that follows the primary; the caller closes it.
func (s *Sentinel) Client() redis.UniversalClient {
	o := quietClient(s.Addrs)
	o.MasterName = sentinelMaster
	return redis.NewUniversalClient(o)
}

// Lines are the lines of all nodes.
func (s *Sentinel) Lines() []*Lag { return []*Lag{s.Nodes[0].Line, s.Nodes[1].Line} }

// Failover kills the primary with kill -9, waits until the other is promoted and
// all sentinels say so, starts the old one as its replica and waits until it has
// caught up. It starts with its append-only file: one that starts empty and is promoted
// before it has caught up loses everything.
func (s *Sentinel) Failover() error {
	old, next := s.Nodes[0], s.Nodes[1]
	if !old.isPrimary() {
		old, next = next, old
	}
	if err := old.Kill(); err != nil {
		return err
	}
	err := until("the promotion", func() bool { return next.isPrimary() && s.named(next) })
	if err == nil {
		err = old.StartWith("--replicaof", "127.0.0.1 "+next.port)
	}
	if err == nil {
		// On a busy machine the sentinels may change their mind and promote it back.
		err = until("a primary with a replica", func() bool {
			return (old.follows() && next.feeds() || next.follows() && old.feeds()) && s.settled()
		})
	}
	if err != nil {
		return fmt.Errorf("%w\n%s\n%s\n%s", err, old.info("replication"), next.info("replication"), s.sentinels[0].LogTail())
	}
	return nil
}

// ask calls f with each sentinel, until it returns false.
func (s *Sentinel) ask(f func(*redis.SentinelClient) bool) bool {
	for _, addr := range s.Addrs {
		c := redis.NewSentinelClient(&redis.Options{Addr: addr})
		good := f(c)
		_ = c.Close()
		if !good {
			return false
		}
	}
	return true
}

// named reports whether all sentinels name this node as the primary.
func (s *Sentinel) named(primary *Node) bool {
	return s.ask(func(c *redis.SentinelClient) bool {
		addr, err := c.GetMasterAddrByName(context.Background(), sentinelMaster).Result()
		return err == nil && addr[1] == primary.port
	})
}

// settled reports whether all sentinels see a primary and a replica in good health.
func (s *Sentinel) settled() bool {
	return s.ask(func(c *redis.SentinelClient) bool {
		m, err := c.Master(context.Background(), sentinelMaster).Result()
		if err != nil || m["flags"] != "master" {
			return false
		}
		replicas, err := c.Replicas(context.Background(), sentinelMaster).Result()
		return err == nil && len(replicas) == 1 && replicas[0]["flags"] == "slave" && replicas[0]["master-link-status"] == "ok"
	})
}

// Close ends all processes.
func (s *Sentinel) Close() error {
	var errs []error
	for _, p := range s.sentinels {
		errs = append(errs, p.Kill())
	}
	for _, n := range s.Nodes {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}
