package queuetest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/queue"
)

var placeRules = []rule{
	{"a refused credential parks the job until a newer version comes", rulePark},
	{"a job is not parked on a version that is old already", ruleParkOld},
	{"an operator releases parked jobs", ruleReleaseParked},
	{"an older version releases nothing", ruleVersionBack},
	{"many parked jobs are released oldest first", ruleParkMany},
	{"a dead letter is retried from the first attempt", ruleRetryDead},
	{"a dead letter is removed for good", ruleRemoveDead},
	{"waiting jobs are cancelled", ruleCancel},
	{"a running job that is cancelled is not tried again", ruleCancelRunning},
	{"an ended job cannot be cancelled", ruleCancelEnded},
	{"every state is listed and counted", ruleList},
}

// refuse parks every job on version v of secret s1 while v is below good.
func refuse(good func() int64) Func {
	return func(context.Context, *queue.Claim) (queue.Reply, error) {
		v := good()
		if v < 2 {
			return queue.Reply{Secret: "s1", SecretVersion: v, Stage: "auth", Code: "535", Reason: "credential"},
				&queue.ParkedError{Secret: "s1", Version: v, Err: errors.New("535 refused")}
		}
		return queue.Reply{Secret: "s1", SecretVersion: v}, nil
	}
}

func rulePark(t *testing.T, r *rig) {
	version := make(chan int64, 1)
	version <- 1
	get := func() int64 { v := <-version; version <- v; return v }
	h, _ := r.run(refuse(get))
	id := r.enqueue(`"id":"mail"`)
	s := r.becomes(id, queue.Parked)
	want := &queue.ParkedOn{Secret: "s1", Version: 1}
	if diff := cmp.Diff(s.Parked, want); diff != "" || s.Used != 0 || h.Count(id) != 1 || s.Reason != "credential" {
		t.Errorf("got %+v after %d calls, want parked on s1:1 without an attempt used", s, h.Count(id))
	}
	groups, err := r.client.ParkedList(r.ctx)
	if err != nil || len(groups) != 1 || groups[0].Jobs != 1 || groups[0].Secret != "s1" || groups[0].Version != 1 || groups[0].Reason != "credential" || groups[0].Oldest.IsZero() {
		t.Errorf("ParkedList: got %+v, %v", groups, err)
	}
	<-version
	version <- 2
	if n, err := r.client.CredentialChanged(r.ctx, "s1", 2); err != nil || n != 1 {
		t.Errorf("CredentialChanged: got %d, %v; want 1", n, err)
	}
	s = r.becomes(id, queue.Done)
	if s.Used != 1 || len(s.Attempts) != 2 || s.Attempts[0].State != queue.Parked || s.Attempts[1].SecretVersion != 2 {
		t.Errorf("got %+v, want two attempts of which one counts", s)
	}
	r.nothingLeft()
}

