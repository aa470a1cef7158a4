package queuetest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

var causeRules = []rule{
	{"dead letters and parked jobs are grouped by what they came of", ruleCauses},
	{"a dry run moves nothing and says what would go where", ruleRetryDry},
	{"dead letters of one cause are retried, each once, in pages", ruleRetryCause},
	{"of too many codes the rest is told apart by reason", ruleManyCauses},
}

// bury makes dead letters of two causes, and parks jobs of a third.
func bury(_ context.Context, c *queue.Claim) (queue.Reply, error) {
	reply := queue.Reply{Secret: gateCredential.Secret, SecretVersion: 1, Reason: "payload", Rule: "too-big", Code: "552"}
	switch c.Job.OnAmbiguous {
	case "resend":
		return reply, queue.Permanent(errors.New("552 too big"))
	case "park":
		reply.Reason, reply.Rule, reply.Code = "policy", "", "550 5.7.1"
		return reply, queue.Permanent(errors.New("550 no"))
	}
	reply.Reason, reply.Rule, reply.Code = "credential", "login", "535"
	return reply, &queue.ParkedError{Secret: gateCredential.Secret, Version: 1, Err: errors.New("535 no")}
}

const (
	tooBig   = `"on_ambiguous":"resend"`
	noPolicy = `"on_ambiguous":"park"`
)

func (r *rig) graves() (big, policy, parked []string) {
	r.t.Helper()
	r.run(bury)
	for range 3 {
		big = append(big, r.enqueue(tooBig))
	}
	policy = append(policy, r.enqueue(noPolicy))
	parked = append(parked, r.enqueue())
	r.all(append(append([]string{}, big...), policy...), queue.Dead)
	r.all(parked, queue.Parked)
	return big, policy, parked
}

func ruleCauses(t *testing.T, r *rig) {
	big, policy, parked := r.graves()
	got, err := r.client.Causes(r.ctx, queue.Dead, "")
	if err != nil || len(got.Causes) != 2 || got.Scanned != 4 || got.Cursor != "" {
		t.Fatalf("got %+v, %v, want two causes of four jobs", got, err)
	}
	first, second := got.Causes[0], got.Causes[1]
	if first.Name != "test/payload/too-big" || first.Code != "552" || first.Jobs != 3 || first.Text != "552 too big" || first.Newest.Before(first.Oldest) {
		t.Errorf("got %+v", first)
	}
	if s, err := r.client.Show(r.ctx, first.ID); err != nil || s.State != queue.Dead || len(big) != 3 {
		t.Errorf("the example: got %+v, %v", s, err)
	}
	if second.Name != "test/policy/550 5.7.1" || second.ID != policy[0] || second.Jobs != 1 {
		t.Errorf("got %+v", second)
	}
	got, err = r.client.Causes(r.ctx, queue.Parked, "")
	if err != nil || len(got.Causes) != 1 || got.Causes[0].Name != "test/credential/login" || got.Causes[0].ID != parked[0] {
		t.Errorf("parked: got %+v, %v", got, err)
	}
	if _, err := r.client.Causes(r.ctx, queue.Ready, ""); !errors.Is(err, queue.ErrNoList) {
		t.Errorf("ready jobs have no cause: got %v", err)
	}
}

func ruleRetryDry(t *testing.T, r *rig) {
	big, policy, _ := r.graves()
	got, err := r.client.RetryDeadBy(r.ctx, queue.RetryFilter{Secrets: []string{gateCredential.Secret}, DryRun: true})
	want := queue.Destination{Kind: "test", Lane: "lane", Secret: gateCredential.Secret, Jobs: 4}
	if err != nil || got.Matched != 4 || got.Retried != 0 || len(got.Where) != 1 || got.Where[0] != want {
		t.Errorf("got %+v, %v, want 4 jobs to %+v", got, err, want)
	}
	r.all(append(big, policy...), queue.Dead)
	for _, f := range []queue.RetryFilter{{Cause: "test/payload/550"}, {Older: time.Hour}, {Secrets: []string{"other"}}} {
		if got, err := r.client.RetryDeadBy(r.ctx, f); err != nil || got.Matched != 0 {
			t.Errorf("%+v: got %+v, %v, want none", f, got, err)
		}
	}
	if _, err := r.client.RetryDeadBy(r.ctx, queue.RetryFilter{Cursor: "x"}); !errors.Is(err, queue.ErrCursor) {
		t.Errorf("a foreign cursor: got %v", err)
	}
}

func ruleRetryCause(t *testing.T, r *rig) {
	ids := r.graveyard(1500)
	h, _ := r.run(bury)
	retried, calls := 0, 0
	for f := (queue.RetryFilter{Cause: "test/payload/552", Newer: time.Hour}); ; {
		got, err := r.client.RetryDeadBy(r.ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		retried += got.Retried
		if calls++; got.Cursor == "" {
			break
		}
		f.Cursor = got.Cursor
	}
	if retried != len(ids) || calls < 2 {
		t.Errorf("retried %d in %d calls, want %d in more than one", retried, calls, len(ids))
	}
	Eventually(t, "all are dead again", func() bool {
		s, err := r.client.Stats(r.ctx)
		return err == nil && s.Jobs[queue.Dead] == int64(len(ids)+1)
	})
	for _, id := range ids[:50] {
		if n := h.Count(id); n != 1 {
			t.Errorf("job %s was tried %d times, want once", id, n)
		}
	}
}

// graveyard makes n dead letters of one cause, many of the same millisecond, and
// one of another.
func (r *rig) graveyard(n int) []string {
	r.t.Helper()
	_, stop := r.run(bury)
	ids := make([]string, n)
	for i := range ids {
		ids[i] = r.enqueue(tooBig, `"id":"big-`+strconv.Itoa(i)+`"`)
	}
	r.becomes(r.enqueue(noPolicy), queue.Dead)
	Eventually(r.t, "all are dead", func() bool {
		s, err := r.client.Stats(r.ctx)
		return err == nil && s.Jobs[queue.Dead] == int64(n+1)
	})
	stop()
	return ids
}

func ruleManyCauses(t *testing.T, _ *rig) {
	var all []queue.Cause
	for i := range 2000 {
		all = queue.MergeCauses(all, []queue.Cause{{Kind: "k", Reason: "r", Code: strconv.Itoa(i), Jobs: 1}})
	}
	var jobs int64
	for _, c := range all {
		jobs += c.Jobs
	}
	if len(all) > 501 || jobs != 2000 || all[0].Name != "k/r" {
		t.Errorf("got %d causes of %d jobs, first %+v", len(all), jobs, all[0])
	}
}
