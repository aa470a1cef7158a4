package queuetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

var basicRules = []rule{
	{"a job is done once and leaves only its log", ruleDone},
	{"a job queued before the first worker counts", ruleBefore},
	{"a thousand jobs in one batch are each done once", ruleBatch},
	{"a plain XADD of any client is served", ruleForeign},
	{"bad jobs from Redis become dead letters with a reason", ruleForeignBad},
	{"one invalid job refuses the whole batch", ruleInvalid},
	{"an id stands for one job", ruleDedup},
	{"a full partition refuses", ruleFull},
	{"at the cap of dead letters a job is refused and none is thrown away", ruleDeadFull},
	{"not_before delays without an attempt", ruleNotBefore},
	{"expires_at ends a job before an attempt", ruleExpired},
	{"expires_at ends a job that would be retried too late", ruleExpiredRetry},
	{"lost scripts are sent again", ruleScriptFlush},
	{"a lost group is made again", ruleNoGroup},
}

func ruleDone(t *testing.T, r *rig) {
	h, _ := r.run(func(context.Context, *queue.Claim) (queue.Reply, error) {
		return queue.Reply{Secret: "s1", SecretVersion: 3, Stage: "done", Code: "250", Text: "2.0.0 queued"}, nil
	})
	id := r.enqueue()
	s := r.becomes(id, queue.Done)
	if h.Count(id) != 1 {
		t.Errorf("got %d attempts, want 1", h.Count(id))
	}
	want := []queue.Attempt{{
		Number: 1, Worker: "tester", Lane: "lane", Secret: "s1", SecretVersion: 3, Stage: "done", Code: "250", Text: "2.0.0 queued",
		Certainty: queue.Accepted, State: queue.Done,
	}}
	for i := range s.Attempts {
		s.Attempts[i].At, s.Attempts[i].DurationMS = time.Time{}, 0
	}
	if diff := cmp.Diff(s.Attempts, want); diff != "" {
		t.Errorf("attempts (-got +want):\n%s", diff)
	}
	if s.Kind != "test" || s.Used != 1 || s.Handbacks != 0 || s.Crashes != 0 || s.EnqueuedAt.IsZero() || s.FinishedAt.IsZero() {
		t.Errorf("got %+v", s)
	}
	r.nothingLeft()
	ttl, err := r.rdb.TTL(r.ctx, r.logKeys()[0]).Result()
	if err != nil || ttl < 23*time.Hour || ttl > 24*time.Hour {
		t.Errorf("the log lives %v, %v; want a day", ttl, err)
	}
}

func (r *rig) logKeys() []string {
	r.t.Helper()
	node := redis.Cmdable(r.rdb)
	if cluster, ok := r.rdb.(*redis.ClusterClient); ok { // KEYS has no key and would go anywhere
		primary, err := cluster.MasterForKey(r.ctx, r.base)
		if err != nil {
			r.t.Fatalf("MasterForKey: %v", err)
		}
		node = primary
	}
	keys, err := node.Keys(r.ctx, r.base+"log:*").Result()
	if err != nil || len(keys) == 0 {
		r.t.Fatalf("got log keys %v, %v", keys, err)
	}
	return keys
}

func ruleBefore(t *testing.T, r *rig) {
	id := r.enqueue()
	if got := r.state(id); got != queue.Ready {
		t.Errorf("got %q, want ready", got)
	}
	r.run(nil)
	r.becomes(id, queue.Done)
	r.nothingLeft()
}

func ruleBatch(t *testing.T, r *rig) {
	jobs := make([]json.RawMessage, queue.MaxBatch)
	for i := range jobs {
		jobs[i] = Job(fmt.Sprintf(`"id":"n%d"`, i))
	}
	receipts, err := r.client.Enqueue(r.ctx, jobs...)
	if err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	h, stop := r.run(nil)
	Eventually(t, "all jobs are done", func() bool { return len(h.Order()) >= len(jobs) })
	stop()
	for i, receipt := range receipts {
		if want := fmt.Sprintf("n%d", i); receipt.ID != want || receipt.Duplicate || h.Count(want) != 1 {
			t.Fatalf("job %d: got receipt %+v and %d attempts, want id %s and 1", i, receipt, h.Count(want), want)
		}
	}
	r.nothingLeft()
}

func (r *rig) xadd(fields ...any) string {
	r.t.Helper()
	id, err := r.rdb.Do(r.ctx, append([]any{"XADD", r.base + "jobs", "*"}, fields...)...).Text()
	if err != nil {
		r.t.Fatalf("XADD: %v", err)
	}
	return "q0-" + id
}

