package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/sealpost/sealpost/faultline"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// pair is a primary and a replica whose line to it can be stalled.
func pair(t *testing.T) (primary *queuetest.Server, replica *queuetest.Server, line *faultline.Line) {
	t.Helper()
	primary = queuetest.NewServer(t, "--appendonly", "no", "--repl-diskless-sync-delay", "0")
	line = queuetest.NewLine(t, primary.Addr())
	host, port, err := net.SplitHostPort(line.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica = queuetest.NewServer(t, "--appendonly", "no", "--replicaof", host+" "+port)
	rdb := dial(t, primary.Addr())
	queuetest.Eventually(t, "the replica follows", func() bool {
		return strings.Contains(rdb.Info(context.Background(), "replication").Val(), "state=online")
	})
	// Online is said up to a second before the replica gets the first command.
	conn := rdb.Conn()
	defer conn.Close()
	if err := conn.Set(context.Background(), "first", "", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Wait(context.Background(), 1, 2*time.Second).Result(); n != 1 {
		t.Fatalf("%d replicas follow: %v", n, err)
	}
	return primary, replica, line
}

func TestReplicaLevelWaitsForTheReplica(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	primary, replica, line := pair(t)
	there := dial(t, replica.Addr())
	client := queue.NewClient(dial(t, primary.Addr()), queue.ClientOptions{Durability: queue.Replica, AckTimeout: 5 * time.Second})
	stream := queue.StreamKey("", 0)
	for n := int64(1); n <= 20; n++ {
		if _, err := client.Enqueue(ctx, queuetest.Job()); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
		if got := there.XLen(ctx, stream).Val(); got != n {
			t.Fatalf("the replica has %d jobs when job %d counts as accepted", got, n)
		}
	}

	line.Stall()
	quick := queue.NewClient(dial(t, primary.Addr()), queue.ClientOptions{Durability: queue.Replica})
	job := queuetest.Job(`"id":"mine"`)
	start := time.Now()
	receipts, err := quick.Enqueue(ctx, job)
	unsure, ok := errors.AsType[*queue.UnsureError](err)
	if !errors.Is(err, queue.ErrNotReplicated) || !ok || unsure.IDs[0] != "mine" || receipts[0].ID != "mine" || !receipts[0].Unsure {
		t.Fatalf("got %+v, %v; want ErrNotReplicated that names the job", receipts, err)
	}
	if took := time.Since(start); took < queue.DefaultAckTimeout || took > 10*queue.DefaultAckTimeout {
		t.Errorf("gave up after %v, want %v", took, queue.DefaultAckTimeout)
	}
	// The job is there, so a resend is a duplicate; but it is not safer by that, on
	// any connection.
	for range 3 {
		receipts, err = quick.Enqueue(ctx, job)
		if !errors.Is(err, queue.ErrNotReplicated) || !receipts[0].Duplicate {
			t.Fatalf("sent again: got %+v, %v; want a duplicate that is not replicated", receipts, err)
		}
	}
	line.Resume()
	receipts, err = client.Enqueue(ctx, job)
	if err != nil || !receipts[0].Duplicate || receipts[0].Unsure {
		t.Errorf("when the line is back: got %+v, %v; want an acknowledged duplicate", receipts, err)
	}
	if got := there.XLen(ctx, stream).Val(); got != 21 {
		t.Errorf("the replica has %d jobs, want 21", got)
	}
}

func TestJobsWithoutAnIDAreGivenOneAboveMemory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	primary, _, line := pair(t)
	rdb := dial(t, primary.Addr())
	client := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Replica, Partitions: 8})
	if _, err := client.Enqueue(ctx, queuetest.Job()); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	line.Stall()
	jobs := []json.RawMessage{queuetest.Job(), queuetest.Job(), queuetest.Job()}
	receipts, err := client.Enqueue(ctx, jobs...)
	unsure, ok := errors.AsType[*queue.UnsureError](err)
	if !ok || len(unsure.IDs) != len(jobs) {
		t.Fatalf("got %v; want one UnsureError with all ids: the jobs of a batch go to one partition", err)
	}
	line.Resume()
	again := make([]json.RawMessage, len(jobs))
	for i, r := range receipts {
		if !strings.HasPrefix(r.ID, "auto-") {
			t.Fatalf("got id %q, want a minted one", r.ID)
		}
		if again[i], err = queue.WithID(jobs[i], r.ID); err != nil {
			t.Fatalf("WithID: %v", err)
		}
	}
	receipts, err = client.Enqueue(ctx, again...)
	for _, r := range receipts {
		if err != nil || !r.Duplicate {
			t.Errorf("sent again: got %+v, %v; want a duplicate", r, err)
		}
	}
}

