package secrets_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

// breaker cuts the line at the next script that writes: before it reaches Redis,
// or after it ran, so that the caller cannot know.
type breaker struct{ before, after bool }

var errCut = errors.New("connection reset")

func (*breaker) DialHook(next redis.DialHook) redis.DialHook { return next }
func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !strings.HasPrefix(cmd.Name(), "eval") || !b.before && !b.after {
			return next(ctx, cmd)
		}
		before := b.before
		if !before {
			if err := next(ctx, cmd); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
				return err // it comes again with its text
			}
		}
		*b = breaker{}
		return errCut
	}
}
func (*breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestTransitionsOfVersionsAreWhole ends a process at either side of each
// transition's one step. Another process then finds the state before or the
// state after it, whole, and the transition can be made from there.
func TestTransitionsOfVersionsAreWhole(t *testing.T) {
	ctx := t.Context()
	note := func(s *secrets.Store) error {
		ref, err := s.Staged(ctx, "MAIL")
		if err != nil {
			return err
		}
		return s.NoteVerdict(ctx, "a", ref, secrets.Verdict{OK: true})
	}
	stage := func(s *secrets.Store) error { return second(s.Stage(ctx, "a", put("MAIL", smtpWith("staged")))) }
	promote := func(s *secrets.Store) error { return second(s.Promote(ctx, "a", "MAIL", true)) }
	rows := []struct {
		name          string
		do            func(s *secrets.Store) error
		before, after string // the states of the versions
		opens         string // after it
	}{
		{"stage", stage, "3 staged, 2 current, 1 previous", "4 staged, 2 current, 1 previous", "2 two"},
		{"note a verdict", note, "3 staged, 2 current, 1 previous", "3 staged passed, 2 current, 1 previous", "2 two"},
		{"promote", promote, "3 staged, 2 current, 1 previous", "3 current, 2 previous", "3 three"},
		{"discard", func(s *secrets.Store) error { return s.Discard(ctx, "a", "MAIL") }, "3 staged, 2 current, 1 previous", "2 current, 1 previous", "2 two"},
		{"roll back", func(s *secrets.Store) error { return second(s.Rollback(ctx, "a", "MAIL")) }, "3 staged, 2 current, 1 previous", "3 staged, 4 current, 2 previous", "4 one"},
	}
	for _, r := range rows {
		for _, cut := range []breaker{{before: true}, {after: true}} {
			t.Run(r.name, func(t *testing.T) {
				rdb, prefix := queuetest.Mini(t)
				w := newWorld(t, rdb, prefix)
				for _, name := range []string{"one", "two"} {
					secretstest.MustPut(t, w.Store, "MAIL", smtpWith(name))
				}
				mustStage(t, w.Store, "MAIL", smtpWith("three"))
				b := cut
				rdb.AddHook(&b)
				if err := r.do(w.Store); !errors.Is(err, errCut) {
					t.Fatalf("got %v, want the line cut", err)
				}
				other := w.another(t)
				want := r.before
				if cut.after {
					want = r.after
				}
				if got := states(t, other, "MAIL"); got != want {
					t.Errorf("cut %+v: got %s, want %s", cut, got, want)
				}
				if rep, err := other.Verify(ctx); err != nil || !rep.Whole {
					t.Errorf("cut %+v: Verify got %+v, %v", cut, rep, err)
				}
				if cut.before {
					check(t, r.do(other), "again")
				}
				if got := states(t, w.Store, "MAIL"); got != r.after {
					t.Errorf("in the end: got %s, want %s", got, r.after)
				}
				if got := password(t, other, "MAIL"); got != r.opens {
					t.Errorf("in the end jobs open %q, want %q", got, r.opens)
				}
			})
		}
	}
}

// TestVersionsOfManyWritersAreOfOneUse lets processes put, stage and promote at
// the same time: no number is given twice.
func TestVersionsOfManyWritersAreOfOneUse(t *testing.T) {
	w := miniWorld(t)
	ctx := t.Context()
	secretstest.MustPut(t, w.Store, "MAIL", smtpWith("one"))
	var mu sync.Mutex
	seen := map[int64]string{1: "put"}
	took := func(version int64, by string) {
		mu.Lock()
		defer mu.Unlock()
		if other := seen[version]; other != "" {
			t.Errorf("version %d was given to a %s and a %s", version, other, by)
		}
		seen[version] = by
	}
	var all sync.WaitGroup
	for range 3 {
		s := w.another(t)
		all.Go(func() {
			for range 8 {
				if sec, _, err := s.Put(ctx, "a", put("MAIL", smtpWith("put"))); err != nil {
					t.Errorf("put: %v", err)
				} else {
					took(sec.Version, "put")
				}
				if v, err := s.Stage(ctx, "a", put("MAIL", smtpWith("stage"))); err != nil {
					t.Errorf("stage: %v", err)
				} else {
					took(v.Version, "stage")
				}
				if err := second(s.Rollback(ctx, "a", "MAIL")); err != nil && !errors.Is(err, secrets.ErrConflict) {
					t.Errorf("roll back: %v", err)
				}
			}
		})
	}
	all.Wait()
	check(t, second(w.Verify(ctx)), "verify")
}
