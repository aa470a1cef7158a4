package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// heapGoal is the size of the heap at which the collector runs next.
func heapGoal() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestReserveLetsTheHeapGrow(t *testing.T) {
	before := heapGoal()
	release := reserveHeap()
	during := heapGoal()
	release()
	after := heapGoal()
	if during < before+heapReserve {
		t.Errorf("the collector runs at %d bytes instead of %d, want %d more", during, before, heapReserve)
	}
	if after >= during-heapReserve/2 {
		t.Errorf("the collector runs at %d bytes after the release, %d before it, want less", after, during)
	}
}
