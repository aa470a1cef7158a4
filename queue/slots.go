package queue

import (
	"context"
	"sync"
	"time"
)

const (
	fetchBatch = 64                     // a busy reader waits for this many free slots, or a quarter of all
	fetchPause = 500 * time.Microsecond // but no longer than this: reads of one job cost 30 times as much each
)

// slots counts how many more jobs this process may hold. A job holds its slot
// from the read to the hand-over of its outcome.
type slots struct {
	mu      sync.Mutex
	total   int
	free    int
	waiters []*slotWaiter
}

type slotWaiter struct {
	want int
	ch   chan struct{}
}

func newSlots(total int) *slots { return &slots{total: total, free: total} }

// take waits for a free slot and takes up to most of them. When few are free
// it waits a moment for more. 0 means that ctx ended.
func (s *slots) take(ctx context.Context, most int) int {
	for {
		if !s.wait(ctx, 1, nil) {
			return 0
		}
		if batch := min(s.total/4, fetchBatch, most); batch > 1 && s.available() < batch {
			pause := time.NewTimer(fetchPause)
			s.wait(ctx, batch, pause.C)
			pause.Stop()
		}
		s.mu.Lock()
		n := min(s.free, most)
		s.free -= n
		s.mu.Unlock()
		if n > 0 {
			return n
		}
	}
}

// put gives n slots back.
func (s *slots) put(n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	s.free += n
	if len(s.waiters) > 0 {
		left := s.waiters[:0]
		for _, w := range s.waiters {
			if s.free >= w.want {
				close(w.ch)
			} else {
				left = append(left, w)
			}
		}
		clear(s.waiters[len(left):])
		s.waiters = left
	}
	s.mu.Unlock()
}

func (s *slots) available() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}

// wait returns true when want slots are free, false when ctx or timeout ends it.
func (s *slots) wait(ctx context.Context, want int, timeout <-chan time.Time) bool {
	s.mu.Lock()
	if s.free >= want {
		s.mu.Unlock()
		return ctx.Err() == nil
	}
	w := &slotWaiter{want: want, ch: make(chan struct{})}
	s.waiters = append(s.waiters, w)
	s.mu.Unlock()
	select {
	case <-w.ch:
		return true
	case <-ctx.Done():
	case <-timeout:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.waiters {
		if x == w {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			break
		}
	}
	return false
}
