package drill

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisStart is how long redis-server may take to answer: it loads the file of
// 100,000 jobs in a second or two.
const redisStart = 30 * time.Second

// RedisServer returns the path of redis-server, "" if there is none on PATH.
func RedisServer() string {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return ""
	}
	return path
}

// server is a redis-server that answers only what its append-only file has
// (appendfsync always), so that it may be killed at any time.
type server struct {
	path, dir, port string
	proc            *process
}

// startServer starts a redis-server that keeps its files in dir.
func startServer(path, dir string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{path: path, dir: dir, port: port}
	return s, s.start()
}

func (s *server) url() string { return "redis://127.0.0.1:" + s.port + "/0" }

// start starts it, again after a kill, and waits until it answers.
func (s *server) start() error {
	cmd := exec.Command(s.path, "--port", s.port, "--bind", "127.0.0.1", "--save", "", "--dir", s.dir,
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
	var err error
	if s.proc, err = start(cmd, filepath.Join(s.dir, "redis.log")); err != nil {
		return err
	}
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + s.port, MaxRetries: -1, DisableIdentity: true})
	defer c.Close()
	err = await(redisStart, func() error {
		if !s.proc.running() {
			return fmt.Errorf("redis-server has ended: %s", s.proc.tail())
		}
		return c.Ping(context.Background()).Err()
	})
	if err != nil {
		return fmt.Errorf("wait for redis-server: %w", err)
	}
	return nil
}

// close ends it for good.
func (s *server) close() error {
	if s.proc == nil {
		return nil
	}
	return s.proc.kill()
}
