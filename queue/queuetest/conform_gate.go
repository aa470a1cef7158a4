package queuetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

var gateRules = []rule{
	{"a refused credential is not tried by the jobs after it, in any pool", ruleGateCloses},
	{"a probe that works lets all parked jobs go on", ruleGateProbeWorks},
	{"a probe that is refused is the only one, and the pause grows", ruleGateProbeRefused},
	{"a newer version and an operator open the gate", ruleGateOpens},
	{"a destination that does not answer is left alone, and is tried again", ruleBreaker},
}

// ruleBreaker: of 200 jobs for a dead server some use an attempt, the others wait
// without one; when it answers again, all are done.
func ruleBreaker(t *testing.T, r *rig) {
	var dead atomic.Bool
	var tries atomic.Int64
	dead.Store(true)
	r.run(func(context.Context, *queue.Claim) (queue.Reply, error) {
		tries.Add(1)
		if dead.Load() {
			return queue.Reply{Stage: "dial", Reason: "transient"}, errors.New("connection refused")
		}
		return queue.Reply{Stage: "done"}, nil
	})
	ids := r.enqueueMany(200)
	for _, id := range ids[:100] {
		r.becomes(id, queue.Delayed)
	}
	// At most those that ran at once, and a probe or two.
	if n := tries.Load(); n > 16 {
		t.Errorf("a dead server was tried %d times within moments", n)
	}
	dead.Store(false)
	r.all(ids, queue.Done)
	used := 0
	for _, id := range ids {
		s, err := r.client.Show(r.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		used += s.Used
	}
	if used > len(ids)+20 {
		t.Errorf("%d jobs used %d attempts", len(ids), used)
	}
	r.nothingLeft()
}

var gateCredential = queue.Credential{Secret: "0123456789abcdef01234567", Version: 1}

// login is a handler that refuses the credential while wrong.
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

// scout is the lane of jobs that use no credential. A pool asks which ones they use
// once it knows of a refusal, so they show that it does.
const scout = "scout"

// pools starts pools that know which credential their jobs use. known returns how many
// of them have asked, for a scout.
func (r *rig) pools(n int, do Func) (known func() int) {
	asked := make([]atomic.Bool, n)
	for i := range n {
		cfg := r.config()
		cfg.CredentialsOf = func(_ context.Context, w queue.Work) ([]queue.Credential, error) {
			if w.Lane() == scout {
				asked[i].Store(true)
				return nil, nil
			}
			return []queue.Credential{gateCredential}, nil
		}
		Run(r.t, cfg, &Handler{Do: func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
			if bytes.Contains(c.Job.Action, []byte(scout)) {
				return queue.Reply{Stage: "done"}, nil
			}
			return do(ctx, c)
		}})
	}
	return func() (k int) {
		for i := range asked {
			if asked[i].Load() {
				k++
			}
		}
		return k
	}
}

func (r *rig) enqueueMany(n int) []string {
	r.t.Helper()
	jobs := make([]json.RawMessage, n)
	for i := range jobs {
		jobs[i] = Job()
	}
	receipts, err := r.client.Enqueue(r.ctx, jobs...)
	if err != nil {
		r.t.Fatalf("Enqueue: %v", err)
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = receipts[i].ID
	}
	return ids
}

func (r *rig) all(ids []string, state queue.State) {
	r.t.Helper()
	for _, id := range ids {
		r.becomes(id, state)
	}
}

// refusal returns the one refusal there is.
func (r *rig) refusal() queue.Refusal {
	r.t.Helper()
	list, err := r.client.Refusals(r.ctx)
	if err != nil || len(list) != 1 {
		r.t.Fatalf("Refusals: got %+v, %v, want one", list, err)
	}
	return list[0]
}

