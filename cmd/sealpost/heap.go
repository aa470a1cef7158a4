package main

import "runtime"

// heapReserve is memory that is taken and never touched, so the system keeps no
// page for it. The collector counts it as live and lets the heap grow by as
// much before it runs.
//
// A server with a small store has a live heap of some MB, and each environment
// leaves 30 KB of ciphers and texts, so under load the collector ran all the
// time: with the reserve a request takes 85 µs of processor time instead of 115
// (make bench). A higher GOGC does that too, but makes a store of 100,000
// secrets take 1 GB. GOGC and GOMEMLIMIT work as ever; a limit below 64 MB is
// too low with the reserve.
const heapReserve = 32 << 20 // bytes

// reserveHeap takes the reserve and returns what gives it back.
func reserveHeap() (release func()) {
	reserve := make([]byte, heapReserve)
	return func() { runtime.KeepAlive(reserve) }
}
