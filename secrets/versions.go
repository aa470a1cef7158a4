package secrets

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// States of a version.
const (
	StateCurrent  = "current"
	StatePrevious = "previous" // kept for OldVersions, for a rollback
	StateStaged   = "staged"   // waits to be promoted; no job opens it
)

// Verdict is what a test of a version found.
type Verdict struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	OK   bool      `json:"ok"`
	Step string    `json:"step,omitempty"` // that failed
	Text string    `json:"text,omitempty"` // of that step, scrubbed
}

// candidate is what the current record knows of the staged one.
type candidate struct {
	Version int64    `json:"version"`
	Base    int64    `json:"base"` // the version that was current when it was staged
	MAC     []byte   `json:"mac"`
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Version is what may be shown of one version of a secret.
type Version struct {
	Ref
	State   string
	Length  int               // as in Secret
	Meta    map[string]string // as in Secret
	Created time.Time         // of this version
	By      string            // who made it
	Verdict *Verdict          // of its last test; nil: never tested
}

// Versions returns the versions of the secret with this id or key that there
// are: the staged one, the current one, the one before. Errors as Lookup,
// ErrConflict if others changed it at the same time.
func (s *Store) Versions(ctx context.Context, idOrKey string) ([]Version, error) {
	cur, err := s.current(ctx, idOrKey)
	if err != nil {
		return nil, err
	}
	var list []Version
	if cur.Staged != nil {
		next, err := s.loadStaged(ctx, cur)
		if err != nil {
			return nil, err
		}
		list = append(list, next.version(StateStaged, cur.Staged.Verdict))
	}
	list = append(list, cur.version(StateCurrent, cur.Verdict))
	old, err := s.loadPrevious(ctx, cur)
	if err != nil {
		return nil, err
	}
	if old != nil {
		list = append(list, old.version(StatePrevious, old.Verdict))
	}
	return list, nil
}

// Staged returns a Ref by which a test opens the staged version of the secret
// with this id or key. Errors as Lookup, ErrNoVersion.
func (s *Store) Staged(ctx context.Context, idOrKey string) (Ref, error) {
	cur, err := s.current(ctx, idOrKey)
	if err != nil {
		return Ref{}, err
	}
	next, err := s.loadStaged(ctx, cur)
	if err != nil {
		return Ref{}, err
	}
	return next.ref(), nil
}

func (r *record) version(state string, verdict *Verdict) Version {
	v := Version{Ref: r.ref(), State: state, Length: r.Length, Meta: maps.Clone(r.Meta), Created: time.UnixMilli(r.Made).UTC(), By: r.Maker}
	if r.Made == 0 { // written before versions had dates of their own
		v.Created, v.By = time.UnixMilli(r.Updated).UTC(), r.By
	}
	if verdict != nil {
		copied := *verdict
		v.Verdict = &copied
	}
	return v
}

// top is the highest version ever given to the secret.
func (b *body) top() int64 { return max(b.Top, b.Version) }

// succeed makes b, which has its new value and writer, the version after cur.
func (b *body) succeed(cur *record) {
	b.Version = cur.top() + 1
	b.Top, b.Made, b.Maker = b.Version, b.Updated, b.By
	b.Verdict, b.Previous = nil, cur.raw.bytes()
}

// reseal makes a record of cur's value and another body.
func (s *Store) reseal(cur *record, b body) (*record, error) {
	plain, err := s.keyring.open(cur)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return s.keyring.sealRecord(b, redact.New(string(plain)))
}

// loadStaged returns the record staged beside cur. Errors: ErrNoVersion,
// ErrConflict if another one was staged since cur was read, ErrSealBroken if it
// is not the one that cur names.
func (s *Store) loadStaged(ctx context.Context, cur *record) (*record, error) {
	if cur.Staged == nil {
		return nil, fmt.Errorf("%w: %s has no staged version; `secret put %s --stage` stores one", ErrNoVersion, cur.Key, cur.Key)
	}
	raw, ok, err := s.loadBeside(ctx, s.keys.staged(cur.ID))
	if err != nil {
		return nil, err
	}
	if !ok || raw.mac != string(cur.Staged.MAC) {
		return nil, s.notNamed(ctx, cur, "staged", func(b *body) []byte {
			if b.Staged == nil {
				return nil
			}
			return b.Staged.MAC
		})
	}
	return s.keyring.checkAs(stagedKind, cur.ID, raw)
}

// loadPrevious returns the record before cur, nil if none is kept. Errors as
// loadStaged.
func (s *Store) loadPrevious(ctx context.Context, cur *record) (*record, error) {
	if len(cur.Previous) == 0 { // the first, or written before records named it
		return nil, nil
	}
	raw, ok, err := s.loadBeside(ctx, s.keys.old(cur.ID))
	if err != nil || !ok {
		return nil, err
	}
	if raw.mac != string(cur.Previous) {
		return nil, s.notNamed(ctx, cur, "previous", func(b *body) []byte { return b.Previous })
	}
	return s.keyring.checkRecord(cur.ID, raw)
}

func (s *Store) loadBeside(ctx context.Context, key string) (stored, bool, error) {
	fields, err := s.rdb.HMGet(ctx, key, "body", "ct", "mac").Result()
	if err != nil {
		return stored{}, false, fmt.Errorf("read version of secret: %w", err)
	}
	raw, ok := storedOf(fields)
	return raw, ok, nil
}

// notNamed is the error for a version that cur does not name: somebody was
// quicker if the record now names another one, else it was changed in Redis.
func (s *Store) notNamed(ctx context.Context, cur *record, which string, name func(b *body) []byte) error {
	now, err := s.load(ctx, cur.ID)
	if err != nil {
		return err
	}
	if now == nil || !bytes.Equal(name(&now.body), name(&cur.body)) {
		return fmt.Errorf("%w: %s", ErrConflict, cur.Key)
	}
	return fmt.Errorf("%w: the %s version of secret %s was changed, removed or put back in Redis", ErrSealBroken, which, cur.ID)
}

// auditedStaged is audited for exactly the staged version that ref names.
func (s *Store) auditedStaged(ctx context.Context, ref Ref, want Type, use Use) (*record, error) {
	rev, err := s.rev.Current(ctx)
	if err != nil {
		return nil, err
	}
	next, err := s.stagedAt(ctx, rev, ref)
	if err != nil {
		return nil, err
	}
	if !next.is(want) {
		return nil, fmt.Errorf("%w: %s is of type %s, not %s", ErrWrongType, next.Key, next.Type, want)
	}
	entry := auditOf(next.body, use.Actor, "open")
	entry.Why = use.Why
	now, err := s.rev.record(ctx, entry)
	if err != nil || now == rev {
		return next, err
	}
	return s.stagedAt(ctx, now, ref) // the entry is of its version, which is in ref
}

func (s *Store) stagedAt(ctx context.Context, rev string, ref Ref) (*record, error) {
	cur, err := s.named(ctx, rev, ref)
	if err != nil {
		return nil, err
	}
	if cur.Staged == nil || cur.Staged.Version != ref.Version {
		return nil, fmt.Errorf("%w: version %d of %s is not staged any more", ErrConflict, ref.Version, cur.Key)
	}
	return s.loadStaged(ctx, cur)
}