func ruleParkOld(t *testing.T, r *rig) {
	g := newGate()
	h, _ := r.run(g.do)
	id := r.enqueue()
	g.wait(t)
	// The new version comes while the attempt with the old one is on its way.
	if _, err := r.client.CredentialChanged(r.ctx, "s1", 2); err != nil {
		t.Fatalf("CredentialChanged: %v", err)
	}
	g.out <- &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")}
	g.wait(t)
	g.out <- nil
	s := r.becomes(id, queue.Done)
	if h.Count(id) != 2 || s.Used != 1 || s.Attempts[0].State != queue.Ready {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	r.nothingLeft()
}

func ruleReleaseParked(t *testing.T, r *rig) {
	h, _ := r.run(failTimes(1, &queue.ParkedError{Secret: "s1", Version: 7, Err: errors.New("535")}))
	id := r.enqueue()
	r.becomes(id, queue.Parked)
	if n, err := r.client.ReleaseParked(r.ctx, "s1", 6); err != nil || n != 0 {
		t.Errorf("another version: got %d, %v; want 0", n, err)
	}
	if n, err := r.client.ReleaseParked(r.ctx, "s1", 0); err != nil || n != 1 {
		t.Errorf("any version: got %d, %v; want 1", n, err)
	}
	r.becomes(id, queue.Done)
	if h.Count(id) != 2 {
		t.Errorf("got %d calls, want 2", h.Count(id))
	}
	r.nothingLeft()
}

func ruleVersionBack(t *testing.T, r *rig) {
	r.run(failTimes(9, &queue.ParkedError{Secret: "s1", Version: 4, Err: errors.New("535")}))
	id := r.enqueue()
	r.becomes(id, queue.Parked)
	for _, v := range []int64{3, 4} {
		if n, err := r.client.CredentialChanged(r.ctx, "s1", v); err != nil || n != 0 {
			t.Errorf("version %d: got %d, %v; want 0", v, n, err)
		}
	}
	if n, err := r.client.CredentialChanged(r.ctx, "s2", 9); err != nil || n != 0 {
		t.Errorf("another secret: got %d, %v; want 0", n, err)
	}
	if got := r.state(id); got != queue.Parked {
		t.Errorf("got %q, want parked", got)
	}
}

func ruleParkMany(t *testing.T, r *rig) {
	version := make(chan int64, 1)
	version <- 1
	get := func() int64 { v := <-version; version <- v; return v }
	h, stop := r.run(refuse(get))
	const jobs = 450 // more than two pages
	for range jobs {
		r.enqueue()
	}
	Eventually(t, "all are parked", func() bool { return r.rdb.ZCard(r.ctx, r.base+"parked:s1:1").Val() == jobs })
	stop()
	if n, err := r.client.CredentialChanged(r.ctx, "s1", 2); err != nil || n != jobs {
		t.Errorf("got %d, %v; want %d", n, err, jobs)
	}
	ready, _, err := r.client.List(r.ctx, queue.Filter{State: queue.Ready, Limit: jobs})
	if err != nil || len(ready) != jobs {
		t.Fatalf("got %d ready, %v; want %d", len(ready), err, jobs)
	}
	for i := 1; i < len(ready); i++ {
		if ready[i].EnqueuedAt.Before(ready[i-1].EnqueuedAt) {
			t.Fatalf("job %d was enqueued before job %d", i, i-1)
		}
	}
	if n := r.rdb.Exists(r.ctx, r.base+"parks", r.base+"body").Val(); n != 0 || len(h.Order()) != jobs {
		t.Errorf("got %d keys left and %d attempts", n, len(h.Order()))
	}
}

func ruleRetryDead(t *testing.T, r *rig) {
	h, _ := r.run(failTimes(2, queue.Permanent(errors.New("no"))))
	ids := []string{r.enqueue(`"id":"a"`), r.enqueue()}
	for _, id := range ids {
		r.becomes(id, queue.Dead)
	}
	if n, err := r.client.RetryDead(r.ctx, ids[0], ids[1], ids[1], "nobody"); err != nil || n != 2 {
		t.Errorf("RetryDead: got %d, %v; want 2", n, err)
	}
	for _, id := range ids {
		s := r.becomes(id, queue.Done)
		if h.Count(id) != 2 || s.Used != 1 || len(s.Attempts) != 2 {
			t.Errorf("got %d calls and %+v", h.Count(id), s)
		}
	}
	if n, err := r.client.RetryDead(r.ctx, ids...); err != nil || n != 0 {
		t.Errorf("again: got %d, %v; want 0", n, err)
	}
	r.nothingLeft()
}

func ruleRemoveDead(t *testing.T, r *rig) {
	r.run(failTimes(1, queue.Permanent(errors.New("no"))))
	id := r.enqueue()
	r.becomes(id, queue.Dead)
	letter, err := r.client.DeadShow(r.ctx, id)
	if err != nil || string(letter.Job) != string(Job()) || len(letter.Attempts) != 1 {
		t.Errorf("DeadShow: got %+v, %v", letter, err)
	}
	if n, err := r.client.RemoveDead(r.ctx, id); err != nil || n != 1 {
		t.Errorf("RemoveDead: got %d, %v; want 1", n, err)
	}
	if _, err := r.client.DeadShow(r.ctx, id); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("DeadShow: got %v, want ErrNotFound", err)
	}
	r.nothingLeft()
}

