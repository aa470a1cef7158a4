package queue

import (
	"slices"
	"sync"
)

// ready is the queue of jobs that a worker shall run now. A channel would wake a
// sleeping worker for each job, at a third of what a short job costs. Here one
// is woken, which wakes the next when it takes a job and leaves more behind: for
// jobs that take long all soon run, and short ones need few workers.
type ready struct {
	mu     sync.Mutex
	jobs   []*claim
	head   int // jobs[:head] have been taken
	asleep int // workers
	waking bool
	closed bool
	wake   chan struct{} // has one while waking, until the worker is up
}

func newReady() *ready { return &ready{wake: make(chan struct{}, 1)} }

// put adds a job. It never blocks.
func (r *ready) put(c *claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs, r.head = packed(r.jobs, r.head)
	r.jobs = append(r.jobs, c)
	r.wakeOne()
}

// packed moves what is left of a queue to its front when it is full and half of it
// has been taken. A queue that is never empty would else grow with each job.
func packed(jobs []*claim, head int) ([]*claim, int) {
	if len(jobs) < cap(jobs) || head < len(jobs)/2 || head == 0 {
		return jobs, head
	}
	return slices.Delete(jobs, 0, head), 0
}

// take waits for a job. nil means that there will be none.
func (r *ready) take() *claim {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.head == len(r.jobs) {
		if r.closed {
			return nil
		}
		r.sleep()
	}
	c := r.jobs[r.head]
	r.jobs[r.head] = nil
	if r.head++; r.head == len(r.jobs) {
		r.jobs, r.head = r.jobs[:0], 0
	} else {
		r.wakeOne()
	}
	return c
}

// sleep lets go of mu until this worker is woken.
func (r *ready) sleep() {
	r.asleep++
	r.mu.Unlock()
	<-r.wake
	r.mu.Lock()
	r.waking = false
}

// wakeOne wakes a worker, unless one is on its way. mu is held.
func (r *ready) wakeOne() {
	if r.asleep > 0 && !r.waking && !r.closed {
		r.asleep--
		r.waking = true
		r.wake <- struct{}{} // never blocks: waking was false
	}
}

// end lets take return nil when no job is left.
func (r *ready) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.wake)
	}
}
