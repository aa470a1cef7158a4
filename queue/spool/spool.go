// Package spool keeps jobs on the producer's disk until Redis has them, so that a
// producer can go on, and can be killed, while Redis is away.
//
// Enqueue returns when the job is in a file that was flushed to disk. One sender
// takes the jobs from there in order and enqueues them until each is accepted or
// is there already: every job has an id, so sending it twice makes one job
// ([queue.DedupWindow]: an outage must be shorter than that, or what was sent right
// before it may come twice).
package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// Defaults of [Options].
const (
	DefaultMaxBytes     = 64 << 20 // on disk: some 200,000 jobs of 300 bytes
	DefaultSegmentBytes = 4 << 20  // of a file; a file is removed when all in it is sent
)

var (
	// ErrFull says that the spool holds MaxBytes. The job was not taken.
	ErrFull = errors.New("spool: full; wait until Redis is back, or raise MaxBytes")
	// ErrLocked says that another process has the directory open.
	ErrLocked = errors.New("spool: the directory is in use by another process")
	// ErrClosed says that the spool was closed.
	ErrClosed = errors.New("spool: closed")
)

// Sender takes jobs; *[queue.Client] does.
type Sender interface {
	Enqueue(ctx context.Context, jobs ...json.RawMessage) ([]queue.Receipt, error)
}

// Options say how a [Spool] works. The zero value has usable defaults.
type Options struct {
	MaxBytes     int64        // on disk, from which on Enqueue refuses; 0 means DefaultMaxBytes
	SegmentBytes int64        // size at which the next file begins; 0 means DefaultSegmentBytes
	Logger       *slog.Logger // nil means slog.Default
}

// Spool is an open spool. It is safe for concurrent use by one process.
type Spool struct {
	dir    string
	opts   Options
	sender Sender
	lock   *os.File

	mu       sync.Mutex // of all below, and of the order of writes
	segments []*segment // oldest first; the last one is written to
	bytes    int64      // in all segments
	pending  int        // jobs that were not sent yet
	closed   bool
	drained  chan struct{} // closed when pending is 0; nil while it is

	wake    chan struct{} // room for one: there is something to send
	stop    context.CancelFunc
	stopped chan struct{}
}

// Open opens the spool in dir, makes it if there is none, and begins to send what
// an earlier process left there. ErrLocked if another process has it. The torn end
// of a write that a crash cut off is removed: nobody was told that it was taken.
func Open(dir string, sender Sender, opts Options) (*Spool, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	if opts.SegmentBytes <= 0 {
		opts.SegmentBytes = DefaultSegmentBytes
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{dir: dir, opts: opts, sender: sender, lock: lock, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.run(ctx)
	return s, nil
}

// Enqueue takes jobs and returns their ids when all of them are on disk. A job
// without an id is given one. Nothing is taken if one is invalid
// ([queue.InvalidJobError]) or the spool is full ([ErrFull]). After an error of the
// disk it is not known whether they were taken; send them again with the same ids.
func (s *Spool) Enqueue(jobs ...json.RawMessage) ([]string, error) {
	ids := make([]string, len(jobs))
	var records []byte
	for i, job := range jobs {
		named, id, err := queue.Identify(job)
		if err != nil {
			if invalid, ok := errors.AsType[*queue.InvalidJobError](err); ok {
				invalid.Index = i
			}
			return nil, err
		}
		ids[i] = id
		records = appendRecord(records, named)
	}
	if len(jobs) == 0 {
		return ids, nil
	}
	if err := s.write(records, len(jobs)); err != nil {
		return nil, err
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
	return ids, nil
}

// write appends records to the last segment and flushes it.
func (s *Spool) write(records []byte, jobs int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.bytes+int64(len(records)) > s.opts.MaxBytes {
		return ErrFull
	}
	last, err := s.writable()
	if err != nil {
		return err
	}
	if err := last.append(records); err != nil {
		return fmt.Errorf("write to spool: %w", err)
	}
	last.jobs += jobs
	s.bytes += int64(len(records))
	s.added(jobs)
	return nil
}

// writable returns the segment to write to: a new one if there is none, or the
// last one is large enough or cannot be trusted after an error.
func (s *Spool) writable() (*segment, error) {
	if n := len(s.segments); n > 0 {
		if last := s.segments[n-1]; last.size < s.opts.SegmentBytes && !last.broken {
			return last, nil
		}
	}
	next := int64(1)
	if n := len(s.segments); n > 0 {
		next = s.segments[n-1].number + 1
	}
	seg, err := createSegment(s.dir, next)
	if err != nil {
		return nil, fmt.Errorf("start a file of the spool: %w", err)
	}
	s.segments = append(s.segments, seg)
	return seg, nil
}

// added counts jobs that wait; mu is held.
func (s *Spool) added(jobs int) {
	s.pending += jobs
	if s.pending > 0 && s.drained == nil {
		s.drained = make(chan struct{})
	}
	if s.pending == 0 && s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
}

// Pending is how many jobs have not been sent yet, and how many bytes of disk the
// spool uses.
func (s *Spool) Pending() (jobs int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending, s.bytes
}

// Flush waits until all jobs are sent, or ctx ends.
func (s *Spool) Flush(ctx context.Context) error {
	s.mu.Lock()
	drained := s.drained
	s.mu.Unlock()
	if drained == nil {
		return nil
	}
	select {
	case <-drained:
		return nil
	case <-s.stopped:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close stops sending and gives the directory free. What was not sent is sent by
// the next process that opens it. Call Flush first to wait for that.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	<-s.stopped
	var errs []error
	for _, seg := range s.segments {
		errs = append(errs, seg.file.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// backoff is the pause after n failures in a row: from a tenth of a second, which
// a restart of Redis takes, to ten seconds.
func backoff(n int) time.Duration {
	const first, most, doublings = 100 * time.Millisecond, 10 * time.Second, 7
	return min(first<<min(n, doublings), most)
}
