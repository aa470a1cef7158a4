package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

const postBody = `{"name":"hook","action":{"type":"post","url":"https://x.test/canary-url","headers":{"X-Key":"canary-4711"},"colour":1},"colour":2}`

// shelf is a store of actions with what lies under it.
type shelf struct {
	*Store
	rdb     redis.UniversalClient
	keyring *secrets.Keyring
	base    string
}

func newShelf(t *testing.T) shelf {
	t.Helper()
	rdb, prefix := queuetest.Redis(t)
	keyring := secretstest.NewKeyring(t, rdb, prefix)
	s := shelf{rdb: rdb, keyring: keyring, base: keyring.Prefix() + ":{control}:"}
	s.Store = s.another(t)
	return s
}

// another is the store as another process has it.
func (s shelf) another(t *testing.T) *Store {
	t.Helper()
	store := secrets.NewStore(s.rdb, s.keyring, secrets.Options{})
	t.Cleanup(store.Close)
	return NewStore(s.rdb, s.keyring, store, testCatalog())
}

func decoded(t *testing.T, body string) DefinitionChange {
	t.Helper()
	c, err := testCatalog().DecodeDefinition([]byte(body))
	if err != nil {
		t.Fatalf("DecodeDefinition: %v", err)
	}
	return c
}

func (s shelf) create(t *testing.T, body string) Definition {
	t.Helper()
	d, err := s.Create(t.Context(), "test", decoded(t, body))
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return d
}

