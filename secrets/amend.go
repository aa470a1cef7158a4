package secrets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// amendTries bounds how often a change starts again because other processes
	// wrote in between. In each round one of them succeeds.
	amendTries = 100

	// amendPause is the longest wait between two tries.
	amendPause = 50 * time.Millisecond
)

// Draft is what a change is to leave behind.
type Draft struct {
	Field string
	Body  string // "" removes the record
	Entry AuditEntry
}

// Amend changes one record of the set as plan says, together with its audit
// entry, in one step. refresh brings the copy in m up to date, as in View. plan
// sees the newest copy and may be asked again, as others may write in between.
// Errors: plan's, refresh's, ErrConflict when others were quicker 100 times.
func (s *RecordSet) Amend(ctx context.Context, m *Mirror, refresh func(context.Context) (apply func(), err error), plan func() (Draft, error)) error {
	return m.Alone(ctx, func() error {
		for try := range amendTries {
			apply, err := refresh(ctx)
			if err != nil {
				return err
			}
			m.Change(apply)
			d, err := plan()
			if err != nil {
				return err
			}
			written, err := s.Write(ctx, d.Field, d.Body, d.Entry)
			if err != nil || written {
				return err
			}
			// A random time, so that writers do not collide again.
			if err := waitFor(ctx, rand.N(min(time.Duration(try+1)*time.Millisecond, amendPause))); err != nil {
				return fmt.Errorf("write %s: %w", d.Field, err)
			}
		}
		return fmt.Errorf("%w: %d times", ErrConflict, amendTries)
	})
}

// waitFor returns after d, or when ctx ends, with its error.
func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
