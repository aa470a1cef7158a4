package secrets

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Options of a Store. The zero Options are usable.
type Options struct {
	// Observer, if set, is told of every opening: the type asked for,
	// "ok", "not_found", "wrong_type", "seal_broken" or "error", and how many there were.
	Observer func(t Type, result string, n int)
	// Now is the clock for created and updated times. nil means time.Now.
	Now func() time.Time
}

// Store keeps secrets in Redis. It is safe for concurrent use. Make one with
// NewStore and Close it.
//
// Errors are the package's sentinels, or, when Redis did not answer, the
// network's, wrapped: those may be tried again.
type Store struct {
	rdb     redis.UniversalClient
	keyring *Keyring
	keys    keys
	opts    Options
	rev     *Revision
	cache   cache
	writing chan struct{} // holds one: writes of this process queue up instead of colliding in Redis

	mu    sync.Mutex
	hooks []func(context.Context, Ref)
}

// NewStore returns a store for the keyring's secrets. It does no I/O.
func NewStore(rdb redis.UniversalClient, keyring *Keyring, opts Options) *Store {
	if opts.Observer == nil {
		opts.Observer = func(Type, string, int) {}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Store{
		rdb: rdb, keyring: keyring, keys: keyring.keys(), opts: opts, rev: NewRevision(rdb, keyring),
		writing: make(chan struct{}, 1),
	}
}

// Close waits for reads under way. Nothing else must be running.
func (s *Store) Close() { s.rev.Close() }

// OnChange registers a hook that is called after a new secret or a new version
// was committed, with the context of the write. The hook may be missed when the
// process dies in between; whoever needs every change compares versions too.
func (s *Store) OnChange(hook func(ctx context.Context, ref Ref)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hook)
}

// PutRequest is a secret to store.
type PutRequest struct {
	Key   string        // 1 to 128 of A-Z, 0-9 and _; lower case is turned to upper case
	Type  Type          // "": what the value's own form says, or as it was
	Value redact.String // see the package's documentation for the rules
	Tags  []Tag         // nil: as they were; at most 30
}

// Change is what Update changes.
type Change struct {
	Type  Type          // "": as it was, but for a text that becomes a structured value
	Value redact.String // zero: as it was, and the version stays
	Tags  []Tag         // nil: as they were; an empty list takes all away

	SameType bool // ErrOtherType instead of another type
}

// Create stores a new secret. Errors: ErrInvalid, ErrExists.
func (s *Store) Create(ctx context.Context, actor string, req PutRequest) (Secret, error) {
	sec, _, err := s.put(ctx, actor, req, true)
	return sec, err
}

// Put stores a new secret or, if the key is there, a new version of it, and
// says which. A new version is made even of an equal value: that is how an
// operator says "try again". Errors: ErrInvalid.
func (s *Store) Put(ctx context.Context, actor string, req PutRequest) (Secret, bool, error) {
	return s.put(ctx, actor, req, false)
}

func (s *Store) put(ctx context.Context, actor string, req PutRequest, mustBeNew bool) (Secret, bool, error) {
	key, err := checkKey(req.Key)
	if err != nil {
		return Secret{}, false, err
	}
	created := false
	rec, err := s.write(ctx, key, func(cur *record) (*draft, error) {
		created = cur == nil
		if cur != nil && mustBeNew {
			return nil, fmt.Errorf("%w: %s", ErrExists, key)
		}
		if cur != nil {
			return s.change(cur, Change{Type: req.Type, Value: req.Value, Tags: req.Tags}, actor, true)
		}
		return s.newSecret(key, req, actor)
	})
	if err != nil {
		return Secret{}, false, err
	}
	return rec.secret(), created, nil
}

// Update changes the value, the tags or both of the secret with this id or
// key. Errors: ErrNotFound, ErrInvalid, ErrSealBroken.
func (s *Store) Update(ctx context.Context, actor, idOrKey string, c Change) (Secret, error) {
	rec, err := s.write(ctx, idOrKey, func(cur *record) (*draft, error) {
		if cur == nil {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, clip(idOrKey))
		}
		return s.change(cur, c, actor, !c.Value.IsZero())
	})
	if err != nil {
		return Secret{}, err
	}
	return rec.secret(), nil
}

// Delete removes the secret with this id or key and its other versions.
// Errors: ErrNotFound, ErrSealBroken.
func (s *Store) Delete(ctx context.Context, actor, idOrKey string) error {
	_, err := s.write(ctx, idOrKey, func(cur *record) (*draft, error) {
		if cur == nil {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, clip(idOrKey))
		}
		return &draft{entry: auditOf(cur.body, actor, "delete")}, nil
	})
	return err
}

// draft is what a write is to leave behind.
type draft struct {
	next  *record // nil: the secret goes
	entry AuditEntry

	stage   *record // a new staged version
	unstage bool    // the staged version goes
}

// stagedArgs are the arguments of the script put that say what becomes of the
// staged version.
func (d *draft) stagedArgs() []any {
	switch {
	case d.stage != nil:
		return []any{"set", d.stage.raw.body, d.stage.raw.ct, d.stage.raw.mac}
	case d.unstage:
		return []any{"drop", "", "", ""}
	}
	return []any{"keep", "", "", ""}
}

func auditOf(b body, actor, op string) AuditEntry {
	return AuditEntry{Actor: actor, Op: op, Kind: string(b.Type), ID: b.ID, Key: b.Key, Version: b.Version}
}

func (s *Store) newSecret(key string, req PutRequest, actor string) (*draft, error) {
	tags, err := checkTags(req.Tags)
	if err != nil {
		return nil, err
	}
	v, err := checkValue(req.Type, req.Value)
	if err != nil {
		return nil, err
	}
	now := s.opts.Now().UnixMilli()
	b := body{
		ID: newID(), Key: key, Type: v.kind, Version: 1, Edit: 1, Tags: tags, Length: v.length, Meta: v.meta,
		Created: now, Updated: now, By: redact.Scrub(actor),
		Top: 1, Made: now, Maker: redact.Scrub(actor),
	}
	next, err := s.keyring.sealRecord(b, v.text)
	return &draft{next: next, entry: auditOf(b, actor, "create")}, err
}

// change makes the next record of cur. Without a new value the old one is
// opened and sealed again, since tags are bound into the seal.
func (s *Store) change(cur *record, c Change, actor string, newValue bool) (*draft, error) {
	b, text, op := cur.body, c.Value, "tag"
	b.Edit++
	b.Updated, b.By = s.opts.Now().UnixMilli(), redact.Scrub(actor)
	if c.Tags != nil {
		tags, err := checkTags(c.Tags)
		if err != nil {
			return nil, err
		}
		b.Tags = tags
	}
	switch {
	case newValue:
		v, err := checkValue(nextType(cur.Type, c.Type), text)
		if err != nil {
			return nil, err
		}
		if c.SameType && v.kind != cur.Type {
			return nil, fmt.Errorf("%w: %s is of type %s, the new value of type %s", ErrOtherType, cur.Key, cur.Type, v.kind)
		}
		op = "update"
		b.Type, b.Length, b.Meta = v.kind, v.length, v.meta
		b.succeed(cur)
	case c.Type != "" && c.Type != cur.Type:
		return nil, invalid("the type changes only together with the value")
	default:
		next, err := s.reseal(cur, b)
		return &draft{next: next, entry: auditOf(b, actor, op)}, err
	}
	next, err := s.keyring.sealRecord(b, text)
	return &draft{next: next, entry: auditOf(b, actor, op)}, err
}
