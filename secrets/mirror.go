package secrets

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Mirror lets many look at a copy of stored records while one at a time brings
// it up to date. What it copies belongs to its user. Make one with NewMirror.
type Mirror struct {
	busy chan struct{} // holds one: somebody reads or writes what is stored

	mu    sync.RWMutex
	rev   string // the copy is as the store at this revision, or newer
	known bool
}

// readTimeout bounds one reading. 100,000 secrets take some 2 s on an idle machine.
const readTimeout = 2 * time.Minute

// NewMirror returns a mirror that shows nothing yet.
func NewMirror() *Mirror { return &Mirror{busy: make(chan struct{}, 1)} }

// View calls look with the copy at the revision rev or after it: who saw rev
// gets nothing older. If the copy is of another revision, refresh reads what
// changed and returns how to change the copy; the caller may have to wait for
// that beyond the end of ctx. look must not call the mirror.
func (m *Mirror) View(ctx context.Context, rev string, refresh func(context.Context) (apply func(), err error), look func()) error {
	for {
		if m.look(rev, look) {
			return nil
		}
		looked := false
		err := m.Alone(ctx, func() error {
			if m.look(rev, look) { // somebody else was quicker
				looked = true
				return nil
			}
			// A reading serves everybody who waits, so it does not end with the
			// one who began it: a large store takes longer to read than a
			// request may last, and would never be read.
			reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
			defer cancel()
			apply, err := refresh(reading)
			if err != nil {
				return err
			}
			m.mu.Lock()
			apply()
			m.rev, m.known = rev, true
			m.mu.Unlock()
			looked = m.look(rev, look)
			return nil
		})
		if err != nil || looked {
			return err
		}
	}
}

// Last calls f with the copy as it is, which may be older than the store, or
// empty.
func (m *Mirror) Last(f func()) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f()
}

// Recall calls f with the copy as it is and the revision that it is of, or is
// newer than. It is false, without a call, if there is no copy. Whoever uses
// what f saw has to see that revision again afterwards.
func (m *Mirror) Recall(f func(rev string)) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.known {
		f(m.rev)
	}
	return m.known
}

// look calls f if the copy is of this revision.
func (m *Mirror) look(rev string, f func()) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.known || m.rev != rev {
		return false
	}
	f()
	return true
}

// Alone runs f while nobody else refreshes or writes. f may read the copy, and
// change it by Change.
func (m *Mirror) Alone(ctx context.Context, f func() error) error {
	select {
	case m.busy <- struct{}{}:
		defer func() { <-m.busy }()
		return f()
	case <-ctx.Done():
		return fmt.Errorf("wait for records: %w", ctx.Err())
	}
}

// Change changes the copy, outside of any View and inside Alone. The next View
// refreshes it.
func (m *Mirror) Change(apply func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = false
	apply()
}
