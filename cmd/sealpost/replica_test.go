package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sealpost/sealpost/queue/queuetest"
)

// startReplica starts a replica of the script's Redis and waits until it follows.
func startReplica(ts *testscript.TestScript, _ bool, _ []string) {
	addr := strings.TrimSuffix(strings.TrimPrefix(ts.Getenv("SEALPOST_REDIS_URL"), "redis://"), "/0")
	host, primary, _ := strings.Cut(addr, ":")
	port, err := queuetest.FreePort()
	ts.Check(err)
	dir := ts.MkAbs("replica")
	ts.Check(os.MkdirAll(dir, 0o700))
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "",
		"--replicaof", host+" "+primary)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	poll(ts, "the replica", func() bool {
		return strings.Contains(rdb.Info(context.Background(), "replication").Val(), "state=online")
	})
}
