package secrets

import (
	"context"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Stage stores a value beside the current one of the secret with this id or key
// (req.Key), as a version of its own that no job opens until it is promoted. A
// version staged before is replaced. Its type is that of the current one. Errors:
// ErrNotFound, ErrInvalid, ErrOtherType, ErrSealBroken.
func (s *Store) Stage(ctx context.Context, actor string, req PutRequest) (Version, error) {
	if req.Tags != nil {
		return Version{}, invalid("tags are not staged; change them without stage")
	}
	var made *record
	_, err := s.write(ctx, req.Key, func(cur *record) (*draft, error) {
		if cur == nil {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, clip(req.Key))
		}
		v, err := checkValue(nextType(cur.Type, req.Type), req.Value)
		if err != nil {
			return nil, err
		}
		if v.kind != cur.Type {
			return nil, fmt.Errorf("%w: %s is of type %s, the staged one of type %s", ErrOtherType, cur.Key, cur.Type, v.kind)
		}
		b := cur.body
		b.Verdict, b.Previous, b.Staged = nil, nil, nil
		b.Updated, b.By = s.opts.Now().UnixMilli(), redact.Scrub(actor)
		b.Length, b.Meta = v.length, v.meta
		b.succeed(cur)
		if made, err = s.keyring.sealAs(stagedKind, b, v.text); err != nil {
			return nil, err
		}
		next := cur.beside()
		next.Top = b.Version
		next.Staged = &candidate{Version: b.Version, Base: cur.Version, MAC: made.raw.bytes()}
		rec, err := s.reseal(cur, next)
		return &draft{next: rec, stage: made, entry: auditOf(b, actor, "stage")}, err
	})
	if err != nil {
		return Version{}, err
	}
	return made.version(StateStaged, nil), nil
}

// beside is the body of r for a write that leaves its value and tags as they
// are: when and by whom those changed stays, too.
func (r *record) beside() body {
	b := r.body
	b.Edit++
	return b
}

// Promote makes the staged version of the secret with this id or key the current
// one; hooks of OnChange are called. Error ErrNotReady unless force is set, if
// its last test failed, if it was never tested, or if another version became
// current since it was staged: it then gets a number above that one's. Other
// errors: ErrNotFound, ErrNoVersion, ErrOtherType, ErrSealBroken.
func (s *Store) Promote(ctx context.Context, actor, idOrKey string, force bool) (Secret, error) {
	return s.replace(ctx, idOrKey, func(cur *record) (*draft, error) {
		staged, err := s.loadStaged(ctx, cur)
		if err != nil {
			return nil, err
		}
		if staged.Type != cur.Type {
			return nil, fmt.Errorf("%w: %s is of type %s now, the staged one of type %s", ErrOtherType, cur.Key, cur.Type, staged.Type)
		}
		if err := cur.ready(); err != nil && !force {
			return nil, err
		}
		b := s.after(cur, staged, actor)
		if cur.Staged.Version > cur.Version {
			b.Version, b.Top = cur.Staged.Version, cur.top()
		}
		b.Verdict, b.Staged = cur.Staged.Verdict, nil
		next, err := s.reseal(staged, b)
		return &draft{next: next, unstage: true, entry: auditOf(b, actor, "promote")}, err
	})
}

// ready says why the version staged beside r should not be promoted.
func (r *record) ready() error {
	c := r.Staged
	switch {
	case c.Base != r.Version:
		return fmt.Errorf("%w: version %d of %s became current after version %d was staged; stage it again, or force it", ErrNotReady, r.Version, r.Key, c.Version)
	case c.Verdict == nil:
		return fmt.Errorf("%w: version %d of %s was never tested; test it first (`secret test %s --staged`), or force it", ErrNotReady, c.Version, r.Key, r.Key)
	case !c.Verdict.OK:
		return fmt.Errorf("%w: the last test of version %d of %s failed at %s; stage another one or test it again, or force it", ErrNotReady, c.Version, r.Key, c.Verdict.Step)
	}
	return nil
}

