package actions

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

const (
	// setName is the name of the set in Redis; sealKind binds the sealed part of
	// a record to its use.
	setName  = "actions"
	sealKind = "action"

	// maxDefinitions bounds the actions of one store: every process keeps them
	// all, at some 2 KB each.
	maxDefinitions = 20_000
)

// Store keeps definitions of actions. What it says was true after the call
// began: it keeps a checked copy in memory and asks Redis only whether anything
// changed. After a change of the records behind its back everything is refused
// with secrets.ErrSealBroken. It is safe for concurrent use.
type Store struct {
	keyring *secrets.Keyring
	rev     *secrets.Revision
	now     func() time.Time
	catalog *Catalog

	mirror *secrets.Mirror
	set    *secrets.RecordSet // used by who is alone in the mirror
	byID   map[string]*definitionBody
	gen    int64 // grows when byID changes
}

// NewStore returns the store of actions of these types, beside that of secrets.
// It does no I/O.
func NewStore(rdb redis.UniversalClient, keyring *secrets.Keyring, store *secrets.Store, catalog *Catalog) *Store {
	return &Store{
		catalog: catalog, keyring: keyring, rev: store.Revision(), now: time.Now, mirror: secrets.NewMirror(),
		set: secrets.NewRecordSet(rdb, keyring, setName, "actions"), byID: map[string]*definitionBody{},
	}
}

// definitionBody is a definition as its record has it: with the action sealed.
type definitionBody struct {
	ID                string            `json:"id"`
	Version           int64             `json:"version"`
	Name              string            `json:"name"`
	Description       string            `json:"description,omitempty"`
	Active            bool              `json:"active"`
	Type              string            `json:"type"`
	Trigger           []json.RawMessage `json:"trigger"`
	Kind              string            `json:"kind"`
	Tags              []secrets.Tag     `json:"tags"`
	Lock              bool              `json:"lock,omitempty"`
	TriggerWhenUnlock bool              `json:"trigger_when_unlock,omitempty"`
	Created           int64             `json:"created"`          // Unix milliseconds
	Updated           int64             `json:"updated"`          // Unix milliseconds
	Anchor            int64             `json:"anchor,omitempty"` // Unix milliseconds; 0, of older releases, is Created
	Sealed            []byte            `json:"sealed"`           // the action
}

// shown returns the definition without its action.
func (b *definitionBody) shown() Definition {
	return Definition{
		ID: b.ID, Version: b.Version, Name: b.Name, Description: b.Description, Active: b.Active, Type: b.Type,
		Trigger: slices.Clone(b.Trigger), Kind: b.Kind, Tags: slices.Clone(b.Tags), Lock: b.Lock, TriggerWhenUnlock: b.TriggerWhenUnlock,
		Created: time.UnixMilli(b.Created).UTC(), Updated: time.UnixMilli(b.Updated).UTC(),
		Anchor: time.UnixMilli(cmp.Or(b.Anchor, b.Created)).UTC(),
	}
}

// opened returns the definition with its action.
func (s *Store) opened(b *definitionBody) (Definition, error) {
	text, err := s.keyring.Unseal(sealKind, b.ID, b.Version, b.Sealed)
	if err != nil {
		return Definition{}, err
	}
	d := b.shown()
	d.Action = json.RawMessage(text.Reveal())
	return d, nil
}

// record makes the record of d.
func (s *Store) record(d Definition) (string, error) {
	b := definitionBody{
		ID: d.ID, Version: d.Version, Name: d.Name, Description: d.Description, Active: d.Active, Type: d.Type,
		Trigger: d.Trigger, Kind: d.Kind, Tags: d.Tags, Lock: d.Lock, TriggerWhenUnlock: d.TriggerWhenUnlock,
		Created: d.Created.UnixMilli(), Updated: d.Updated.UnixMilli(), Anchor: d.Anchor.UnixMilli(),
	}
	var err error
	if b.Sealed, err = s.keyring.Seal(sealKind, d.ID, d.Version, redact.New(string(d.Action))); err != nil {
		return "", err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("encode action %s: %w", d.ID, err)
	}
	return string(text), nil
}

// List returns all definitions, by name and id, without their actions.
func (s *Store) List(ctx context.Context) ([]Definition, error) {
	var list []Definition
	err := s.view(ctx, func() {
		list = make([]Definition, 0, len(s.byID))
		for _, b := range s.byID {
			list = append(list, b.shown())
		}
	})
	slices.SortFunc(list, func(a, b Definition) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list, err
}

// Get returns the definition with this id. Error ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (Definition, error) {
	var b *definitionBody
	if err := s.view(ctx, func() { b = s.byID[id] }); err != nil {
		return Definition{}, err
	}
	if b == nil {
		return Definition{}, ErrNotFound
	}
	return s.opened(b)
}

// Peek returns the definition as it was last read, without asking Redis.
func (s *Store) Peek(id string) (Definition, bool) {
	var b *definitionBody
	s.mirror.Last(func() { b = s.byID[id] })
	if b == nil {
		return Definition{}, false
	}
	d, err := s.opened(b)
	return d, err == nil
}

