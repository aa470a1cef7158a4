package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

func TestStoreKeepsAndOpens(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		sec, created, err := w.Put(ctx, "admin a1", put("mail_prod", smtpValue, secrets.Tag{Key: "env", Value: "prod"}))
		check(t, err, "put")
		if !created || len(sec.ID) != 24 || sec.Key != "MAIL_PROD" || sec.Type != secrets.TypeSMTP || sec.Version != 1 || sec.Length != len(smtpValue) {
			t.Errorf("Put: got %+v, created %v", sec, created)
		}
		if diff := cmp.Diff(sec.Meta, map[string]string{"server": "mail.example.org", "port": "587", "tls": "starttls", "auth": "auto"}); diff != "" {
			t.Errorf("Meta (-got +want):\n%s", diff)
		}
		for _, name := range []string{sec.ID, "MAIL_PROD", "mail_prod", "Mail_Prod"} {
			ref, err := w.Lookup(ctx, name)
			if err != nil || ref != sec.Ref {
				t.Errorf("Lookup(%q): got %+v, %v, want %+v", name, ref, err, sec.Ref)
			}
		}
		login, err := w.OpenSMTP(ctx, sec.Ref, use)
		check(t, err, "open")
		if login.Ref != sec.Ref || login.Server != "mail.example.org" || login.Port != 587 || login.Username != "robot" ||
			login.Password.Reveal() != "hunter2" || login.TLS != "starttls" || login.Auth != "auto" || login.MaxConnections != 4 {
			t.Errorf("OpenSMTP: got %+v", login)
		}
		info, err := w.Info(ctx, "MAIL_PROD")
		check(t, err, "info")
		if diff := cmp.Diff(info, sec); diff != "" {
			t.Errorf("Info (-got +want):\n%s", diff)
		}
		text, err := w.OpenText(ctx, sec.Ref, use)
		if err != nil || text.Value.Reveal() != smtpValue {
			t.Errorf("OpenText: got %q, %v", text.Value.Reveal(), err)
		}
		rep, err := w.Verify(ctx)
		if err != nil || rep.Secrets != 1 || !rep.Whole {
			t.Errorf("Verify: got %+v, %v", rep, err)
		}
	})
}

func TestStoreOpensSQS(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ref := secretstest.MustPut(t, w.Store, "QUEUE", sqsValue)
		got, err := w.OpenSQS(t.Context(), ref, use)
		if err != nil || got.Ref != ref || got.Region != "eu-west-1" || got.AccessKeyID.Reveal() != "AKIAEXAMPLE" ||
			got.SecretAccessKey.Reveal() != "s3cr3tkey" || !got.SessionToken.IsZero() || got.Endpoint != "" {
			t.Errorf("OpenSQS: got %+v, %v", got, err)
		}
	})
}

func TestStoreVersions(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		var changes []secrets.Ref
		w.OnChange(func(_ context.Context, ref secrets.Ref) { changes = append(changes, ref) })
		one := secretstest.MustPut(t, w.Store, "KEY", "value one")
		two, created, err := w.Put(ctx, "a", put("KEY", "value two"))
		if err != nil || created || two.Version != 2 || two.ID != one.ID {
			t.Fatalf("second Put: got %+v, created %v, %v", two, created, err)
		}
		tagged, err := w.Update(ctx, "a", "KEY", secrets.Change{Tags: []secrets.Tag{{Key: "a", Value: "b"}}})
		if err != nil || tagged.Version != 2 || len(tagged.Tags) != 1 || tagged.Length != len("value two") {
			t.Errorf("tags changed: got %+v, %v, want version 2", tagged, err)
		}
		three, err := w.Update(ctx, "a", one.ID, secrets.Change{Value: redact.New("value three")})
		if err != nil || three.Version != 3 || len(three.Tags) != 1 {
			t.Errorf("value changed: got %+v, %v, want version 3 with its tag", three, err)
		}
		if diff := cmp.Diff(changes, []secrets.Ref{one, two.Ref, three.Ref}); diff != "" {
			t.Errorf("OnChange (-got +want):\n%s", diff)
		}
		// An old Ref opens the newest version, and says so.
		text, err := w.OpenText(ctx, one, use)
		if err != nil || text.Ref.Version != 3 || text.Value.Reveal() != "value three" {
			t.Errorf("OpenText of version 1: got %+v %q, %v", text.Ref, text.Value.Reveal(), err)
		}
		old, err := w.Previous(ctx, "KEY")
		if err != nil || old.Version != 2 {
			t.Errorf("Previous: got %+v, %v, want version 2", old, err)
		}
		ttl := w.rdb.TTL(ctx, w.key("s:"+one.ID+":old")).Val()
		if ttl <= secrets.OldVersions-time.Hour || ttl > secrets.OldVersions {
			t.Errorf("the old version is kept for %v, want %v", ttl, secrets.OldVersions)
		}
		none, err := w.Update(ctx, "a", "KEY", secrets.Change{Tags: []secrets.Tag{}})
		if err != nil || len(none.Tags) != 0 {
			t.Errorf("tags taken away: got %+v, %v", none.Tags, err)
		}
	})
}