func TestTheScriptsMayBeLostAtReplicaLevel(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	primary, _, _ := pair(t)
	rdb := dial(t, primary.Addr())
	client := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Replica, AckTimeout: 5 * time.Second})
	for n := int64(1); n <= 3; n++ {
		if err := rdb.ScriptFlush(ctx).Err(); err != nil {
			t.Fatalf("SCRIPT FLUSH: %v", err)
		}
		if _, err := client.Enqueue(ctx, queuetest.Job()); err != nil {
			t.Fatalf("Enqueue: %v", err)
		}
		if got := rdb.XLen(ctx, queue.StreamKey("", 0)).Val(); got != n {
			t.Errorf("got %d jobs, want %d", got, n)
		}
	}
}

func TestReplicaLevelWithoutAReplica(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	rdb := dial(t, queuetest.NewServer(t).Addr())
	client := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Replica, AckTimeout: time.Millisecond})
	if _, err := client.Enqueue(ctx, queuetest.Job()); !errors.Is(err, queue.ErrNotReplicated) {
		t.Errorf("Enqueue: got %v, want ErrNotReplicated", err)
	}
	s, err := client.Standing(ctx)
	if !errors.Is(err, queue.ErrNoDurability) || !strings.Contains(err.Error(), "attach one") {
		t.Errorf("Standing: got %v, want ErrNoDurability with what to do", err)
	}
	if s.Replicas != 0 || !errors.Is(s.Failed, queue.ErrNotReplicated) || !strings.Contains(s.String(), "not acknowledged") {
		t.Errorf("got %+v", s)
	}
}

func TestDiskLevelOnRedis7NeedsAppendfsyncAlways(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := queuetest.NewServer(t) // with appendfsync always
	rdb := dial(t, server.Addr())
	if rdb.Do(ctx, "WAITAOF", 0, 0, 1).Err() == nil {
		t.Skip("only for a server without WAITAOF, before Redis 7.2: this one has it")
	}
	client := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Disk})
	if _, err := client.Enqueue(ctx, queuetest.Job(`"id":"a"`)); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	if s, err := client.Standing(ctx); err != nil || s.AppendFsync != "always" {
		t.Errorf("Standing: got %+v, %v", s, err)
	}
	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatalf("start again: %v", err)
	}
	if got := rdb.XLen(ctx, queue.StreamKey("", 0)).Val(); got != 1 {
		t.Errorf("got %d jobs after kill -9, want 1", got)
	}
	for _, set := range [][2]string{{"appendfsync", "everysec"}, {"appendonly", "no"}} {
		if err := rdb.ConfigSet(ctx, set[0], set[1]).Err(); err != nil {
			t.Fatalf("CONFIG SET: %v", err)
		}
		fresh := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Disk})
		if _, err := fresh.Enqueue(ctx, queuetest.Job()); !errors.Is(err, queue.ErrNoDurability) || !strings.Contains(err.Error(), "appendfsync always") {
			t.Errorf("%v: got %v, want ErrNoDurability with what to do", set, err)
		}
		if _, err := fresh.Standing(ctx); !errors.Is(err, queue.ErrNoDurability) {
			t.Errorf("%v: Standing: got %v, want ErrNoDurability", set, err)
		}
	}
	if got := rdb.XLen(ctx, queue.StreamKey("", 0)).Val(); got != 1 {
		t.Errorf("got %d jobs, want none more: nothing is enqueued that cannot be kept", got)
	}
}