// expire makes the pause of the refusal end, as if minutes had passed.
func (r *rig) expire(n int) {
	r.t.Helper()
	entry := fmt.Sprintf(`{"n":%d,"t":1,"u":%d,"o":"535","x":"535 wrong password"}`, n, time.Now().Add(-time.Second).UnixMilli())
	if err := r.rdb.HSet(r.ctx, r.prefix+":{shared}:refused", gateCredential.Secret+":1", entry).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// closed closes the gate with jobs parked behind it.
func (r *rig) closed(l *login, jobs int) []string {
	r.t.Helper()
	l.wrong.Store(true)
	const pools = 2
	known := r.pools(pools, l.do)
	first := r.enqueueMany(1)
	r.all(first, queue.Parked)
	Eventually(r.t, "the refusal is known", func() bool {
		list, err := r.client.Refusals(r.ctx)
		return err == nil && len(list) == 1
	})
	Eventually(r.t, "every pool has read the refusals, which it does once a second", func() bool {
		r.lane(scout)
		return known() == pools
	})
	ids := append(first, r.enqueueMany(jobs)...)
	r.all(ids, queue.Parked)
	return ids
}

func ruleGateCloses(t *testing.T, r *rig) {
	l := &login{}
	ids := r.closed(l, 200)
	if n := l.tries.Load(); n != 1 {
		t.Errorf("the credential was tried %d times, want once", n)
	}
	s := r.becomes(ids[len(ids)-1], queue.Parked)
	if s.Used != 0 || len(s.Attempts) != 1 || s.Attempts[0].Rule != "credential-refused" || s.Attempts[0].Code != "535" ||
		!strings.Contains(s.Attempts[0].Text, "535 wrong password") || s.Attempts[0].Secret != gateCredential.Secret {
		t.Errorf("a job that was not tried: got %+v", s)
	}
	if got := r.refusal(); got.Refused != 1 || got.Code != "535" || time.Until(got.Until) < time.Minute {
		t.Errorf("got %+v", got)
	}
}

func ruleGateProbeWorks(t *testing.T, r *rig) {
	l := &login{}
	ids := r.closed(l, 50)
	l.wrong.Store(false)
	r.expire(1)
	r.all(ids, queue.Done)
	Eventually(t, "the gate is open", func() bool {
		list, err := r.client.Refusals(r.ctx)
		return err == nil && len(list) == 0
	})
	if n := l.tries.Load(); n != int64(1+len(ids)) {
		t.Errorf("got %d tries, want one for each of %d jobs and the refused one", n, len(ids))
	}
}

func ruleGateProbeRefused(t *testing.T, r *rig) {
	l := &login{}
	ids := r.closed(l, 50)
	r.expire(3)
	Eventually(t, "a probe was made", func() bool { return l.tries.Load() > 1 })
	Eventually(t, "it is counted", func() bool { return r.refusal().Refused == 4 })
	r.all(ids, queue.Parked)
	if n := l.tries.Load(); n != 2 {
		t.Errorf("got %d tries, want the first and one probe", n)
	}
	if pause := time.Until(r.refusal().Until); pause < 10*time.Minute {
		t.Errorf("the pause after the fourth refusal is %v, want 16m", pause)
	}
}

func ruleGateOpens(t *testing.T, r *rig) {
	l := &login{}
	ids := r.closed(l, 20)
	if n, err := r.client.ReleaseParked(r.ctx, gateCredential.Secret, 1); err != nil || n != len(ids) {
		t.Fatalf("ReleaseParked: %d, %v", n, err)
	}
	Eventually(t, "it is tried again", func() bool { return l.tries.Load() > 1 })
	r.all(ids, queue.Parked)
	for _, id := range ids { // a pool whose copy of the refusal is old must not send it round and round
		if n := len(r.becomes(id, queue.Parked).Attempts); n > 6 {
			t.Errorf("job %s has %d records, want a few: parked, released, parked again", id, n)
		}
	}
	if _, err := r.client.CredentialChanged(r.ctx, gateCredential.Secret, 2); err != nil {
		t.Fatal(err)
	}
	if list, err := r.client.Refusals(r.ctx); err != nil || len(list) != 0 {
		t.Errorf("after a newer version: got %+v, %v", list, err)
	}
}
