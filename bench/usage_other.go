//go:build !unix

package bench

import "time"

// ownCPU is not known where there is no getrusage.
func ownCPU() (time.Duration, bool) { return 0, false }
