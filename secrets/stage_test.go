package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

// smtpWith is smtpValue with another password, which password gives.
func smtpWith(name string) string { return strings.Replace(smtpValue, "hunter2", "pw-"+name, 1) }

// states is the versions of a secret in short: "3 staged tested, 2 current".
func states(t *testing.T, s *secrets.Store, key string) string {
	t.Helper()
	list, err := s.Versions(t.Context(), key)
	check(t, err, "versions of %s", key)
	var out []string
	for _, v := range list {
		text := fmt.Sprintf("%d %s", v.Version, v.State)
		if v.Verdict != nil {
			text += map[bool]string{true: " passed", false: " failed"}[v.Verdict.OK]
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// password is what the current version opens to, with its version.
func password(t *testing.T, s *secrets.Store, key string) string {
	t.Helper()
	ref, err := s.Lookup(t.Context(), key)
	check(t, err, "look up")
	login, err := s.OpenSMTP(t.Context(), ref, use)
	check(t, err, "open")
	return fmt.Sprintf("%d %s", login.Ref.Version, strings.TrimPrefix(login.Password.Reveal(), "pw-"))
}

func mustStage(t *testing.T, s *secrets.Store, key, value string) secrets.Version {
	t.Helper()
	v, err := s.Stage(t.Context(), "admin a1", put(key, value))
	check(t, err, "stage")
	return v
}

func TestStageTestPromoteRollBack(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		var changes []int64
		w.OnChange(func(_ context.Context, ref secrets.Ref) { changes = append(changes, ref.Version) })
		one := secretstest.MustPut(t, w.Store, "MAIL", smtpWith("one"), secrets.Tag{Key: "a", Value: "b"})
		before, err := w.Info(ctx, "MAIL")
		check(t, err, "info")
		staged := mustStage(t, w.Store, "mail", smtpWith("wrong"))
		if staged.Version != 2 || !staged.Staged || staged.By != "admin a1" || staged.Meta["server"] != "mail.example.org" {
			t.Errorf("Stage: got %+v", staged)
		}
		ref := opensApart(t, w, before)
		if _, err := w.Promote(ctx, "a", "MAIL", false); !errors.Is(err, secrets.ErrNotReady) || !strings.Contains(err.Error(), "never tested; test it first") {
			t.Errorf("promote untested: got %v", err)
		}
		check(t, w.NoteVerdict(ctx, "a", ref, secrets.Verdict{Step: "auth", Text: "535 no\r\nway"}), "note")
		if _, err := w.Promote(ctx, "a", "MAIL", false); !errors.Is(err, secrets.ErrNotReady) || !strings.Contains(err.Error(), "failed at auth") {
			t.Errorf("promote after a failed test: got %v", err)
		}
		right := mustStage(t, w.Store, "MAIL", smtpWith("right"))
		if right.Version != 3 || states(t, w.Store, "MAIL") != "3 staged, 1 current" {
			t.Errorf("staged again: got version %d, %s", right.Version, states(t, w.Store, "MAIL"))
		}
		for name, err := range map[string]error{"open": second(w.OpenSMTP(ctx, ref, use)), "note": w.NoteVerdict(ctx, "a", ref, secrets.Verdict{OK: true})} {
			if !errors.Is(err, secrets.ErrConflict) {
				t.Errorf("%s a staged version that was replaced: got %v, want ErrConflict", name, err)
			}
		}
		check(t, w.NoteVerdict(ctx, "a", right.Ref, secrets.Verdict{OK: true}), "note")
		check(t, second(w.Update(ctx, "a", "MAIL", secrets.Change{Tags: []secrets.Tag{{Key: "new", Value: "tag"}}})), "tag")
		made, err := w.Promote(ctx, "a", "MAIL", false)
		if err != nil || made.Version != 3 || len(made.Tags) != 1 || made.Tags[0].Key != "new" {
			t.Fatalf("Promote: got %+v, %v", made, err)
		}
		if got, s := password(t, w.another(t), "MAIL"), states(t, w.Store, "MAIL"); got != "3 right" || s != "3 current passed, 1 previous" {
			t.Errorf("promoted: got %q, %s", got, s)
		}
		back, err := w.Rollback(ctx, "a", one.ID)
		if err != nil || back.Version != 4 || len(back.Tags) != 1 {
			t.Fatalf("Rollback: got %+v, %v", back, err)
		}
		if got, s := password(t, w.another(t), "MAIL"), states(t, w.Store, "MAIL"); got != "4 one" || s != "4 current, 3 previous passed" {
			t.Errorf("rolled back: got %q, %s", got, s)
		}
		if diff := cmp.Diff(changes, []int64{1, 3, 4}); diff != "" {
			t.Errorf("OnChange (-got +want):\n%s", diff)
		}
		check(t, second(w.Verify(ctx)), "verify")
		wantOps(t, w, "create stage open open open test stage test tag promote open rollback open")
	})
}

// opensApart checks that beside the staged version of MAIL jobs go on with the
// current one, shown as before, and that a test opens the staged one. It returns
// the Ref for tests.
func opensApart(t *testing.T, w world, before secrets.Secret) secrets.Ref {
	t.Helper()
	ctx := t.Context()
	if got := password(t, w.Store, "MAIL"); got != "1 one" {
		t.Errorf("beside a staged version jobs open %q", got)
	}
	after, err := w.Info(ctx, "MAIL")
	check(t, err, "info")
	if diff := cmp.Diff(after, before); diff != "" {
		t.Errorf("staging changed what is shown (-after +before):\n%s", diff)
	}
	ref, err := w.Staged(ctx, "MAIL")
	check(t, err, "staged")
	for _, s := range []*secrets.Store{w.Store, w.another(t)} {
		login, err := s.OpenSMTP(ctx, ref, use)
		if err != nil || login.Password.Reveal() != "pw-wrong" || login.Ref != ref || login.Ref.Version != 2 {
			t.Errorf("OpenSMTP of the staged version: got %+v, %v", login.Ref, err)
		}
	}
	if _, err := w.OpenSQS(ctx, ref, use); !errors.Is(err, secrets.ErrWrongType) {
		t.Errorf("the staged version as sqs: got %v", err)
	}
	return ref
}

// wantOps compares the audit entries with what was done, the oldest first.
func wantOps(t *testing.T, w world, want string) {
	t.Helper()
	entries, err := w.Audit(t.Context(), 100)
	check(t, err, "audit")
	var ops []string
	for _, e := range slices.Backward(entries) {
		if e.Op != "init" {
			ops = append(ops, e.Op)
		}
	}
	if got := strings.Join(ops, " "); got != want {
		t.Errorf("audit: got %q, want %q", got, want)
	}
}

func TestStagedVersionsThatAreLate(t *testing.T) {
	ctx := t.Context()
	w := miniWorld(t)
	secretstest.MustPut(t, w.Store, "MAIL", smtpWith("one"))
	late := mustStage(t, w.Store, "MAIL", smtpWith("late"))
	check(t, w.NoteVerdict(ctx, "a", late.Ref, secrets.Verdict{OK: true}), "note")
	secretstest.MustPut(t, w.Store, "MAIL", smtpWith("newer"))
	if s := states(t, w.Store, "MAIL"); s != "2 staged passed, 3 current, 1 previous" {
		t.Errorf("a put beside a staged version: got %s", s)
	}
	if _, err := w.Promote(ctx, "a", "MAIL", false); !errors.Is(err, secrets.ErrNotReady) {
		t.Errorf("promote what others overtook: got %v, want ErrNotReady", err)
	}
	made, err := w.Promote(ctx, "a", "MAIL", true)
	if err != nil || made.Version != 4 || password(t, w.Store, "MAIL") != "4 late" {
		t.Errorf("promote by force: got version %d, %v; want a number above the current one", made.Version, err)
	}
	mustStage(t, w.Store, "MAIL", smtpWith("gone"))
	check(t, w.Discard(ctx, "a", "MAIL"), "discard")
	if s := states(t, w.Store, "MAIL"); s != "4 current passed, 3 previous" {
		t.Errorf("discarded: got %s", s)
	}
	secretstest.MustPut(t, w.Store, "MAIL", smtpWith("next"))
	if got := password(t, w.Store, "MAIL"); got != "6 next" {
		t.Errorf("the version after a discarded 5: got %q", got)
	}
	for name, err := range map[string]error{
		"discard nothing": w.Discard(ctx, "a", "MAIL"),
		"promote nothing": second(w.Promote(ctx, "a", "MAIL", true)),
		"open nothing":    second(w.Staged(ctx, "MAIL")),
		"roll back the first": func() error {
			secretstest.MustPut(t, w.Store, "FIRST", smtpValue)
			return second(w.Rollback(ctx, "a", "FIRST"))
		}(),
		"roll back after a tag": func() error {
			check(t, second(w.Update(ctx, "a", "FIRST", secrets.Change{Tags: []secrets.Tag{}})), "tag")
			return second(w.Rollback(ctx, "a", "FIRST"))
		}(),
	} {
		if !errors.Is(err, secrets.ErrNoVersion) {
			t.Errorf("%s: got %v, want ErrNoVersion", name, err)
		}
	}
	for name, row := range map[string]struct {
		req  secrets.PutRequest
		want error
	}{
		"a secret that is not there": {put("NONE", smtpValue), secrets.ErrNotFound},
		"another type":               {secrets.PutRequest{Key: "MAIL", Type: secrets.TypeText, Value: redact.New("other text")}, secrets.ErrOtherType},
		"a bare password":            {put("MAIL", "hunter2hunter2"), secrets.ErrInvalid},
		"tags":                       {put("MAIL", smtpValue, secrets.Tag{Key: "a"}), secrets.ErrInvalid},
	} {
		if _, err := w.Stage(ctx, "a", row.req); !errors.Is(err, row.want) {
			t.Errorf("stage %s: got %v, want %v", name, err, row.want)
		}
	}
	check(t, w.Delete(ctx, "a", "MAIL"), "delete")
	if left := w.rdb.Keys(ctx, w.key("s:"+late.ID)+"*").Val(); len(left) > 0 {
		t.Errorf("after Delete there are %v", left)
	}
}

func TestTamperingWithVersionsIsRefused(t *testing.T) {
	promote := func(s *secrets.Store) error { return second(s.Promote(context.Background(), "a", "MAIL", true)) }
	rollback := func(s *secrets.Store) error { return second(s.Rollback(context.Background(), "a", "MAIL")) }
	list := func(s *secrets.Store) error { return second(s.Versions(context.Background(), "MAIL")) }
	open := func(s *secrets.Store) error {
		ref, err := s.Staged(context.Background(), "MAIL")
		if err == nil {
			_, err = s.OpenSMTP(context.Background(), ref, use)
		}
		return err
	}
	current := func(s *secrets.Store) error { return second(s.Lookup(context.Background(), "MAIL")) }
	rows := []struct {
		name   string
		attack func(s stagedScene)
		fail   []func(s *secrets.Store) error
	}{
		{"the staged one names another server", func(s stagedScene) {
			s.set(s.staged, "body", strings.Replace(s.get(s.staged)["body"], "mail.", "evil.", 1))
		}, []func(*secrets.Store) error{promote, list, open}},
		{"its value is another's", func(s stagedScene) { s.set(s.staged, "ct", s.get(s.current)["ct"]) }, []func(*secrets.Store) error{promote, list, open}},
		{"it is the one staged before", func(s stagedScene) { s.put(s.staged, s.first) }, []func(*secrets.Store) error{promote, list, open}},
		{"it is the current one", func(s stagedScene) { s.put(s.staged, s.get(s.current)) }, []func(*secrets.Store) error{promote, list, open}},
		{"it is removed", func(s stagedScene) { s.rdb.Del(context.Background(), s.staged) }, []func(*secrets.Store) error{promote, list, open}},
		{"it is made current", func(s stagedScene) { s.put(s.current, s.get(s.staged)) }, []func(*secrets.Store) error{promote, list, open, current, rollback}},
		{"the one before is older", func(s stagedScene) { s.put(s.previous, s.oldest) }, []func(*secrets.Store) error{rollback, list}},
		{"the one before is the staged one", func(s stagedScene) { s.put(s.previous, s.get(s.staged)) }, []func(*secrets.Store) error{rollback, list}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			s := newStagedScene(t)
			r.attack(s)
			s.rdb.Set(t.Context(), s.key("rev"), secrets.NewRevisionID(), 0)
			for i, f := range r.fail {
				for who, store := range map[string]*secrets.Store{"a process that has seen it": s.Store, "a fresh one": s.another(t)} {
					if err := f(store); !errors.Is(err, secrets.ErrSealBroken) {
						t.Errorf("%s, call %d: got %v, want ErrSealBroken", who, i, err)
					}
				}
			}
		})
	}
	t.Run("a broken staged version can be discarded", func(t *testing.T) {
		s := newStagedScene(t)
		s.rdb.Del(t.Context(), s.staged)
		check(t, s.Discard(t.Context(), "a", "MAIL"), "discard")
		if got := states(t, s.Store, "MAIL"); got != "2 current, 1 previous" {
			t.Errorf("got %s", got)
		}
	})
}

