package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

var gateCredential = queue.Credential{Secret: "0123456789abcdef01234567", Version: 1}

// gateRefused is the hash of refusals.
const gateRefused = queue.DefaultPrefix + ":{shared}:refused"

// login is a far side that refuses the credential while wrong.
type login struct {
	wrong atomic.Bool
	tries atomic.Int64
}

func (l *login) do(context.Context, *queue.Claim) (queue.Reply, error) {
	l.tries.Add(1)
	c := gateCredential
	if l.wrong.Load() {
		return queue.Reply{Code: "535"}, &queue.ParkedError{Secret: c.Secret, Version: c.Version, Err: errors.New("535 wrong password")}
	}
	return queue.Reply{Stage: "done", Secret: c.Secret, SecretVersion: c.Version}, nil
}

// gateWorld is a bubble of fake time without pools, and a far side that refuses.
func gateWorld(t *testing.T, test func(w *world, l *login)) {
	paceWorld(t, 0, func(w *world) {
		l := &login{}
		l.wrong.Store(true)
		test(w, l)
	})
}

// gatePool runs a pool for the jobs of the credential until stop.
func (w *world) gatePool(l *login, partitions int) (stop func()) {
	line := w.newLine()
	cfg := faultConfig(line.rdb, "")
	cfg.Partitions = partitions
	cfg.Credentials = func(context.Context, string) (int64, error) { return gateCredential.Version, nil }
	cfg.CredentialsOf = func(context.Context, queue.Work) ([]queue.Credential, error) {
		return []queue.Credential{gateCredential}, nil
	}
	w.t.Cleanup(func() { _ = line.rdb.Close() })
	return queuetest.Run(w.t, queue.Paced(cfg, 10), &queuetest.Handler{Do: l.do})
}

// put adds jobs to a partition as any Redis client may.
func (w *world) put(partition, n int) (ids []string) {
	for range n {
		args := &redis.XAddArgs{Stream: queue.StreamKey("", partition), Values: []string{"job", `{"action":{"type":"test"}}`}}
		jid, err := w.line.rdb.XAdd(w.t.Context(), args).Result()
		if err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, fmt.Sprintf("q%d-%s", partition, jid))
	}
	return ids
}

func (w *world) are(ids []string, state queue.State) {
	w.t.Helper()
	for _, id := range ids {
		if s, err := w.client.Show(w.t.Context(), id); err != nil || s.State != state {
			w.t.Errorf("job %s: got %q, %v, want %q", id, s.State, err, state)
		}
	}
}

// TestParkedJobsWhoseRefusalIsGoneAreProbed: a process opened the gate and died
// before it had let the parked jobs go, or a failover lost the refusal.
func TestParkedJobsWhoseRefusalIsGoneAreProbed(t *testing.T) {
	gateWorld(t, func(w *world, l *login) {
		stop := w.gatePool(l, 1)
		ids := w.put(0, 5)
		time.Sleep(time.Minute)
		w.are(ids, queue.Parked)
		l.wrong.Store(false)
		if err := w.line.rdb.Del(w.t.Context(), gateRefused).Err(); err != nil {
			t.Fatal(err)
		}
		before := l.tries.Load()
		time.Sleep(time.Minute)
		if n := l.tries.Load() - before; n > 0 {
			w.t.Errorf("%d jobs were tried at once: each could lock the account", n)
		}
		time.Sleep(10 * time.Minute)
		w.are(ids, queue.Done)
		stop()
	})
}

// TestNoRefusalWithParkedJobsIsForgotten: no process has run for longer than
// refusals are kept.
func TestNoRefusalWithParkedJobsIsForgotten(t *testing.T) {
	gateWorld(t, func(w *world, l *login) {
		stop := w.gatePool(l, 1)
		ids := w.put(0, 5)
		time.Sleep(time.Minute)
		w.are(ids, queue.Parked)
		stop()
		time.Sleep(72 * time.Hour)
		l.wrong.Store(false)
		stop = w.gatePool(l, 1)
		time.Sleep(time.Minute)
		w.are(ids, queue.Done)
		stop()
	})
}

// TestAProbeIsFoundInAPartitionOfBefore: the number of partitions was made
// smaller, and all jobs of the credential are parked in one of those beyond it.
func TestAProbeIsFoundInAPartitionOfBefore(t *testing.T) {
	gateWorld(t, func(w *world, l *login) {
		stop := w.gatePool(l, 4)
		ids := w.put(3, 5)
		time.Sleep(time.Minute)
		w.are(ids, queue.Parked)
		stop()
		l.wrong.Store(false)
		stop = w.gatePool(l, 1)
		time.Sleep(10 * time.Minute)
		w.are(ids, queue.Done)
		stop()
	})
}

func TestAJobThatCannotAskTheGateDoesNotTry(t *testing.T) {
	rdb, _ := queuetest.Redis(t)
	prefix := queuetest.Prefix()
	defer cleanup(t, rdb, prefix)
	refusal, err := json.Marshal(map[string]any{"n": 1, "t": 1, "u": time.Now().Add(-time.Second).UnixMilli(), "o": "535", "x": "wrong password"})
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.HSet(t.Context(), prefix+":{shared}:refused", gateCredential.Secret+":1", refusal).Err(); err != nil {
		t.Fatal(err)
	}
	dead := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer func() { _ = dead.Close() }()
	if may, err := queue.MayTryUnasked(t.Context(), rdb, dead, prefix, gateCredential); err != nil || may {
		t.Errorf("got %v, %v: all jobs that cannot ask would try at once", may, err)
	}
}