func ruleCancel(t *testing.T, r *rig) {
	delayed := r.enqueue(`"not_before":"2099-01-01T00:00:00Z"`)
	h, stop := r.run(failTimes(1, &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")}))
	parked := r.enqueue()
	r.becomes(parked, queue.Parked)
	stop()
	ready := r.enqueue(`"id":"mine"`)
	for _, id := range []string{delayed, parked, ready} {
		if err := r.client.Cancel(r.ctx, id); err != nil {
			t.Errorf("Cancel: %v", err)
		}
		s := r.becomes(id, queue.Cancelled)
		if s.Kind != "test" {
			t.Errorf("got kind %q, want test", s.Kind)
		}
	}
	r.nothingLeft()
	r.run(nil)
	r.becomes(r.enqueue(), queue.Done)
	if h.Count(delayed)+h.Count(ready) != 0 {
		t.Error("a cancelled job was done")
	}
}

func ruleCancelRunning(t *testing.T, r *rig) {
	g := newGate()
	h, _ := r.run(g.do)
	id := r.enqueue()
	g.wait(t)
	if err := r.client.Cancel(r.ctx, id); !errors.Is(err, queue.ErrRunning) {
		t.Errorf("got %v, want ErrRunning", err)
	}
	g.out <- errors.New("connection refused")
	s := r.becomes(id, queue.Cancelled)
	if h.Count(id) != 1 || len(s.Attempts) != 1 {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	r.nothingLeft()
}

func ruleCancelEnded(t *testing.T, r *rig) {
	r.run(nil)
	id := r.enqueue()
	r.becomes(id, queue.Done)
	if err := r.client.Cancel(r.ctx, id); !errors.Is(err, queue.ErrFinished) {
		t.Errorf("done: got %v, want ErrFinished", err)
	}
	for _, id := range []string{"q0-1-1", "q9-1-1", "nobody", ""} {
		if err := r.client.Cancel(r.ctx, id); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("%q: got %v, want ErrNotFound", id, err)
		}
	}
}

func ruleList(t *testing.T, r *rig) {
	g := newGate()
	r.run(g.do)
	end := map[queue.State]error{
		queue.Done: nil, queue.Dead: queue.Permanent(errors.New("no")),
		queue.Parked: &queue.ParkedError{Secret: "s1", Version: 1, Err: errors.New("535")},
	}
	ids := map[queue.State]string{}
	for state, err := range end {
		ids[state] = r.enqueue()
		g.wait(t)
		g.out <- err
		r.becomes(ids[state], state)
	}
	ids[queue.Delayed] = r.enqueue(`"not_before":"2099-01-01T00:00:00Z"`)
	ids[queue.Running] = r.enqueue()
	g.wait(t)
	for state, id := range ids {
		jobs, next, err := r.client.List(r.ctx, queue.Filter{State: state})
		if err != nil || len(jobs) != 1 || jobs[0].ID != id || jobs[0].State != state || next != "" || jobs[0].Kind != "test" {
			t.Errorf("%s: got %+v, next %q, %v; want job %s", state, jobs, next, err, id)
		}
	}
	if _, _, err := r.client.List(r.ctx, queue.Filter{State: "lost"}); !errors.Is(err, queue.ErrNoList) {
		t.Errorf("got %v, want ErrNoList", err)
	}
	s, err := r.client.Stats(r.ctx)
	if err != nil {
		t.Fatalf("Stats: %v", err)
	}
	want := map[queue.State]int64{queue.Ready: 0, queue.Running: 1, queue.Delayed: 1, queue.Parked: 1, queue.Dead: 1}
	if diff := cmp.Diff(s.Jobs, want); diff != "" || len(s.Workers) != 1 || s.Workers[0].Running != 1 {
		t.Errorf("Stats: workers %+v, jobs (-got +want):\n%s", s.Workers, diff)
	}
	g.out <- nil
	r.becomes(ids[queue.Running], queue.Done)
	pages := 0
	for cursor, seen := "", 0; pages < 9; pages++ {
		jobs, next, err := r.client.List(r.ctx, queue.Filter{State: queue.Done, Limit: 1, Cursor: cursor})
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		seen += len(jobs)
		if cursor = next; cursor == "" {
			if seen != 2 {
				t.Errorf("page by page: got %d done jobs, want 2", seen)
			}
			break
		}
	}
}
