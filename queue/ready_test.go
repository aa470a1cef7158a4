package queue

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestReadyRunsAllJobsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		r := newReady()
		var mu sync.Mutex
		running := 0
		hold := make(chan struct{})
		var workers sync.WaitGroup
		for range n {
			workers.Go(func() {
				for r.take() != nil {
					mu.Lock()
					running++
					mu.Unlock()
					<-hold
				}
			})
		}
		synctest.Wait() // all sleep
		for range n {
			r.put(&claim{})
		}
		synctest.Wait() // each has a job that does not end
		mu.Lock()
		if running != n {
			t.Errorf("%d jobs run, want all %d: one that does not end holds up another", running, n)
		}
		mu.Unlock()
		close(hold)
		r.end()
		workers.Wait()
	})
}

func TestReadyLosesNoJob(t *testing.T) {
	const workers, putters, each = 8, 4, 20_000
	r := newReady()
	var mu sync.Mutex
	seen := map[*claim]int{}
	var taking, putting sync.WaitGroup
	for range workers {
		taking.Go(func() {
			for c := r.take(); c != nil; c = r.take() {
				mu.Lock()
				seen[c]++
				mu.Unlock()
			}
		})
	}
	for range putters {
		putting.Go(func() {
			for range each {
				r.put(&claim{})
			}
		})
	}
	putting.Wait()
	r.end()
	taking.Wait() // what was there at the end is taken too
	if len(seen) != putters*each {
		t.Fatalf("%d jobs were taken, want %d", len(seen), putters*each)
	}
	for _, times := range seen {
		if times != 1 {
			t.Fatalf("a job was taken %d times", times)
		}
	}
}