func ruleForeign(t *testing.T, r *rig) {
	h, _ := r.run(nil)
	plain := r.xadd("job", string(Job()))
	named := r.xadd("job", string(Job(`"id":"theirs"`)))
	due := time.Now().Add(400 * time.Millisecond)
	later := r.xadd("job", string(Job(`"not_before":"`+due.Format(time.RFC3339Nano)+`"`)))
	r.becomes(plain, queue.Done)
	r.becomes(named, queue.Done)
	if h.Count("theirs") != 1 {
		t.Errorf("got %d attempts by the producer's id, want 1", h.Count("theirs"))
	}
	s := r.becomes(later, queue.Done)
	// Against the due time, not the entry's: a busy machine may add it late.
	if early := due.Sub(s.FinishedAt); early > 100*time.Millisecond || s.Used != 1 || s.Handbacks != 0 {
		t.Errorf("not_before: done %v before it was due, with %d attempts and %d hand-backs", early, s.Used, s.Handbacks)
	}
	r.nothingLeft()
}

func ruleForeignBad(t *testing.T, r *rig) {
	r.run(nil)
	tests := []struct{ name, field, job, want string }{
		{"no job field", "task", `{}`, `no field "job"`},
		{"not JSON", "job", `{"action":`, "not valid JSON"},
		{"unknown field", "job", `{"action":{},"prio":1}`, `unknown field "prio"`},
		{"too deep", "job", strings.Repeat("[", 200_000), "deeper than 32"},
		{"too big", "job", `{"x":"` + strings.Repeat("a", queue.MaxJobBytes) + `"}`, "want at most 262144"},
		{"not UTF-8", "job", "{\"id\":\"\xff\"}", "UTF-8"},
		{"no action", "job", `{}`, "exactly one of"},
	}
	for _, tt := range tests {
		id := r.xadd(tt.field, tt.job)
		s := r.becomes(id, queue.Dead)
		if !strings.Contains(s.Text, tt.want) || s.Reason != "payload" || s.Used != 1 {
			t.Errorf("%s: got %q, reason %q, %d attempts; want %q", tt.name, s.Text, s.Reason, s.Used, tt.want)
		}
	}
	letters, _, err := r.client.DeadList(r.ctx, 100, "")
	if err != nil || len(letters) != len(tests) {
		t.Fatalf("DeadList: got %d letters, %v; want %d", len(letters), err, len(tests))
	}
	if _, err := json.Marshal(letters); err != nil {
		t.Errorf("dead letters as JSON: %v", err)
	}
}

func ruleInvalid(t *testing.T, r *rig) {
	_, err := r.client.Enqueue(r.ctx, Job(), json.RawMessage(`{"action":{},"id":"a b"}`))
	invalid, ok := errors.AsType[*queue.InvalidJobError](err)
	if !ok || invalid.Index != 1 {
		t.Errorf("got %v, want an InvalidJobError of job 1", err)
	}
	if n := r.rdb.XLen(r.ctx, r.base+"jobs").Val(); n != 0 {
		t.Errorf("got %d jobs, want none", n)
	}
}

func ruleDedup(t *testing.T, r *rig) {
	a := Job(`"id":"order-1"`)
	receipts, err := r.client.Enqueue(r.ctx, a, a)
	if err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	want := []queue.Receipt{{ID: "order-1"}, {ID: "order-1", Duplicate: true}}
	if diff := cmp.Diff(receipts, want); diff != "" {
		t.Errorf("in one batch (-got +want):\n%s", diff)
	}
	h, _ := r.run(nil)
	r.becomes("order-1", queue.Done)
	receipts, err = r.client.Enqueue(r.ctx, a)
	if err != nil || !receipts[0].Duplicate {
		t.Errorf("after it was done: got %+v, %v; want a duplicate", receipts, err)
	}
	if h.Count("order-1") != 1 {
		t.Errorf("got %d attempts, want 1", h.Count("order-1"))
	}
	// The window is over, the log is not: the id is free again.
	was := r.rdb.Get(r.ctx, r.base+"dedup:order-1").Val()
	jid, _, _ := strings.Cut(was, " ")
	old := time.Now().Add(-queue.DedupWindow - time.Minute).UnixMilli()
	if err := r.rdb.Set(r.ctx, r.base+"dedup:order-1", fmt.Sprintf("%s %d", jid, old), time.Hour).Err(); err != nil {
		t.Fatalf("Set: %v", err)
	}
	receipts, err = r.client.Enqueue(r.ctx, a)
	if err != nil || receipts[0].Duplicate {
		t.Errorf("after the window: got %+v, %v; want a new job", receipts, err)
	}
}

func ruleFull(t *testing.T, r *rig) {
	small := queue.NewClient(r.rdb, queue.ClientOptions{Prefix: r.prefix, QueueMax: 2})
	if _, err := small.Enqueue(r.ctx, Job(), Job()); err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	receipts, err := small.Enqueue(r.ctx, Job(`"id":"x"`))
	if !errors.Is(err, queue.ErrFull) || receipts[0].ID != "" {
		t.Errorf("got %+v, %v; want ErrFull", receipts, err)
	}
	if r.state("x") != "" {
		t.Error("a refused job is there")
	}
}