func TestStoreRefuses(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		ref := secretstest.MustPut(t, w.Store, "TEXT", "some text")
		smtp := secretstest.MustPut(t, w.Store, "MAIL", smtpValue)
		gone := secrets.Ref{ID: strings.Repeat("a", 24)}
		update := func(name string, c secrets.Change) error { _, err := w.Update(ctx, "a", name, c); return err }
		rows := []struct {
			name string
			err  error
			want error
		}{
			{"a key that is there is not created again", func() error { _, err := w.Create(ctx, "a", put("text", "other text")); return err }(), secrets.ErrExists},
			{"an unknown key is not found", second(w.Lookup(ctx, "NOPE")), secrets.ErrNotFound},
			{"an unknown id is not found", second(w.Lookup(ctx, gone.ID)), secrets.ErrNotFound},
			{"a name that no key can be is not found", second(w.Lookup(ctx, "a b\r\n*")), secrets.ErrNotFound},
			{"an empty name is not found", second(w.Info(ctx, "")), secrets.ErrNotFound},
			{"an unknown id does not open", second(w.OpenText(ctx, gone, use)), secrets.ErrNotFound},
			{"a text does not open as smtp", second(w.OpenSMTP(ctx, ref, use)), secrets.ErrWrongType},
			{"an smtp does not open as sqs", second(w.OpenSQS(ctx, smtp, use)), secrets.ErrWrongType},
			{"an unknown secret is not updated", update("NOPE", secrets.Change{Value: redact.New("some text")}), secrets.ErrNotFound},
			{"an unknown secret is not deleted", w.Delete(ctx, "a", "NOPE"), secrets.ErrNotFound},
			{"a type does not change alone", update("TEXT", secrets.Change{Type: secrets.TypeSMTP}), secrets.ErrInvalid},
			{"a bare password does not turn an smtp secret into text", update("MAIL", secrets.Change{Value: redact.New("hunter2hunter2")}), secrets.ErrInvalid},
			{"no version before the first is found", second(w.Previous(ctx, "TEXT")), secrets.ErrNotFound},
		}
		for _, r := range rows {
			if !errors.Is(r.err, r.want) {
				t.Errorf("%s: got %v, want %v", r.name, r.err, r.want)
			}
		}
		text := secrets.Change{Type: secrets.TypeText, Value: redact.New("hunter2hunter2")}
		if sec, err := w.Update(ctx, "a", "MAIL", text); err != nil || sec.Type != secrets.TypeText || len(sec.Meta) != 0 {
			t.Errorf("an smtp secret becomes text when asked to: got %+v, %v", sec, err)
		}
		if sec, err := w.Update(ctx, "a", "TEXT", secrets.Change{Value: redact.New(smtpValue)}); err != nil || sec.Type != secrets.TypeSMTP {
			t.Errorf("a text becomes smtp by its form: got %+v, %v", sec, err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestStoreListsByKey(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		for _, key := range []string{"B", "A_B", "A", "C", "A1"} {
			secretstest.MustPut(t, w.Store, key, "some text")
		}
		rows := []struct {
			name          string
			offset, limit int
			want          []string
		}{
			{"all", 0, 0, []string{"A", "A1", "A_B", "B", "C"}},
			{"a page in the middle", 1, 2, []string{"A1", "A_B"}},
			{"the last page", 4, 2, []string{"C"}},
			{"after the end", 9, 2, nil},
			{"a negative offset is the start", -3, 1, []string{"A"}},
		}
		for _, r := range rows {
			page, err := w.List(ctx, r.offset, r.limit)
			check(t, err, "%s", r.name)
			var got []string
			for _, s := range page.Secrets {
				got = append(got, s.Key)
			}
			if !slices.Equal(got, r.want) || page.Total != 5 {
				t.Errorf("%s: got %v of %d, want %v of 5", r.name, got, page.Total, r.want)
			}
		}
	})
}

func TestStoreForgetsWhatIsDeleted(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		other := w.another(t)
		ref := secretstest.MustPut(t, w.Store, "KEY", "value one")
		check(t, second(w.Update(ctx, "a", "KEY", secrets.Change{Value: redact.New("value two")})), "update")
		check(t, second(other.OpenText(ctx, ref, use)), "open elsewhere") // in its cache now
		check(t, w.Delete(ctx, "a", "KEY"), "delete")
		if _, err := other.Lookup(ctx, "KEY"); !errors.Is(err, secrets.ErrNotFound) {
			t.Errorf("Lookup elsewhere: got %v, want ErrNotFound", err)
		}
		if _, err := other.OpenText(ctx, ref, use); !errors.Is(err, secrets.ErrNotFound) {
			t.Errorf("OpenText elsewhere: got %v, want ErrNotFound", err)
		}
		if n := w.rdb.Exists(ctx, w.key("s:"+ref.ID), w.key("s:"+ref.ID+":old")).Val(); n != 0 {
			t.Errorf("%d keys of the secret are left", n)
		}
		again := secretstest.MustPut(t, w.Store, "KEY", "value three")
		if again.ID == ref.ID || again.Version != 1 {
			t.Errorf("a new secret under the key: got %+v", again)
		}
		if _, err := w.Verify(ctx); err != nil {
			t.Errorf("Verify: %v", err)
		}
	})
}

