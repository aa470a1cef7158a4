package queuetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

var besideRules = []rule{
	{"a newer version of a secret beside the refused one lets its jobs go on", ruleBeside},
	{"a job is not parked with a secret beside it that is old already", ruleBesideOld},
	{"each pool looks for newer versions of the secrets beside, too", ruleBesideSwept},
	{"a late success finds a job that is parked on two secrets", ruleBesideLate},
	{"a job that is parked on two secrets is cancelled", ruleBesideCancel},
	{"a refusal of two secrets closes the gate for both together only", ruleBesideGate},
}

// account is what a job is refused with when a token or its account is wrong.
func account(version int64) *queue.ParkedError {
	return &queue.ParkedError{Secret: "token", Version: 1, Err: errors.New("401"), Beside: []queue.Credential{
		{Secret: "sid", Version: version}, {Secret: "extra", Version: 3}, {Secret: "token", Version: 1},
	}}
}

// changed tells the queue of a version, and how many jobs that lets go.
func (r *rig) changed(secret string, version int64, want int) {
	r.t.Helper()
	if n, err := r.client.CredentialChanged(r.ctx, secret, version); err != nil || n != want {
		r.t.Errorf("version %d of %s: got %d, %v; want %d released", version, secret, n, err, want)
	}
}

func ruleBeside(t *testing.T, r *rig) {
	for _, newer := range []queue.Credential{{Secret: "sid", Version: 2}, {Secret: "token", Version: 2}, {Secret: "extra", Version: 4}} {
		if err := r.rdb.Del(r.ctx, r.base+"versions").Err(); err != nil {
			t.Fatal(err)
		}
		h, stop := r.run(failTimes(1, account(1)))
		id := r.enqueue()
		s := r.becomes(id, queue.Parked)
		groups, err := r.client.ParkedList(r.ctx)
		if *s.Parked != (queue.ParkedOn{Secret: "token", Version: 1}) || err != nil || len(groups) != 1 || groups[0].Secret != "token" || groups[0].Version != 1 {
			t.Errorf("got %+v and groups %+v, %v, want parked on the token", s.Parked, groups, err)
		}
		if report := r.check(false); len(report.Findings) > 0 {
			t.Errorf("a check found %+v", report.Findings)
		}
		r.changed("sid", 1, 0)
		r.changed("other", 9, 0)
		r.changed(newer.Secret, newer.Version, 1)
		if s = r.becomes(id, queue.Done); h.Count(id) != 2 || s.Used != 1 {
			t.Errorf("got %d calls and %+v", h.Count(id), s)
		}
		stop()
		r.nothingLeft()
	}
}

func ruleBesideOld(t *testing.T, r *rig) {
	g := newGate()
	h, _ := r.run(g.do)
	id := r.enqueue()
	g.wait(t)
	r.changed("sid", 2, 0) // while the attempt with the old one is on its way
	g.out <- account(1)
	g.wait(t)
	g.out <- nil
	if s := r.becomes(id, queue.Done); h.Count(id) != 2 || s.Attempts[0].State != queue.Ready {
		t.Errorf("got %d calls and %+v", h.Count(id), s)
	}
	r.nothingLeft()
}

func ruleBesideSwept(t *testing.T, r *rig) {
	_, stop := r.run(failTimes(9, account(1)))
	id := r.enqueue()
	r.becomes(id, queue.Parked)
	stop()
	cfg := r.config()
	cfg.Credentials = func(_ context.Context, secret string) (int64, error) {
		if secret == "extra" {
			return 0, errors.New("it cannot be read")
		}
		return map[string]int64{"token": 1, "sid": 2}[secret], nil
	}
	Run(t, cfg, &Handler{})
	r.becomes(id, queue.Done) // nobody has told the queue
	r.nothingLeft()
}

func ruleBesideLate(t *testing.T, r *rig) {
	id, first := r.lateSetup(failTimes(1, account(1)), queue.Parked)
	first.out <- nil
	r.becomes(id, queue.Done)
	r.nothingLeft()
}

func ruleBesideCancel(t *testing.T, r *rig) {
	r.run(failTimes(1, account(1)))
	id := r.enqueue()
	r.becomes(id, queue.Parked)
	if err := r.client.Cancel(r.ctx, id); err != nil {
		t.Errorf("Cancel: %v", err)
	}
	r.becomes(id, queue.Cancelled)
	r.nothingLeft()
}

func ruleBesideGate(t *testing.T, r *rig) {
	var sid, refused atomic.Int64
	sid.Store(1)
	do := func(context.Context, *queue.Claim) (queue.Reply, error) {
		if v := sid.Load(); v < 3 {
			refused.Add(1)
			return queue.Reply{Code: "401"}, account(v)
		}
		return queue.Reply{Stage: "done", Secret: "token", SecretVersion: 1}, nil
	}
	cfg := r.config()
	cfg.CredentialsOf = func(context.Context, queue.Work) ([]queue.Credential, error) {
		return []queue.Credential{{Secret: "token", Version: 1}, {Secret: "sid", Version: sid.Load()}, {Secret: "extra", Version: 3}, {Secret: "more", Version: 1}}, nil
	}
	Run(t, cfg, &Handler{Do: do})
	ids := r.enqueueMany(1)
	r.all(ids, queue.Parked)
	ids = append(ids, r.enqueueMany(50)...)
	r.all(ids, queue.Parked)
	if n := refused.Load(); n != 1 {
		t.Errorf("got %d refused logins, want one: the gate is closed", n)
	}
	sid.Store(2) // is as wrong
	r.changed("sid", 2, len(ids))
	Eventually(t, "the new one is tried", func() bool { return refused.Load() > 1 })
	r.all(ids, queue.Parked)
	if n, most := refused.Load(), int64(1+cfg.LaneSlots); n > most {
		t.Errorf("got %d refused logins, want at most %d: those that were under way at once", n, most)
	}
	sid.Store(3)
	r.changed("sid", 3, len(ids))
	r.all(ids, queue.Done)
	if list, err := r.client.Refusals(r.ctx); err != nil || len(list) > 0 {
		t.Errorf("got refusals %+v, %v, want none", list, err)
	}
	r.nothingLeft()
}
