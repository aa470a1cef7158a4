//go:build !unix

package spool

import (
	"errors"
	"os"
)

// lockDir refuses: without a lock that the system gives back when a process is
// killed, two processes could send and remove the same files.
func lockDir(string) (*os.File, error) {
	return nil, errors.New("spool: not supported on this system, which has no flock")
}