// Runs only with a server that has WAITAOF: SEALPOST_TEST_REDIS_SERVER names a
// program, such as a valkey-server that was built from its source. A kill shows no
// flush, for the kernel has what was written; that the wait ends with the flush, and
// not before, shows in how long it takes.
func TestDiskLevelWaitsForAFileThatIsFlushedEachSecond(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := queuetest.NewServer(t, "--appendfsync", "everysec")
	rdb := dial(t, server.Addr())
	if err := rdb.Do(ctx, "WAITAOF", 0, 0, 1).Err(); err != nil {
		t.Skipf("no WAITAOF (%v): set %s to a Redis 7.2 or a Valkey", err, queuetest.ProgramEnv)
	}
	client := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Disk})
	const jobs = 20 // at the tenth of a second at which the server looks at its clock: 2 s
	start := time.Now()
	for n := range jobs {
		if _, err := client.Enqueue(ctx, queuetest.Job()); err != nil {
			t.Fatalf("job %d, after %v: %v", n, time.Since(start), err)
		}
		acked, err := rdb.Do(ctx, "WAITAOF", 1, 0, 1).Int64Slice() // answers at once: nothing is left to flush
		if err != nil || acked[0] != 1 {
			t.Errorf("job %d counts as accepted and is not on disk: %v, %v", n, acked, err)
		}
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("%d jobs one after the other took %v: nothing waits for a file that is flushed in the background", jobs, took)
	}
	server.Kill()
	if err := server.Start(); err != nil {
		t.Fatalf("start again: %v", err)
	}
	if got := rdb.XLen(ctx, queue.StreamKey("", 0)).Val(); got != jobs {
		t.Errorf("got %d jobs after kill -9, want %d", got, jobs)
	}
	if err := rdb.ConfigSet(ctx, "appendfsync", "no").Err(); err != nil {
		t.Fatalf("CONFIG SET: %v", err)
	}
	fresh := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Disk})
	if _, err := fresh.Enqueue(ctx, queuetest.Job()); !errors.Is(err, queue.ErrNoDurability) {
		t.Errorf("appendfsync no: got %v, want ErrNoDurability: Redis never says that it has flushed", err)
	}
}

// Debian has no Redis 7.2. An in-memory Redis says that it is one, and answers
// WAITAOF as the manual says.
func TestDiskLevelOnRedis72WaitsForTheFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := miniredis.RunT(t)
	local := 1
	var asked [][]string
	register := func(name string, f server.Cmd) {
		if err := m.Server().Register(name, f); err != nil {
			t.Fatalf("register %s: %v", name, err)
		}
	}
	// The in-memory server has an INFO of its own that knows little; PreHook is
	// asked first.
	m.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		if strings.ToUpper(cmd) != "INFO" {
			return false
		}
		c.WriteBulk("redis_version:7.2.4\r\naof_enabled:1\r\n")
		return true
	})
	register("WAITAOF", func(c *server.Peer, _ string, args []string) {
		asked = append(asked, args)
		c.WriteLen(2)
		c.WriteInt(local)
		c.WriteInt(0)
	})
	client := queue.NewClient(dial(t, m.Addr()), queue.ClientOptions{Durability: queue.Disk})
	if _, err := client.Enqueue(ctx, queuetest.Job()); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	asked = nil // the first one found no script
	if _, err := client.Enqueue(ctx, queuetest.Job(), queuetest.Job()); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	if len(asked) != 1 || strings.Join(asked[0], " ") != "1 0 1400" {
		t.Errorf("got WAITAOF %v, want one for the batch: 1 0 1400", asked)
	}
	local = 0
	if _, err := client.Enqueue(ctx, queuetest.Job(`"id":"a"`)); !errors.Is(err, queue.ErrNotOnDisk) || !strings.Contains(err.Error(), "(a)") {
		t.Errorf("got %v, want ErrNotOnDisk that names the job", err)
	}
}
