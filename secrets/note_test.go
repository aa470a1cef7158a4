package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/secrets"
)

// TestNoteAtWritesOnlyAtItsRevision writes many entries at once, bound to the
// revision and to another one, and unbound beside them.
func TestNoteAtWritesOnlyAtItsRevision(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		r := w.Revision()
		rev, err := r.Current(ctx)
		check(t, err, "Current")
		const of = 150 // of each: more than one call of the script
		bound := secrets.AuditEntry{Actor: "a", Op: "bound"}.Prepare()
		void := secrets.AuditEntry{Actor: "a", Op: "void"}.Prepare()
		var wg sync.WaitGroup
		for i := range of {
			own := secrets.AuditEntry{Actor: "a", Op: "own", Why: fmt.Sprint(i)}.Prepare()
			wg.Go(func() { note(ctx, t, r, rev, rev, bound) })
			wg.Go(func() { note(ctx, t, r, rev, rev, own) })
			wg.Go(func() { note(ctx, t, r, "another", rev, void) })
			wg.Go(func() { check(t, r.Note(ctx, secrets.AuditEntry{Actor: "a", Op: "unbound"}), "Note") })
		}
		wg.Wait()
		entries, err := w.Audit(ctx, 1000)
		check(t, err, "Audit")
		got, whys := map[string]int{}, map[string]bool{}
		for _, e := range entries {
			got[e.Op]++
			if e.Op == "own" {
				whys[e.Why] = true
			}
		}
		if got["bound"] != of || got["own"] != of || got["unbound"] != of || got["void"] != 0 || len(whys) != of {
			t.Errorf("entries %v, %d different ones; want %d of each and none that is void", got, len(whys), of)
		}
	})
}

func note(ctx context.Context, t *testing.T, r *secrets.Revision, at, want string, e secrets.PreparedEntry) {
	if now, err := r.NoteAt(ctx, at, e); err != nil || now != want {
		t.Errorf("NoteAt %q = %q, %v, want %q", at, now, err, want)
	}
}

// TestOneWhoGivesUpTakesNobodyAlong cancels one of two who wait for the same trip.
func TestOneWhoGivesUpTakesNobodyAlong(t *testing.T) {
	r, g, w := gated(t)
	ctx := t.Context()
	check(t, w.rdb.Set(ctx, w.key("rev"), "now", 0).Err(), "set")
	before := make(chan error, 1)
	go func() { _, err := r.Current(ctx); before <- err }()
	<-g.came // under way, so that the next trip gathers
	e := secrets.AuditEntry{Actor: "a", Op: "bound"}.Prepare()
	leaving, cancel := context.WithCancel(ctx)
	gone, stayed := make(chan error, 1), make(chan error, 1)
	first := waited{leaving, make(chan struct{}), new(sync.Once)}
	other := waited{ctx, make(chan struct{}), new(sync.Once)}
	go func() { _, err := r.NoteAt(first, "now", e); gone <- err }()
	<-first.joined
	go func() { note(other, t, r, "now", "now", e); stayed <- nil }()
	<-other.joined
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: got %v, want context.Canceled", err)
	}
	close(g.opened)
	check(t, <-before, "Current")
	<-stayed
}