func ruleDeadFull(t *testing.T, r *rig) {
	h, _ := r.run(failTimes(2, queue.Permanent(errors.New("no"))))
	dead := []string{r.enqueue(), r.enqueue()}
	for _, id := range dead {
		r.becomes(id, queue.Dead)
	}
	small := queue.NewClient(r.rdb, queue.ClientOptions{Prefix: r.prefix, DeadMax: 2})
	receipts, err := small.Enqueue(r.ctx, Job(`"id":"x"`))
	if !errors.Is(err, queue.ErrDeadFull) || receipts[0].ID != "" {
		t.Errorf("got %+v, %v; want ErrDeadFull", receipts, err)
	}
	if r.state("x") != "" {
		t.Error("a refused job is there")
	}
	if n, err := small.RemoveDead(r.ctx, dead[0]); err != nil || n != 1 {
		t.Fatalf("RemoveDead: got %d, %v; want 1", n, err)
	}
	if _, err := small.Enqueue(r.ctx, Job(`"id":"x"`)); err != nil {
		t.Errorf("after one was removed: %v", err)
	}
	r.becomes("x", queue.Done)
	if h.Count("x") != 1 || r.state(dead[1]) != queue.Dead {
		t.Errorf("got %d attempts, the other letter is %q", h.Count("x"), r.state(dead[1]))
	}
}

func ruleNotBefore(t *testing.T, r *rig) {
	due := time.Now().Add(500 * time.Millisecond)
	id := r.enqueue(`"not_before":"` + due.Format(time.RFC3339Nano) + `"`)
	s, err := r.client.Show(r.ctx, id)
	if err != nil || s.State != queue.Delayed || s.DueAt.IsZero() || s.Kind != "test" {
		t.Errorf("got %+v, %v; want delayed", s, err)
	}
	r.run(nil)
	s = r.becomes(id, queue.Done)
	if early := due.Sub(s.FinishedAt); early > 5*time.Millisecond || s.Used != 1 || s.Handbacks != 0 {
		t.Errorf("done %v too early, %d attempts, %d hand-backs", early, s.Used, s.Handbacks)
	}
	r.nothingLeft()
}

func ruleExpired(t *testing.T, r *rig) {
	id := r.enqueue(`"expires_at":"2026-01-01T00:00:00Z"`)
	h, _ := r.run(nil)
	s := r.becomes(id, queue.Expired)
	if h.Count(id) != 0 || len(s.Attempts) != 0 || s.Reason != "expired" || s.Kind != "test" {
		t.Errorf("got %d attempts and %+v", h.Count(id), s)
	}
	r.nothingLeft()
}

func ruleExpiredRetry(t *testing.T, r *rig) {
	cfg := r.config()
	cfg.Backoff = func(int) time.Duration { return time.Hour }
	Run(t, cfg, &Handler{Do: func(context.Context, *queue.Claim) (queue.Reply, error) {
		return queue.Reply{}, errors.New("connection refused")
	}})
	id := r.enqueue(`"expires_at":"` + time.Now().Add(time.Minute).Format(time.RFC3339) + `"`)
	s := r.becomes(id, queue.Expired)
	if len(s.Attempts) != 1 || !strings.Contains(s.Text, "connection refused") {
		t.Errorf("got %+v, want one attempt", s)
	}
	r.nothingLeft()
}

func ruleScriptFlush(t *testing.T, r *rig) {
	fail := true
	g := newGate()
	r.run(g.do)
	ids := []string{r.enqueue(), r.enqueue()}
	for range ids {
		g.wait(t)
	}
	if err := r.rdb.ScriptFlush(r.ctx).Err(); err != nil {
		t.Fatalf("SCRIPT FLUSH: %v", err)
	}
	// One is done and one fails: two scripts in one pipeline, both lost.
	for range ids {
		if fail {
			g.out <- queue.Permanent(errors.New("no"))
		} else {
			g.out <- nil
		}
		fail = !fail
	}
	Eventually(t, "one done and one dead", func() bool {
		a, b := r.state(ids[0]), r.state(ids[1])
		return a == queue.Done && b == queue.Dead || a == queue.Dead && b == queue.Done
	})
}

func ruleNoGroup(t *testing.T, r *rig) {
	r.run(nil)
	r.becomes(r.enqueue(), queue.Done)
	if err := r.rdb.Del(r.ctx, r.base+"jobs").Err(); err != nil {
		t.Fatalf("Del: %v", err)
	}
	r.becomes(r.enqueue(), queue.Done)
}
