package secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets/redact"
)

// shelf is a store on an in-memory Redis, with a count of the records read.
type shelf struct {
	*Store
	rdb  *redis.Client
	read atomic.Int64
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	kek, err := LoadKEK(GenerateMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := Init(t.Context(), rdb, kek)
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{Store: NewStore(rdb, keyring, Options{}), rdb: rdb}
	t.Cleanup(s.Close)
	rdb.AddHook(recordCounter{&s.read})
	return s
}

// recordCounter counts the records that pipelines read.
type recordCounter struct{ n *atomic.Int64 }

func (recordCounter) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (recordCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c recordCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if strings.Contains(fmt.Sprint(cmd.Args()...), ":s:") {
				c.n.Add(1)
			}
		}
		return next(ctx, cmds)
	}
}

func (s *shelf) put(t *testing.T, key string, tags ...Tag) Secret {
	t.Helper()
	made, _, err := s.Put(t.Context(), "test", PutRequest{Key: key, Value: redact.New("value of " + key), Tags: tags})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// look returns "KEY@version" of the secrets with the tag, and of all.
func look(t *testing.T, s *shelf, c *Catalog, tag Tag) (tagged, all string, err error) {
	t.Helper()
	rev, err := s.Revision().Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = c.View(t.Context(), rev, func(v View) {
		tagged, all = strings.Join(Names(v.ByTag(tag)), " "), strings.Join(Names(v.All()), " ")
	})
	return tagged, all, err
}

func TestCatalogFollowsEveryChange(t *testing.T) {
	s := newShelf(t)
	c := NewCatalog(s.Store)
	red, blue := Tag{"colour", "red"}, Tag{"colour", "blue"}
	for i := range 50 {
		s.put(t, fmt.Sprintf("FILL_%d", i), blue)
	}
	s.put(t, "A", red)
	steps := []struct {
		name, tagged string
		do           func() error
	}{
		{"at first", "A@1", func() error { return nil }},
		{"another one", "A@1 B@1", func() error { s.put(t, "B", red, blue); return nil }},
		{"a new version", "A@2 B@1", func() error { s.put(t, "A", red); return nil }},
		{"a tag goes", "B@1", func() error { _, err := s.Update(t.Context(), "test", "A", Change{Tags: []Tag{blue}}); return err }},
		{"a secret goes", "", func() error { return s.Delete(t.Context(), "test", "B") }},
		{"its key is used again", "B@1", func() error { s.put(t, "B", red); return nil }},
	}
	for i, step := range steps {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		s.read.Store(0)
		tagged, all, err := look(t, s, c, red)
		if err != nil || tagged != step.tagged || len(strings.Fields(all)) < 51 {
			t.Errorf("%s: %q of %q, %v, want %q", step.name, tagged, all, err, step.tagged)
		}
		if n := s.read.Load(); i > 0 && n > 1 {
			t.Errorf("%s: %d records were read, want the changed one", step.name, n)
		}
		s.read.Store(0)
		if _, _, err := look(t, s, c, red); err != nil || s.read.Load() != 0 {
			t.Errorf("%s: a second look read %d records, %v, want none", step.name, s.read.Load(), err)
		}
	}
}

func TestCatalogReadsWholeWhatItMissed(t *testing.T) {
	s := newShelf(t)
	c := NewCatalog(s.Store)
	s.put(t, "A")
	if _, all, err := look(t, s, c, Tag{}); err != nil || all != "A@1" {
		t.Fatalf("%q, %v", all, err)
	}
	s.put(t, "B")
	if err := s.rdb.Del(t.Context(), s.keys.changed()).Err(); err != nil {
		t.Fatal(err)
	}
	if _, all, err := look(t, s, c, Tag{}); err != nil || all != "A@1 B@1" {
		t.Errorf("after the list of changes was lost: %q, %v, want both", all, err)
	}
}

func TestCatalogSeesTampering(t *testing.T) {
	for name, do := range map[string]func(s *shelf, a, b Secret) error{
		"a record is removed": func(s *shelf, a, _ Secret) error { return s.rdb.Del(context.Background(), s.keys.secret(a.ID)).Err() },
		"a record and its name are removed": func(s *shelf, a, _ Secret) error {
			return errors.Join(s.rdb.Del(context.Background(), s.keys.secret(a.ID)).Err(), s.rdb.ZRem(context.Background(), s.keys.names(), "A "+a.ID).Err())
		},
		"only its name is removed": func(s *shelf, a, _ Secret) error {
			return s.rdb.ZRem(context.Background(), s.keys.names(), "A "+a.ID).Err()
		},
		"a record is another one's": func(s *shelf, a, b Secret) error {
			return s.rdb.HSet(context.Background(), s.keys.secret(a.ID), s.rdb.HGetAll(context.Background(), s.keys.secret(b.ID)).Val()).Err()
		},
		"the version before is put back": func(s *shelf, a, _ Secret) error {
			return s.rdb.HSet(context.Background(), s.keys.secret(a.ID), s.rdb.HGetAll(context.Background(), s.keys.old(a.ID)).Val()).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			s.put(t, "A")
			a, b := s.put(t, "A"), s.put(t, "B")
			if err := do(s, a, b); err != nil {
				t.Fatal(err)
			}
			fresh := NewStore(s.rdb, s.keyring, Options{})
			t.Cleanup(fresh.Close)
			if _, _, err := look(t, &shelf{Store: fresh}, NewCatalog(fresh), Tag{}); !errors.Is(err, ErrSealBroken) {
				t.Errorf("View = %v, want ErrSealBroken", err)
			}
		})
	}
}

