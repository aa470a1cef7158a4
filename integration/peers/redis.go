package peers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
)

// redisStart is how long redis-server may take to answer: it starts in 50 ms,
// and loads an append-only file of this test's size in less than a second.
const redisStart = 20 * time.Second

// Redis is a redis-server with an append-only file, flushed each second, that
// a test can kill and start again on the same port and files.
type Redis struct {
	// Addr is host:port, the same over restarts.
	Addr string
	// Dir holds the append-only files and redis.log.
	Dir string

	args []string
	proc *Process
}

// NewRedis starts a redis-server for the test and stops it at its end. It
// skips the test when there is no redis-server on this machine.
func NewRedis(tb testing.TB) *Redis {
	tb.Helper()
	needRedis(tb)
	r, err := StartRedis(Dir(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Kill() })
	return r
}

// StartRedis starts a redis-server that keeps its files in dir. args are
// further options, which win over the defaults: "--appendonly", "no".
func StartRedis(dir string, args ...string) (*Redis, error) {
	port, err := queuetest.FreePort()
	if err != nil {
		return nil, err
	}
	r := &Redis{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Dir: dir}
	r.args = append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction",
	}, args...)
	if err := r.Start(); err != nil {
		return nil, err
	}
	return r, nil
}

// Start starts the server, again after a Kill or Stop, and waits until it
// answers.
func (r *Redis) Start() error { return r.StartWith() }

// StartWith is Start with further options, which the next start forgets.
func (r *Redis) StartWith(args ...string) error {
	args = append(slices.Clone(r.args), args...)
	p, err := StartProcess(exec.Command("redis-server", args...), filepath.Join(r.Dir, "redis.log"))
	if err != nil {
		return err
	}
	r.proc = p
	c := r.Client()
	defer c.Close()
	err = Wait(redisStart, "redis-server", func() error { return c.Ping(context.Background()).Err() })
	if err != nil {
		return fmt.Errorf("%w\n%s", errors.Join(err, p.Kill()), p.LogTail())
	}
	return nil
}

// Kill ends the server as kill -9 does.
func (r *Redis) Kill() error { return r.proc.Kill() }

// Stop ends the server in order: it writes its append-only file first.
func (r *Redis) Stop() error { return r.proc.Stop(redisStart) }

// Process is the running server.
func (r *Redis) Process() *Process { return r.proc }

// URL is the server's address in the form of SEALPOST_REDIS_URL.
func (r *Redis) URL() string { return "redis://" + r.Addr + "/0" }

// Client returns a new client of the server, without silent retries; the
// caller closes it.
func (r *Redis) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: r.Addr, MaxRetries: -1, DisableIdentity: true})
}

// Files returns the bytes of every file the server keeps, by path: what a
// thief of the disk would hold. The log is among them.
func (r *Redis) Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(r.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the files of redis-server: %w", err)
	}
	return files, nil
}
