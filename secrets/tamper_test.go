package secrets_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

// scene is what an attacker finds who can write to Redis: two secrets, and
// copies of what they were before.
type scene struct {
	world
	a, b                secrets.Ref
	oldA, oldManifest   map[string]string // before A got its second version
	gone                secrets.Ref       // was deleted
	goneRecord          map[string]string
	keyA, keyB, keyGone string
}

func newScene(t *testing.T) scene {
	ctx := t.Context()
	w := miniWorld(t)
	s := scene{world: w}
	s.a, s.b = secretstest.MustPut(t, w.Store, "A", smtpValue), secretstest.MustPut(t, w.Store, "B", smtpValue)
	s.gone = secretstest.MustPut(t, w.Store, "GONE", "some text")
	s.keyA, s.keyB, s.keyGone = w.key("s:"+s.a.ID), w.key("s:"+s.b.ID), w.key("s:"+s.gone.ID)
	s.oldA, s.oldManifest = w.rdb.HGetAll(ctx, s.keyA).Val(), w.rdb.HGetAll(ctx, w.key("manifest:secrets")).Val()
	s.goneRecord = w.rdb.HGetAll(ctx, s.keyGone).Val()
	check(t, second(w.Update(ctx, "a", "A", secrets.Change{Value: redact.New(strings.Replace(smtpValue, "hunter2", "hunter3", 1))})), "update")
	check(t, w.Delete(ctx, "a", "GONE"), "delete")
	return s
}

func (s scene) put(ctx context.Context, key string, fields map[string]string) {
	s.rdb.Del(ctx, key)
	s.rdb.HSet(ctx, key, fields)
}

// TestTamperingIsSeen does what a writer of Redis can do, and asks for the
// secret A in a fresh process and in one that has seen it.
func TestTamperingIsSeen(t *testing.T) {
	rows := []struct {
		name   string
		attack func(ctx context.Context, s scene)
		live   error // of opening A in a process that has seen it; nil: the right value
		fresh  error // the same in a fresh process
		verify bool  // only Verify sees it in a fresh process
	}{
		{"the server in the metadata is another", func(ctx context.Context, s scene) {
			s.rdb.HSet(ctx, s.keyA, "body", strings.Replace(s.rdb.HGet(ctx, s.keyA, "body").Val(), "mail.", "evil.", 1))
		}, secrets.ErrSealBroken, secrets.ErrSealBroken, true},
		{"a tag is added", func(ctx context.Context, s scene) {
			s.rdb.HSet(ctx, s.keyA, "body", strings.Replace(s.rdb.HGet(ctx, s.keyA, "body").Val(), `"length"`, `"tags":[{"key":"a","value":"b"}],"length"`, 1))
		}, secrets.ErrSealBroken, secrets.ErrSealBroken, true},
		{"the ciphertext is another secret's", func(ctx context.Context, s scene) {
			s.rdb.HSet(ctx, s.keyA, "ct", s.rdb.HGet(ctx, s.keyB, "ct").Val())
		}, secrets.ErrSealBroken, secrets.ErrSealBroken, true},
		{"the record is another secret's", func(ctx context.Context, s scene) { s.put(ctx, s.keyA, s.rdb.HGetAll(ctx, s.keyB).Val()) }, secrets.ErrSealBroken, secrets.ErrSealBroken, true},
		{"the record is its own old one", func(ctx context.Context, s scene) { s.put(ctx, s.keyA, s.oldA) }, secrets.ErrSealBroken, nil, true},
		{"the record is that kept for undo", func(ctx context.Context, s scene) { s.put(ctx, s.keyA, s.rdb.HGetAll(ctx, s.keyA+":old").Val()) }, secrets.ErrSealBroken, nil, true},
		{"record and manifest are old ones", func(ctx context.Context, s scene) {
			s.put(ctx, s.keyA, s.oldA)
			s.put(ctx, s.key("manifest:secrets"), s.oldManifest)
		}, secrets.ErrSealBroken, nil, true},
		{"the record is removed", func(ctx context.Context, s scene) { s.rdb.Del(ctx, s.keyA) }, secrets.ErrNotFound, secrets.ErrNotFound, true},
		{"a deleted secret is put back", func(ctx context.Context, s scene) {
			s.put(ctx, s.keyGone, s.goneRecord)
			s.rdb.ZAdd(ctx, s.key("names"), redis.Z{Member: "GONE " + s.gone.ID})
		}, nil, nil, true},
		{"another secret is removed", func(ctx context.Context, s scene) {
			s.rdb.Del(ctx, s.keyB)
			s.rdb.ZRem(ctx, s.key("names"), "B "+s.b.ID)
		}, nil, nil, true},
		{"the manifest is removed", func(ctx context.Context, s scene) { s.rdb.Del(ctx, s.key("manifest:secrets")) }, nil, nil, true},
		{"the manifest is an old one", func(ctx context.Context, s scene) { s.put(ctx, s.key("manifest:secrets"), s.oldManifest) }, nil, nil, true},
		{"the manifest claims to be newer", func(ctx context.Context, s scene) { s.rdb.HSet(ctx, s.key("manifest:secrets"), "v", 99) }, nil, nil, true},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			ctx := t.Context()
			s := newScene(t)
			live, fresh := s.another(t), s.another(t)
			check(t, second(live.OpenSMTP(ctx, s.a, use)), "open before")
			r.attack(ctx, s)
			s.rdb.Set(ctx, s.key("rev"), secrets.NewRevisionID(), 0) // or the cache still has the right record
			opens(t, "a live process", live, s.a, r.live)
			opens(t, "a fresh process", fresh, s.a, r.fresh)
			if _, err := s.another(t).Verify(ctx); errors.Is(err, secrets.ErrSealBroken) != r.verify {
				t.Errorf("Verify: got %v, want ErrSealBroken: %v", err, r.verify)
			}
		})
	}
}