// stagedScene is a secret with three versions before, now and next, and a copy
// of a next one that was replaced.
type stagedScene struct {
	world
	current, previous, staged string // their keys in Redis
	oldest, first             map[string]string
}

func newStagedScene(t *testing.T) stagedScene {
	s := stagedScene{world: miniWorld(t)}
	ref := secretstest.MustPut(t, s.Store, "MAIL", smtpWith("one"))
	s.current = s.key("s:" + ref.ID)
	s.previous, s.staged = s.current+":old", s.current+":staged"
	s.oldest = s.get(s.current)
	check(t, second(s.Update(t.Context(), "a", "MAIL", secrets.Change{Tags: []secrets.Tag{}})), "tag")
	secretstest.MustPut(t, s.Store, "MAIL", smtpWith("two"))
	mustStage(t, s.Store, "MAIL", smtpWith("first"))
	s.first = s.get(s.staged)
	mustStage(t, s.Store, "MAIL", smtpWith("second"))
	return s
}

func (s stagedScene) get(key string) map[string]string {
	return s.rdb.HGetAll(context.Background(), key).Val()
}

func (s stagedScene) set(key, field, value string) {
	s.rdb.HSet(context.Background(), key, field, value)
}

func (s stagedScene) put(key string, fields map[string]string) {
	s.rdb.Del(context.Background(), key)
	s.rdb.HSet(context.Background(), key, fields)
}