func TestOpenAll(t *testing.T) {
	s := newShelf(t)
	s.put(t, "A")
	s.put(t, "B")
	c := NewCatalog(s.Store)
	rev, err := s.Revision().Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []Sealed
	if err := c.View(t.Context(), rev, func(v View) { all = v.All() }); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Sealed) int { return strings.Compare(a.Key, b.Key) })
	values, err := c.OpenAll(t.Context(), all, AuditEntry{Actor: "test", Op: "environment", Granted: Names(all), Denied: []string{"X@1"}})
	if err != nil || len(values) != 2 || values[1].Reveal() != "value of B" {
		t.Fatalf("OpenAll = %v, %v", values, err)
	}
	entries, err := s.Audit(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]string{{"A@1", "B@1"}, {"X@1"}}, [][]string{entries[0].Granted, entries[0].Denied}); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	if err := s.rdb.Set(t.Context(), s.keys.audit(), "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if values, err := c.OpenAll(t.Context(), all, AuditEntry{}); err == nil || values != nil {
		t.Errorf("without an audit entry: %v, %v, want nothing", values, err)
	}
}

func TestLongListsOfNamesAreCut(t *testing.T) {
	text := nameList(slices.Repeat([]string{strings.Repeat("K", 128) + "@1"}, 1000))
	if len(text) > maxNames+16 || !strings.HasSuffix(text, " +938") {
		t.Errorf("%d bytes, ending in %q", len(text), text[len(text)-10:])
	}
}

func TestSealedFieldOpensOnlyInItsPlace(t *testing.T) {
	k := newShelf(t).keyring
	sealed, err := k.Seal("analysis", "a1", 3, redact.New("hidden"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unseal("analysis", "a1", 3, sealed); err != nil || got.Reveal() != "hidden" {
		t.Errorf("Unseal = %v, %v", got, err)
	}
	for name, open := range map[string]func() (redact.String, error){
		"another kind":    func() (redact.String, error) { return k.Unseal("policy", "a1", 3, sealed) },
		"another id":      func() (redact.String, error) { return k.Unseal("analysis", "a2", 3, sealed) },
		"another version": func() (redact.String, error) { return k.Unseal("analysis", "a1", 2, sealed) },
		"a flipped bit": func() (redact.String, error) {
			bad := slices.Clone(sealed)
			bad[len(bad)-1] ^= 1
			return k.Unseal("analysis", "a1", 3, bad)
		},
		"nothing": func() (redact.String, error) { return k.Unseal("analysis", "a1", 3, nil) },
	} {
		if _, err := open(); !errors.Is(err, ErrSealBroken) {
			t.Errorf("%s: %v, want ErrSealBroken", name, err)
		}
	}
}
