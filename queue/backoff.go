package queue

import (
	"math/rand/v2"
	"time"
)

const (
	// BackoffBase is the longest delay after the first failed attempt.
	BackoffBase = 5 * time.Second
	// BackoffCap is the longest delay after any attempt, also when the other
	// side asks for more.
	BackoffCap = time.Hour
	// DefaultMaxAttempts is how often a job is tried before it is dead.
	DefaultMaxAttempts = 12
)

// Backoff returns the delay after attempt n, counted from 1: a random time up
// to BackoffBase*2^(n-1), at most BackoffCap. The jitter is full, so that jobs
// that failed together do not come back together.
func Backoff(n int) time.Duration {
	return time.Duration(rand.Int64N(int64(backoffCeiling(n)) + 1))
}

func backoffCeiling(n int) time.Duration {
	const doublings = 10 // 5 s * 2^10 is over an hour
	return min(BackoffBase<<min(max(n-1, 0), doublings), BackoffCap)
}

// jittered returns d with up to a quarter more or less.
func jittered(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}
