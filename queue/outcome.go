package queue

import (
	"errors"
	"fmt"
	"time"
)

// The outcome of an attempt is the type of its error:
//
//	nil               done
//	any other error   retry after [Backoff], one attempt used
//	*RetryAfterError  retry not before After, one attempt used
//	*ThrottledError   again after After, no attempt used; the lane slows down
//	*HandbackError    again after After, no attempt used
//	*ParkedError      waits for a new version of its secret, no attempt used
//	Permanent         dead at once
//	ErrLeaseLost      nothing: another worker has the job
var (
	// ErrLeaseLost says that this worker no longer holds the job.
	ErrLeaseLost = errors.New("queue: lease lost, another worker may have the job")
	// ErrNotFound says that no job, or no dead or parked job, has this id.
	ErrNotFound = errors.New("queue: no such job")
	// ErrRunning says that a worker has the job, so it cannot be taken back now.
	ErrRunning = errors.New("queue: the job is running")
	// ErrFinished says that the job has ended already.
	ErrFinished = errors.New("queue: the job has ended")
	// ErrFull says that the partition holds its maximum of waiting jobs.
	ErrFull = errors.New("queue: full; wait until workers have caught up, or raise SEALPOST_QUEUE_MAX")
	// ErrDeadFull says that the partition holds its maximum of dead letters: they
	// are never thrown away unseen, so no job is taken that could become one more.
	ErrDeadFull = errors.New("queue: too many dead letters; look at them (sealpost dead list), then retry or remove them, or raise SEALPOST_DEAD_MAX")
	// ErrNoMemory says that Redis has reached its maxmemory and takes no more jobs;
	// those that are in the queue are still done.
	ErrNoMemory = errors.New("queue: Redis is out of memory; wait until workers have caught up, or raise its maxmemory")
	// ErrDrainTimeout is the cause with which running jobs are cancelled when
	// the grace after SIGTERM is over.
	ErrDrainTimeout = errors.New("queue: the grace for running jobs is over")
)

// InvalidJobError says why a job cannot be accepted. Index is its place in the
// batch, from 0.
type InvalidJobError struct {
	Index int
	Err   error
}

// Error names the job by its place and says what is wrong with it.
func (e *InvalidJobError) Error() string { return fmt.Sprintf("job %d: %v", e.Index, e.Err) }

// Unwrap returns the reason.
func (e *InvalidJobError) Unwrap() error { return e.Err }

// RetryAfterError says that the attempt failed and that the next one must not
// come before After has passed. It uses up one attempt.
type RetryAfterError struct {
	After time.Duration
	Err   error
}

// Error is the text of Err.
func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// ThrottledError says that the other side wants fewer jobs. The job waits at
// least After (0: the lane's pace decides) and uses up no attempt.
type ThrottledError struct {
	After  time.Duration
	Lesson Lesson // which limit it has shown; all processes learn it
	Count  int    // see the lessons; -1: not known
	Err    error
}

// Error is the text of Err.
func (e *ThrottledError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *ThrottledError) Unwrap() error { return e.Err }

// HandbackError says that nothing was tried. The job waits at least After and
// uses up no attempt; hand-backs are counted apart.
type HandbackError struct {
	After time.Duration
	Err   error
}

// Error is the text of Err.
func (e *HandbackError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *HandbackError) Unwrap() error { return e.Err }

// ParkedError says that the job cannot succeed with this version of its
// secret. The job waits, using up no attempt, until the version changes, or that of
// a secret Beside it: one that was used with it and may be what was refused.
type ParkedError struct {
	Secret  string // the secret's id
	Version int64
	Beside  []Credential // in the versions that were used
	Err     error
}

// Error is the text of Err.
func (e *ParkedError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *ParkedError) Unwrap() error { return e.Err }

// PermanentError says that no later attempt can succeed: the job is dead.
type PermanentError struct{ Err error }

// Error is the text of Err.
func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent marks err as permanent. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &PermanentError{Err: err}
}