// TestStoreWritesDoNotCollide lets three processes write at once and counts.
func TestStoreWritesDoNotCollide(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		stores := []*secrets.Store{w.Store, w.another(t), w.another(t)}
		const each = 10
		created := make([]int, len(stores))
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() {
				for n := range each {
					_, made, err := s.Put(ctx, "a", put("SHARED", fmt.Sprintf("value %d of %d", n, i)))
					if err != nil {
						t.Errorf("put: %v", err)
					}
					if made {
						created[i]++
					}
				}
			})
		}
		wg.Wait()
		ref, err := w.Lookup(ctx, "SHARED")
		if err != nil || ref.Version != int64(len(stores)*each) {
			t.Errorf("got version %d, %v, want %d: none lost", ref.Version, err, len(stores)*each)
		}
		if n := created[0] + created[1] + created[2]; n != 1 {
			t.Errorf("%d puts say that they created the secret, want 1", n)
		}
		if rep, err := w.Verify(ctx); err != nil || rep.Secrets != 1 || rep.Version != int64(len(stores)*each) {
			t.Errorf("Verify: got %+v, %v", rep, err)
		}
	})
}

func TestStoreCreatesOnce(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		stores := []*secrets.Store{w.Store, w.another(t), w.another(t), w.another(t)}
		errs := make([]error, len(stores))
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() { _, errs[i] = s.Create(t.Context(), "a", put("ONE", "some text")) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if !errors.Is(err, secrets.ErrExists) {
				t.Errorf("got %v, want ErrExists", err)
			}
		}
		if made != 1 {
			t.Errorf("%d were created, want 1", made)
		}
	})
}

func TestStoreWritesTheAuditStream(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		ref := secretstest.MustPut(t, w.Store, "MAIL", smtpValue)
		check(t, second(w.OpenSMTP(ctx, ref, use)), "open")
		check(t, w.Delete(ctx, "admin\r\nforged", "MAIL"), "delete")
		got, err := w.Audit(ctx, 10)
		check(t, err, "audit")
		for i := range got {
			if time.Since(got[i].At).Abs() > time.Minute {
				t.Errorf("entry %d is of %v", i, got[i].At)
			}
			got[i].At = time.Time{}
		}
		entry := secrets.AuditEntry{Kind: "smtp", ID: ref.ID, Key: "MAIL", Version: 1}
		del, open, create := entry, entry, entry
		del.Actor, del.Op = "admin  forged", "delete"
		open.Actor, open.Op, open.Why = "worker w1", "open", "job 1"
		create.Actor, create.Op = "test", "create"
		if diff := cmp.Diff(got, []secrets.AuditEntry{del, open, create, {Actor: "operator", Op: "init"}}); diff != "" {
			t.Errorf("Audit (-got +want):\n%s", diff)
		}
		if page, err := w.Audit(ctx, 1); err != nil || len(page) != 1 {
			t.Errorf("Audit of 1: got %d, %v", len(page), err)
		}
	})
}