// Rollback makes the value of the version before the current one current again,
// as a new version: no number is used twice, since caches and gates go by it.
// Tags stay as they are. Errors: ErrNotFound, ErrNoVersion, ErrSealBroken.
func (s *Store) Rollback(ctx context.Context, actor, idOrKey string) (Secret, error) {
	return s.replace(ctx, idOrKey, func(cur *record) (*draft, error) {
		old, err := s.loadPrevious(ctx, cur)
		if err != nil {
			return nil, err
		}
		if old == nil {
			return nil, fmt.Errorf("%w: no version before %d of %s is kept", ErrNoVersion, cur.Version, cur.Key)
		}
		b := s.after(cur, old, actor)
		next, err := s.reseal(old, b)
		entry := auditOf(b, actor, "rollback")
		entry.Why = fmt.Sprintf("value of version %d", old.Version)
		return &draft{next: next, entry: entry}, err
	})
}

// after is the body of a version after cur with the value of from.
func (s *Store) after(cur, from *record, actor string) body {
	b := cur.body
	b.Edit++
	b.Updated, b.By = s.opts.Now().UnixMilli(), redact.Scrub(actor)
	b.Type, b.Length, b.Meta = from.Type, from.Length, from.Meta
	b.succeed(cur)
	return b
}

// replace is write for a secret that has to be there and stays.
func (s *Store) replace(ctx context.Context, idOrKey string, plan func(cur *record) (*draft, error)) (Secret, error) {
	rec, err := s.write(ctx, idOrKey, func(cur *record) (*draft, error) {
		if cur == nil {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, clip(idOrKey))
		}
		return plan(cur)
	})
	if err != nil {
		return Secret{}, err
	}
	return rec.secret(), nil
}

// Discard removes the staged version of the secret with this id or key, which
// need not open. Errors: ErrNotFound, ErrNoVersion, ErrSealBroken.
func (s *Store) Discard(ctx context.Context, actor, idOrKey string) error {
	_, err := s.replace(ctx, idOrKey, func(cur *record) (*draft, error) {
		if cur.Staged == nil {
			return nil, fmt.Errorf("%w: %s has no staged version", ErrNoVersion, cur.Key)
		}
		b := cur.beside()
		b.Staged = nil
		next, err := s.reseal(cur, b)
		entry := auditOf(b, actor, "discard")
		entry.Version = cur.Staged.Version
		return &draft{next: next, unstage: true, entry: entry}, err
	})
	return err
}

// NoteVerdict stores what a test of the version that ref names found: whether it
// passed, or at which step it failed with which text. Errors: ErrNotFound,
// ErrSealBroken, ErrConflict if that version is not there any more.
func (s *Store) NoteVerdict(ctx context.Context, actor string, ref Ref, v Verdict) error {
	v.At, v.By = s.opts.Now().UTC().Truncate(time.Millisecond), redact.Scrub(actor)
	v.Step, v.Text = redact.Scrub(v.Step), redact.Scrub(v.Text)
	_, err := s.replace(ctx, ref.ID, func(cur *record) (*draft, error) {
		b := cur.beside()
		switch {
		case cur.ID != ref.ID:
			return nil, fmt.Errorf("%w: %s", ErrNotFound, clip(ref.ID))
		case ref.Staged && cur.Staged != nil && cur.Staged.Version == ref.Version:
			c := *cur.Staged
			c.Verdict = &v
			b.Staged = &c
		case !ref.Staged && cur.Version == ref.Version:
			b.Verdict = &v
		default:
			return nil, fmt.Errorf("%w: version %d of %s", ErrConflict, ref.Version, cur.Key)
		}
		next, err := s.reseal(cur, b)
		entry := auditOf(b, actor, "test")
		entry.Version, entry.Why = ref.Version, "passed"
		if !v.OK {
			entry.Why = "failed at " + v.Step
		}
		return &draft{next: next, entry: entry}, err
	})
	return err
}
