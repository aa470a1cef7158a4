package secrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/sealpost/sealpost/secrets/redact"
)

// openTries bounds how often an opening starts again because the secret got a
// newer version between its audit entry and its opening.
const openTries = 5

// OpenSMTP opens the current version of the secret that ref names, which may
// be newer than ref; the answer's Ref says which. It writes the audit entry
// first and opens nothing if that fails. Errors: ErrNotFound, ErrWrongType,
// ErrSealBroken, ErrConflict.
func (s *Store) OpenSMTP(ctx context.Context, ref Ref, use Use) (SMTP, error) {
	rec, plain, err := s.unseal(ctx, ref, TypeSMTP, use)
	if err != nil {
		return SMTP{}, err
	}
	defer clear(plain)
	login, err := parseSMTP(string(plain))
	if err != nil {
		return SMTP{}, fmt.Errorf("open secret %s: %w", rec.Key, err)
	}
	login.Ref = rec.ref()
	return login, nil
}

// OpenSQS is as OpenSMTP for a secret of type sqs.
func (s *Store) OpenSQS(ctx context.Context, ref Ref, use Use) (SQS, error) {
	rec, plain, err := s.unseal(ctx, ref, TypeSQS, use)
	if err != nil {
		return SQS{}, err
	}
	defer clear(plain)
	login, err := parseSQS(string(plain))
	if err != nil {
		return SQS{}, fmt.Errorf("open secret %s: %w", rec.Key, err)
	}
	login.Ref = rec.ref()
	return login, nil
}

// OpenText is as OpenSMTP for a secret of any type: it gives the value's text.
func (s *Store) OpenText(ctx context.Context, ref Ref, use Use) (Text, error) {
	rec, plain, err := s.unseal(ctx, ref, TypeText, use)
	if err != nil {
		return Text{}, err
	}
	defer clear(plain)
	return Text{Ref: rec.ref(), Value: redact.New(string(plain))}, nil
}

// unseal opens the secret for use and tells the observer how it went.
func (s *Store) unseal(ctx context.Context, ref Ref, want Type, use Use) (*record, []byte, error) {
	rec, err := s.audited(ctx, ref, want, use)
	if err != nil {
		s.opts.Observer(want, resultOf(err), 1)
		return nil, nil, err
	}
	plain, err := s.keyring.open(rec)
	s.opts.Observer(want, resultOf(err), 1)
	return rec, plain, err
}

// audited returns the current record of ref with an audit entry for exactly
// this version written. In the usual case, the record being known, that is one
// trip: the entry goes out with a read of the revision, and the revision that
// comes back is the one for which the record is known.
func (s *Store) audited(ctx context.Context, ref Ref, want Type, use Use) (*record, error) {
	if ref.Staged {
		return s.auditedStaged(ctx, ref, want, use)
	}
	rec, rev := s.cache.peek(ref.ID)
	if rec == nil || !rec.is(want) {
		var err error
		if rev, err = s.rev.Current(ctx); err != nil {
			return nil, err
		}
		if rec, err = s.named(ctx, rev, ref); err != nil {
			return nil, err
		}
	}
	for range openTries {
		if !rec.is(want) {
			return nil, fmt.Errorf("%w: %s is of type %s, not %s", ErrWrongType, rec.Key, rec.Type, want)
		}
		entry := auditOf(rec.body, use.Actor, "open")
		entry.Why = use.Why
		now, err := s.rev.record(ctx, entry)
		if err != nil {
			return nil, err
		}
		if now == rev {
			return rec, nil
		}
		fresh, err := s.named(ctx, now, ref)
		if err != nil {
			return nil, err
		}
		if fresh.Version == rec.Version && fresh.is(want) {
			return fresh, nil
		}
		rec, rev = fresh, now
	}
	return nil, fmt.Errorf("%w: %s", ErrConflict, rec.Key)
}

// named returns the record of ref, by its id if it has one.
func (s *Store) named(ctx context.Context, rev string, ref Ref) (*record, error) {
	rec, err := s.recordAt(ctx, rev, cmp.Or(ref.ID, ref.Key))
	if err == nil && ref.ID != "" && rec.ID != ref.ID { // a key that looks like an id
		return nil, fmt.Errorf("%w: %s", ErrNotFound, clip(ref.ID))
	}
	return rec, err
}

// is reports whether the record can be opened as want. Everything is a text.
func (r *record) is(want Type) bool { return want == TypeText || r.Type == want }

// resultOf is the observer's word for err.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrWrongType):
		return "wrong_type"
	case errors.Is(err, ErrSealBroken):
		return "seal_broken"
	}
	return "error"
}
