package main

import "runtime"

// heapReserve is memory that is taken and never touched, so the system keeps no
// page for it. The collector counts it as live and lets the heap grow by as
// much before it runs.
//
// A server with a small store has a live heap of some MB, so that under load the
// collector runs all the time. The reserve is small enough that a process with
// 200 jobs at once stays below 60 MB: with 32 MB of it that took 86 MB, and an
// environment 40 µs of processor time instead of 44 (benchstart, benchenv). A
// higher GOGC lets a store of 100,000 secrets take 1 GB. GOGC and GOMEMLIMIT work
// as ever.
const heapReserve = 4 << 20 // bytes

// reserveHeap takes the reserve and returns what gives it back.
func reserveHeap() (release func()) {
	reserve := make([]byte, heapReserve)
	giveBack(reserve)
	return func() { runtime.KeepAlive(reserve) }
}
