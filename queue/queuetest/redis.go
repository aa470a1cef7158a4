// Package queuetest has what tests of the queue and of its users need: a real
// redis-server and an in-memory one, a line to them that can be cut, a handler
// that does what the test says, and the conformance suite of the protocol.
package queuetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Env names the variable that holds the address of a Redis for tests, such as
// "127.0.0.1:6379". Without it tests start a redis-server of their own.
const Env = "SEALPOST_TEST_REDIS"

// ProgramEnv names the variable that holds the server program that tests start:
// a Valkey, or a Redis of another version. Without it, it is redis-server.
const ProgramEnv = "SEALPOST_TEST_REDIS_SERVER"

func program() string {
	if name := os.Getenv(ProgramEnv); name != "" {
		return name
	}
	return "redis-server"
}

// startTime is how long a redis-server may take to answer.
const startTime = 10 * time.Second

// Options are client options as the queue needs them: go-redis must not send a
// command twice on its own.
func Options(addr string) *redis.Options {
	return &redis.Options{Addr: addr, MaxRetries: -1, PoolSize: 50}
}

// Prefix returns a key prefix that no other test has.
func Prefix() string { return "t" + strings.ToLower(rand.Text()[:12]) }

// shared is the one redis-server of the test binary. It ends with the process.
var shared = sync.OnceValues(func() (*Server, error) {
	dir, err := os.MkdirTemp("", "queuetest-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, args: []string{"--save", "", "--appendonly", "no"}, sweep: true}
	return s, s.Start()
})

// Redis returns a client on a real redis-server, one for the whole test binary,
// and a key prefix of this test's own. It skips the test if there is none.
func Redis(t testing.TB) (redis.UniversalClient, string) {
	t.Helper()
	addr := os.Getenv(Env)
	if addr == "" {
		need(t)
		s, err := shared()
		if err != nil {
			t.Fatalf("start redis-server: %v", err)
		}
		addr = s.Addr()
	}
	rdb := redis.NewClient(Options(addr))
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb, Prefix()
}

// need skips the test if no redis-server can be started.
func need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath(program()); err != nil {
		t.Skipf("no redis-server on this machine and %s is not set: not tested against a real Redis", Env)
	}
}

// Mini returns a client on an in-memory Redis of this test's own.
func Mini(t testing.TB) (redis.UniversalClient, string) {
	t.Helper()
	m := miniredis.RunT(t)
	rdb := redis.NewClient(Options(m.Addr()))
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb, Prefix()
}

// Server is a redis-server that a test can kill and start again.
type Server struct {
	dir   string
	args  []string
	port  int
	sweep bool // remove dir when the process ends

	cmd  *exec.Cmd
	life io.Closer // the server ends when this is closed, also by our death
}

// NewServer starts a redis-server with an append-only file, for one test. It
// skips the test if there is no redis-server.
func NewServer(t testing.TB, args ...string) *Server {
	t.Helper()
	need(t)
	s := &Server{dir: t.TempDir(), args: append([]string{"--save", "", "--appendonly", "yes", "--appendfsync", "always"}, args...)}
	if err := s.Start(); err != nil {
		t.Fatalf("start redis-server: %v", err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Addr is the server's address, the same after a restart.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Start starts the server and waits until it answers.
func (s *Server) Start() error {
	if s.port == 0 {
		port, err := FreePort()
		if err != nil {
			return err
		}
		s.port = port
	}
	// The shell kills the server when the pipe closes, which also happens when
	// the test binary dies without a cleanup.
	script := `"$PROGRAM" "$@" & pid=$!; read gone; kill -9 $pid; wait $pid`
	if s.sweep {
		script += `; rm -rf "$DIR"`
	}
	args := append([]string{"-c", script, "sh", "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir}, s.args...)
	s.cmd = exec.Command("sh", args...)
	s.cmd.Env = append(os.Environ(), "DIR="+s.dir, "PROGRAM="+program())
	life, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.life = life
	if err := s.cmd.Start(); err != nil {
		return err
	}
	return s.ready()
}

func (s *Server) ready() error {
	rdb := redis.NewClient(Options(s.Addr()))
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		err := rdb.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no answer within %v: %w", startTime, err)
		}
		t := time.NewTimer(20 * time.Millisecond)
		<-t.C
	}
}

// Kill ends the server as kill -9 does. A killed server can be started again.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.life.Close()
	_ = s.cmd.Wait() // the shell reports the kill
	s.cmd = nil
}