// TestStoreOpensNothingUnaudited makes the audit stream unwritable.
func TestStoreOpensNothingUnaudited(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		ref := secretstest.MustPut(t, w.Store, "TEXT", "some text")
		check(t, second(w.OpenText(ctx, ref, use)), "open")
		check(t, w.rdb.Set(ctx, w.key("audit"), "no stream", 0).Err(), "break the stream")
		if got, err := w.OpenText(ctx, ref, use); err == nil || !got.Value.IsZero() || errors.Is(err, secrets.ErrSealed) {
			t.Errorf("OpenText: got %q, %v, want an error", got.Value.Reveal(), err)
		}
		if _, _, err := w.Put(ctx, "a", put("TEXT", "other text")); err == nil {
			t.Error("Put without audit entry: got nil, want an error")
		}
		check(t, w.rdb.Del(ctx, w.key("audit")).Err(), "mend the stream")
		if got, err := w.OpenText(ctx, ref, use); err != nil || got.Value.Reveal() != "some text" {
			t.Errorf("afterwards: got %q, %v, want the old value", got.Value.Reveal(), err)
		}
		if _, err := w.Verify(ctx); err != nil {
			t.Errorf("Verify: %v", err)
		}
	})
}

func TestStoreTellsTheObserver(t *testing.T) {
	w := miniWorld(t)
	ctx := t.Context()
	seen := map[string]int{}
	s := secrets.NewStore(w.rdb, w.keyring, secrets.Options{Observer: func(k secrets.Type, result string, n int) { seen[string(k)+" "+result] += n }})
	defer s.Close()
	text, mail := secretstest.MustPut(t, s, "TEXT", "some text"), secretstest.MustPut(t, s, "MAIL", smtpValue)
	check(t, second(s.OpenText(ctx, text, use)), "open text")
	check(t, second(s.OpenSMTP(ctx, mail, use)), "open smtp")
	_, _ = s.OpenSMTP(ctx, text, use)
	_, _ = s.OpenSQS(ctx, secrets.Ref{ID: strings.Repeat("a", 24)}, use)
	check(t, w.rdb.HSet(ctx, w.key("s:"+text.ID), "ct", "forged").Err(), "forge")
	fresh := secrets.NewStore(w.rdb, w.keyring, secrets.Options{Observer: func(k secrets.Type, result string, n int) { seen[string(k)+" "+result] += n }})
	defer fresh.Close()
	_, _ = fresh.OpenText(ctx, text, use)
	want := map[string]int{"text ok": 1, "smtp ok": 1, "smtp wrong_type": 1, "sqs not_found": 1, "text seal_broken": 1}
	if diff := cmp.Diff(seen, want); diff != "" {
		t.Errorf("observed (-got +want):\n%s", diff)
	}
}

// TestOpeningsAreCountedByType counts values that are kept together: however they
// are ordered, each counts once.
func TestOpeningsAreCountedByType(t *testing.T) {
	w := miniWorld(t)
	seen := map[string]int{}
	s := secrets.NewStore(w.rdb, w.keyring, secrets.Options{Observer: func(k secrets.Type, result string, n int) { seen[string(k)+" "+result] += n }})
	defer s.Close()
	one := func(t secrets.Type) secrets.Sealed {
		return secrets.Sealed{Secret: secrets.Secret{Ref: secrets.Ref{Type: t}}}
	}
	text, mail := one(secrets.TypeText), one(secrets.TypeSMTP)
	c := secrets.NewCatalog(s)
	c.CountOpened(nil)
	c.CountOpened([]secrets.Sealed{text, text, mail, text, mail, mail})
	if diff := cmp.Diff(seen, map[string]int{"text ok": 3, "smtp ok": 3}); diff != "" {
		t.Errorf("observed (-got +want):\n%s", diff)
	}
}

func TestStoreWithoutRedis(t *testing.T) {
	w := miniWorld(t)
	ref := secretstest.MustPut(t, w.Store, "TEXT", "some text")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	check(t, w.rdb.Close(), "close")
	for name, err := range map[string]error{
		"Lookup": second(w.Lookup(ctx, "TEXT")), "OpenText": second(w.OpenText(ctx, ref, use)), "List": second(w.List(ctx, 0, 0)),
		"Delete": w.Delete(ctx, "a", "TEXT"), "Verify": second(w.Verify(ctx)), "Audit": second(w.Audit(ctx, 1)),
	} {
		for _, sentinel := range []error{secrets.ErrSealed, secrets.ErrSealBroken, secrets.ErrNotFound, secrets.ErrInvalid} {
			if err == nil || errors.Is(err, sentinel) {
				t.Errorf("%s: got %v, want the network's error", name, err)
			}
		}
	}
}