func opens(t *testing.T, who string, s *secrets.Store, ref secrets.Ref, want error) {
	t.Helper()
	got, err := s.OpenSMTP(t.Context(), ref, use)
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", who, err, want)
	}
	if err != nil && (!got.Password.IsZero() || got.Server != "") {
		t.Errorf("%s: an error and a login for %s", who, got.Server)
	}
}

// TestWholeRollBackIsSeenByALiveProcess puts the whole store back to an older
// state, which is in itself consistent: a process that has seen the newer one
// refuses it, a fresh one cannot know.
func TestWholeRollBackIsSeenByALiveProcess(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	s.put(ctx, s.keyA, s.oldA)
	s.put(ctx, s.keyGone, s.goneRecord)
	s.put(ctx, s.key("manifest:secrets"), s.oldManifest)
	s.rdb.ZAdd(ctx, s.key("names"), redis.Z{Member: "GONE " + s.gone.ID})
	s.rdb.Set(ctx, s.key("rev"), secrets.NewRevisionID(), 0)
	for name, err := range map[string]error{
		"Verify": second(s.Verify(ctx)), "a write to another secret": second(s.Update(ctx, "a", "B", secrets.Change{Tags: []secrets.Tag{}})),
		"the old version": second(s.Lookup(ctx, "A")), "the deleted secret": second(s.Lookup(ctx, "GONE")),
	} {
		if !errors.Is(err, secrets.ErrSealBroken) {
			t.Errorf("%s: got %v, want ErrSealBroken", name, err)
		}
	}
	if _, err := s.another(t).Verify(ctx); err != nil {
		t.Errorf("a fresh process: got %v; if it can tell now, say so in Verify's comment", err)
	}
}

func TestNamesCannotBeTurned(t *testing.T) {
	rows := map[string]func(ctx context.Context, s scene){
		"a key that leads to another secret": func(ctx context.Context, s scene) {
			s.rdb.ZRem(ctx, s.key("names"), "A "+s.a.ID)
			s.rdb.ZAdd(ctx, s.key("names"), redis.Z{Member: "A " + s.b.ID})
		},
		"a key that leads to two secrets": func(ctx context.Context, s scene) { s.rdb.ZAdd(ctx, s.key("names"), redis.Z{Member: "A " + s.b.ID}) },
		"a key that leads to nothing": func(ctx context.Context, s scene) {
			s.rdb.ZRem(ctx, s.key("names"), "A "+s.a.ID)
			s.rdb.ZAdd(ctx, s.key("names"), redis.Z{Member: "A " + strings.Repeat("0", 24)})
		},
		"a key that leads to no id": func(ctx context.Context, s scene) {
			s.rdb.ZRem(ctx, s.key("names"), "A "+s.a.ID)
			s.rdb.ZAdd(ctx, s.key("names"), redis.Z{Member: "A ../x"})
		},
	}
	for name, attack := range rows {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			attack(t.Context(), s)
			fresh := s.another(t)
			if ref, err := fresh.Lookup(t.Context(), "A"); !errors.Is(err, secrets.ErrSealBroken) {
				t.Errorf("Lookup: got %+v, %v, want ErrSealBroken", ref, err)
			}
			if _, _, err := fresh.Put(t.Context(), "a", put("A", smtpValue)); !errors.Is(err, secrets.ErrSealBroken) {
				t.Errorf("Put: got %v, want ErrSealBroken", err)
			}
		})
	}
}

func TestRepairAcceptsWhatVerifies(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		good := secretstest.MustPut(t, w.Store, "GOOD", "some text")
		bad := secretstest.MustPut(t, w.Store, "BAD", "some text")
		unlisted := secretstest.MustPut(t, w.Store, "UNLISTED", "some text")
		dangling := secretstest.MustPut(t, w.Store, "DANGLING", "some text")
		check(t, w.rdb.HSet(ctx, w.key("s:"+bad.ID), "ct", "forged").Err(), "forge")
		check(t, w.rdb.ZRem(ctx, w.key("names"), "UNLISTED "+unlisted.ID).Err(), "unlist")
		check(t, w.rdb.Del(ctx, w.key("s:"+dangling.ID)).Err(), "remove")
		check(t, w.rdb.Del(ctx, w.key("manifest:secrets")).Err(), "remove manifest")
		s := w.another(t)
		if _, err := s.Verify(ctx); !errors.Is(err, secrets.ErrSealBroken) {
			t.Errorf("Verify: got %v, want ErrSealBroken", err)
		}
		rep, err := s.Repair(ctx, "operator")
		if err != nil || rep.Secrets != 2 || len(rep.Broken) != 2 || !rep.Whole {
			t.Errorf("Repair: got %+v, %v, want 2 kept and 2 removed", rep, err)
		}
		if rep, err = s.Verify(ctx); err != nil || rep.Secrets != 2 {
			t.Errorf("Verify afterwards: got %+v, %v", rep, err)
		}
		for _, ref := range []secrets.Ref{good, unlisted} {
			if got, err := s.Lookup(ctx, ref.Key); err != nil || got != ref {
				t.Errorf("Lookup(%s): got %+v, %v", ref.Key, got, err)
			}
		}
		secretstest.MustPut(t, s, "BAD", "other text")
		if _, err := s.Verify(ctx); err != nil {
			t.Errorf("Verify after a write: %v", err)
		}
	})
}
