package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/queue"
)

const (
	sendJobs  = 500     // of one Enqueue: half of queue.MaxBatch, so that a resend is short
	sendBytes = 1 << 20 // of one Enqueue
	sendTime  = 10 * time.Second
	// refusedFile has the jobs that the queue calls invalid, one JSON a line: those
	// of an older or newer version of this program. They hold up nobody.
	refusedFile = "refused.jsonl"
)

// load opens the segments that are there.
func (s *Spool) load() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("read spool directory: %w", err)
	}
	var numbers []int64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentEnd)
		if n, err := strconv.ParseInt(name, 10, 64); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		seg, err := openSegment(s.dir, n, i == len(numbers)-1)
		if err != nil {
			return fmt.Errorf("open spool: %w", err)
		}
		s.segments = append(s.segments, seg)
		s.bytes += seg.size - int64(len(magic))
		s.added(seg.jobs)
	}
	return nil
}

// run sends until ctx ends.
func (s *Spool) run(ctx context.Context) {
	defer close(s.stopped)
	failures := 0
	for ctx.Err() == nil {
		more, err := s.sendSome(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures == 0 {
				s.opts.Logger.Warn("spool: jobs wait on disk", "err", err)
			}
			rest(ctx, backoff(failures))
			failures++
		case more:
			failures = 0
		default:
			if failures > 0 {
				s.opts.Logger.Info("spool: all jobs are sent")
			}
			failures = 0
			select {
			case <-s.wake:
			case <-ctx.Done():
			}
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// sendSome sends the next jobs. more is false if there are none.
func (s *Spool) sendSome(ctx context.Context) (more bool, err error) {
	s.mu.Lock()
	seg, err := s.next()
	if err != nil || seg == nil {
		s.mu.Unlock()
		return false, err
	}
	raw, size, err := seg.read(sendJobs, sendBytes)
	s.mu.Unlock() // producers go on while Redis is asked
	if err != nil {
		return false, err
	}
	jobs := make([]json.RawMessage, len(raw))
	for i := range raw {
		jobs[i] = raw[i]
	}
	if err := s.deliver(ctx, jobs); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.sent += size
	seg.jobs -= len(jobs)
	s.added(-len(jobs))
	if seg.sent < seg.size {
		return true, seg.writeSent()
	}
	return true, s.finish(seg)
}

// next returns the oldest segment that has something to send; nil if none has.
// mu is held.
func (s *Spool) next() (*segment, error) {
	for len(s.segments) > 0 {
		first := s.segments[0]
		if first.sent < first.size {
			return first, nil
		}
		if len(s.segments) == 1 && !first.broken && first.size == int64(len(magic)) {
			return nil, nil // empty, and to be written to
		}
		if err := s.finish(first); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// finish removes the first segment, all of which was sent. The only one is emptied
// instead, so that a producer that is never behind makes no new files. mu is held.
func (s *Spool) finish(seg *segment) error {
	if len(s.segments) == 1 && !seg.broken {
		s.bytes -= seg.size - int64(len(magic))
		if err := seg.empty(); err != nil {
			return fmt.Errorf("empty a sent file of the spool: %w", err)
		}
		return nil
	}
	s.segments = slices.Delete(s.segments, 0, 1)
	s.bytes -= seg.size - int64(len(magic))
	if err := seg.remove(); err != nil {
		return fmt.Errorf("remove a sent file of the spool: %w", err)
	}
	return nil
}

// deliver enqueues jobs. A job that the queue calls invalid is put aside.
func (s *Spool) deliver(ctx context.Context, jobs []json.RawMessage) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	for len(jobs) > 0 {
		_, err := s.sender.Enqueue(ctx, jobs...)
		invalid, ok := errors.AsType[*queue.InvalidJobError](err)
		if !ok || invalid.Index >= len(jobs) {
			return err
		}
		s.opts.Logger.Error("spool: a job is refused and put aside", "file", refusedFile, "err", invalid.Err)
		if err := s.putAside(jobs[invalid.Index]); err != nil {
			return err
		}
		jobs = slices.Delete(slices.Clone(jobs), invalid.Index, invalid.Index+1)
	}
	return nil
}

func (s *Spool) putAside(job json.RawMessage) error {
	f, err := os.OpenFile(filepath.Join(s.dir, refusedFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("put a refused job aside: %w", err)
	}
	var line bytes.Buffer
	err = json.Compact(&line, job) // it may have line breaks
	line.WriteByte('\n')
	if err == nil {
		_, err = f.Write(line.Bytes())
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("put a refused job aside: %w", err)
	}
	return nil
}