// Verify opens every action and returns how many there are. Error
// secrets.ErrSealBroken, or the network's.
func (s *Store) Verify(ctx context.Context) (int, error) {
	var bodies []*definitionBody
	if err := s.view(ctx, func() { bodies = slices.Collect(maps.Values(s.byID)) }); err != nil {
		return 0, err
	}
	for _, b := range bodies { // records never change once they are in the copy
		if _, err := s.opened(b); err != nil {
			return 0, err
		}
	}
	return len(bodies), nil
}

// Create stores a new action. Errors: *InvalidError, ErrLimit.
func (s *Store) Create(ctx context.Context, actor string, c DefinitionChange) (Definition, error) {
	var f faults
	c.required(&f)
	if err := f.err(); err != nil {
		return Definition{}, err
	}
	var made Definition
	err := s.write(ctx, actor, "action create", func() (Definition, bool, error) {
		if len(s.byID) >= maxDefinitions {
			return made, false, fmt.Errorf("%w: %d actions", ErrLimit, maxDefinitions)
		}
		now := s.stamp()
		var err error
		made, err = c.apply(Definition{ID: newID(), Version: 1, Active: true, Type: typeCondition,
			Trigger: []json.RawMessage{}, Tags: []secrets.Tag{}, Created: now, Updated: now, Anchor: now})
		return made, false, err
	})
	return made, err
}

// Edit changes the action with this id. Errors: ErrNotFound, *InvalidError.
func (s *Store) Edit(ctx context.Context, actor, id string, c DefinitionChange) (Definition, error) {
	var made Definition
	err := s.write(ctx, actor, "action edit", func() (Definition, bool, error) {
		b := s.byID[id]
		if b == nil {
			return made, false, ErrNotFound
		}
		was, err := s.opened(b)
		if err != nil {
			return made, false, err
		}
		if made, err = c.apply(was); err != nil {
			return made, false, err
		}
		made.Version, made.Updated = was.Version+1, s.stamp()
		made.anchored(was)
		return made, false, nil
	})
	return made, err
}

// Delete removes the action with this id. Errors: ErrNotFound, ErrProtected.
func (s *Store) Delete(ctx context.Context, actor, id string) error {
	return s.write(ctx, actor, "action delete", func() (Definition, bool, error) {
		b := s.byID[id]
		if b == nil {
			return Definition{}, false, ErrNotFound
		}
		for _, t := range b.Tags {
			// Clients' documents spell the tag in both ways.
			if t.Key == "_delete_protection_" || t.Key == "_deletion_protection" {
				return Definition{}, false, fmt.Errorf("%w: %s", ErrProtected, t.Value)
			}
		}
		return b.shown(), true, nil
	})
}

// MarkTriggered notes when the action was triggered. It is no change of it.
func (s *Store) MarkTriggered(ctx context.Context, id string, at time.Time) error {
	return s.set.MarkRun(ctx, id, at)
}

// LastTriggered returns when each of the actions was triggered last, zero for
// never, in the order of the ids.
func (s *Store) LastTriggered(ctx context.Context, ids ...string) ([]time.Time, error) {
	return s.set.LastRuns(ctx, ids...)
}

// view calls look with the actions as they are after the call began.
func (s *Store) view(ctx context.Context, look func()) error {
	rev, err := s.rev.Current(ctx)
	if err != nil {
		return err
	}
	return s.mirror.View(ctx, rev, s.refresh, look)
}

// refresh reads what changed and returns how to change the copy.
func (s *Store) refresh(ctx context.Context) (apply func(), err error) {
	records, whole, err := s.set.Read(ctx)
	if err != nil {
		return nil, err
	}
	bodies := make(map[string]*definitionBody, len(records))
	for id, text := range records {
		if text == "" {
			bodies[id] = nil
			continue
		}
		b := new(definitionBody)
		if err := json.Unmarshal([]byte(text), b); err != nil || b.ID != id {
			s.set.Forget() // it took what the copy will not have
			return nil, fmt.Errorf("%w: action %s has a body that this release cannot read", secrets.ErrSealBroken, id)
		}
		bodies[id] = b
	}
	return func() {
		if whole {
			clear(s.byID)
		}
		if whole || len(bodies) > 0 {
			s.gen++
		}
		for id, b := range bodies {
			if b == nil {
				delete(s.byID, id)
			} else {
				s.byID[id] = b
			}
		}
	}, nil
}

// write stores what plan says, or removes it, together with its audit entry, in
// one step. plan sees the newest state and may be asked again.
func (s *Store) write(ctx context.Context, actor, op string, plan func() (d Definition, remove bool, err error)) error {
	return s.set.Amend(ctx, s.mirror, s.refresh, func() (secrets.Draft, error) {
		d, remove, err := plan()
		if err != nil {
			return secrets.Draft{}, err
		}
		text := ""
		if !remove {
			if text, err = s.record(d); err != nil {
				return secrets.Draft{}, err
			}
		}
		entry := secrets.AuditEntry{Actor: actor, Op: op, Kind: d.Kind, ID: d.ID, Key: d.Name, Version: d.Version}
		return secrets.Draft{Field: d.ID, Body: text, Entry: entry}, nil
	})
}

// stamp is the time as records keep it: UTC, in milliseconds.
func (s *Store) stamp() time.Time { return time.UnixMilli(s.now().UnixMilli()).UTC() }

// newID returns 96 random bits as 24 hex digits, the form of ids that clients know.
func newID() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}
