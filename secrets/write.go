package secrets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sealpost/sealpost/crashpoint"
)

const (
	// OldVersions is how long the version before the current one is kept.
	OldVersions = 7 * 24 * time.Hour

	// writeTries bounds how often a write starts again because other processes
	// wrote in between. In each round one of them succeeds.
	writeTries = 100

	// maxPause is the longest wait between two tries.
	maxPause = 50 * time.Millisecond
)

// write changes the secret with this id or key as plan says; plan is given the
// current record, or nil, and may be asked again if others wrote in between. It
// returns the new record, nil after a deletion. Error ErrConflict when others
// were always quicker.
func (s *Store) write(ctx context.Context, ref string, plan func(cur *record) (*draft, error)) (*record, error) {
	cur, next, err := s.writeAlone(ctx, ref, plan)
	if err != nil {
		return nil, err
	}
	if next == nil {
		s.cache.bury(cur.ID)
		return nil, nil
	}
	s.cache.raise(next.ID, next.Edit)
	if cur == nil || cur.Version != next.Version {
		s.changed(ctx, next.ref())
	}
	return next, nil
}

// writeAlone is write for one caller of this process at a time.
func (s *Store) writeAlone(ctx context.Context, ref string, plan func(cur *record) (*draft, error)) (cur, next *record, err error) {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("write secret: %w", ctx.Err())
	}
	for try := range writeTries {
		m, err := s.manifest(ctx) // before the record: what is read later is as new or newer
		if err != nil {
			return nil, nil, err
		}
		cur, err := s.find(ctx, ref)
		if err != nil {
			return nil, nil, err
		}
		d, err := plan(cur)
		if err != nil {
			return nil, nil, err
		}
		written, err := s.commit(ctx, m, cur, d)
		if err != nil || written {
			return cur, d.next, err
		}
		if err := pause(ctx, min(time.Duration(try+1)*time.Millisecond, maxPause)); err != nil {
			return nil, nil, fmt.Errorf("write secret: %w", err)
		}
	}
	return nil, nil, fmt.Errorf("%w: %d times", ErrConflict, writeTries)
}

// changed calls the hooks.
func (s *Store) changed(ctx context.Context, ref Ref) {
	s.mu.Lock()
	hooks := s.hooks
	s.mu.Unlock()
	crashpoint.Point("hooks-before")
	for _, hook := range hooks {
		hook(ctx, ref)
	}
	crashpoint.Point("hooks-after")
}

// pause waits a random time up to limit, so that writers of several processes
// do not collide again.
func pause(ctx context.Context, limit time.Duration) error {
	t := time.NewTimer(rand.N(limit))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