func TestStoreKeepsWhatWasSent(t *testing.T) {
	s := newShelf(t)
	made := s.create(t, `{"name":"n","description":"d","active":false,"tags":[{"key":"k","value":"v"}],"lock":true,
		"type":"interval","trigger":[{"interval":"3 minutes","colour":1}],"action":{"type":"sms","to":"+1","message":"m"}}`)
	got, err := s.another(t).Get(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := Definition{ID: made.ID, Version: 1, Name: "n", Description: "d", Type: "interval", Kind: "sms", Lock: true,
		Trigger: []json.RawMessage{json.RawMessage(`{"interval":"3 minutes"}`)}, Tags: []secrets.Tag{{Key: "k", Value: "v"}},
		Action: json.RawMessage(`{"message":"m","to":"+1","type":"sms"}`), Created: made.Created, Updated: made.Updated, Anchor: made.Created}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

func TestEditReplacesActionAndTriggerWhole(t *testing.T) {
	s := newShelf(t)
	d := s.create(t, `{"name":"n","type":"interval","trigger":[{"interval":"3 minutes"},{"interval":"1 day"}],"action":{"type":"sms","to":"+1","message":"m"}}`)
	edit := func(body string) (Definition, error) { return s.Edit(t.Context(), "test", d.ID, decoded(t, body)) }

	if _, err := edit(`{"name":"other"}`); err != nil {
		t.Fatal(err)
	}
	got, err := edit(`{"trigger":[{"interval":"2 hours"}],"action":{"type":"script","script":["5f5a8f3351d4db99c40dea9e"]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != 3 || got.Name != "other" || len(got.Trigger) != 1 || strings.Contains(string(got.Action), "message") {
		t.Errorf("after edits: %+v", got)
	}
	if diff := cmp.Diff(got.Scripts(), []string{"5f5a8f3351d4db99c40dea9e"}); diff != "" {
		t.Errorf("scripts, -got +want:\n%s", diff)
	}
	if _, err := edit(`{"type":"schedule"}`); err == nil || !strings.Contains(err.Error(), "trigger: Required") {
		t.Errorf("another type alone: %v, want it to ask for triggers", err)
	}
	if _, err := edit(`{"trigger":[{"cron":"* * * * *"}]}`); err == nil || !strings.Contains(err.Error(), "trigger[0].interval: Required") {
		t.Errorf("triggers of another type: %v, want them refused by the stored type", err)
	}
	if _, err := edit(`{"type":"schedule","trigger":[{"cron":"0 5 * * 1-5","timezone":"Europe/Rome"}]}`); err != nil {
		t.Errorf("both: %v", err)
	}
}

func TestStoreSealsWhatAnActionDoes(t *testing.T) {
	s := newShelf(t)
	d := s.create(t, postBody)
	for _, key := range s.rdb.Keys(t.Context(), s.base+"*").Val() {
		if s.rdb.Type(t.Context(), key).Val() != "hash" {
			continue
		}
		if text := fmt.Sprint(s.rdb.HGetAll(t.Context(), key).Val()); strings.Contains(text, "canary") {
			t.Errorf("%s holds what the action does", key)
		}
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Action != nil || list[0].Kind != "post" || list[0].ID != d.ID {
		t.Errorf("list: %+v, %v, want one without its action", list, err)
	}
}

func TestStoreTampering(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, s shelf, id, other string)
	}{
		{"a record is deleted", func(t *testing.T, s shelf, id, _ string) { s.rdb.HDel(t.Context(), s.base+"actions", id) }},
		{"a record is switched off", func(t *testing.T, s shelf, id, _ string) {
			rec := s.rdb.HGet(t.Context(), s.base+"actions", id).Val()
			s.rdb.HSet(t.Context(), s.base+"actions", id, strings.Replace(rec, `"active":true`, `"active":false`, 1))
		}},
		{"a record takes the place of another", func(t *testing.T, s shelf, id, other string) {
			s.rdb.HSet(t.Context(), s.base+"actions", id, s.rdb.HGet(t.Context(), s.base+"actions", other).Val())
		}},
		{"the manifest is deleted", func(t *testing.T, s shelf, _, _ string) { s.rdb.Del(t.Context(), s.base+"manifest:actions") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf(t)
			a, b := s.create(t, postBody), s.create(t, postBody)
			tt.do(t, s, a.ID, b.ID)
			if _, err := s.another(t).Get(t.Context(), a.ID); !errors.Is(err, secrets.ErrSealBroken) {
				t.Errorf("another process: got %v, want ErrSealBroken", err)
			}
			if _, err := s.another(t).Verify(t.Context()); !errors.Is(err, secrets.ErrSealBroken) {
				t.Errorf("Verify: got %v, want ErrSealBroken", err)
			}
		})
	}
}

func TestStoreSeesOtherProcessesAtOnce(t *testing.T) {
	s := newShelf(t)
	other := s.another(t)
	d := s.create(t, postBody)
	if _, err := other.Get(t.Context(), d.ID); err != nil {
		t.Fatalf("a new action: %v", err)
	}
	if err := other.Delete(t.Context(), "test", d.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), d.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a removed action: got %v, want ErrNotFound", err)
	}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			store := []*Store{s.Store, other}[i%2]
			if _, err := store.Create(t.Context(), "test", decoded(t, postBody)); err != nil {
				t.Errorf("create: %v", err)
			}
		})
	}
	group.Wait()
	if n, err := s.Verify(t.Context()); n != 20 || err != nil {
		t.Errorf("Verify: got %d, %v, want 20", n, err)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 20 {
		t.Errorf("after 20 writes of two processes: %d actions, %v", len(list), err)
	}
	if n := s.rdb.XLen(t.Context(), s.base+"audit").Val(); n < 22 {
		t.Errorf("audit: got %d entries, want one for each of 22 changes", n)
	}
}

func TestDeletionCanBeForbidden(t *testing.T) {
	s := newShelf(t)
	for _, key := range []string{"_delete_protection_", "_deletion_protection"} {
		d := s.create(t, `{"name":"n","tags":[{"key":"`+key+`","value":"the plant needs it"}],"action":{"type":"sms","to":"1","message":"m"}}`)
		err := s.Delete(t.Context(), "test", d.ID)
		if !errors.Is(err, ErrProtected) || !strings.Contains(err.Error(), "the plant needs it") {
			t.Errorf("%s: got %v, want ErrProtected with the reason", key, err)
		}
	}
}

func TestLastTriggered(t *testing.T) {
	s := newShelf(t)
	a, b := s.create(t, postBody), s.create(t, postBody)
	at := time.UnixMilli(1_700_000_000_123).UTC()
	if err := s.MarkTriggered(t.Context(), b.ID, at); err != nil {
		t.Fatal(err)
	}
	got, err := s.LastTriggered(t.Context(), a.ID, b.ID)
	if diff := cmp.Diff(got, []time.Time{{}, at}); err != nil || diff != "" {
		t.Errorf("-got +want:\n%s%v", diff, err)
	}
}
