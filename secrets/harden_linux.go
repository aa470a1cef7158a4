package secrets

import (
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// HardenProcess keeps the process's memory out of core dumps and away from
// debuggers of the same user: PR_SET_DUMPABLE 0, no core files, and panics
// that print the one goroutine that panicked. root still reads the memory.
func HardenProcess() error {
	debug.SetTraceback("single")
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid memory dumps: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}
