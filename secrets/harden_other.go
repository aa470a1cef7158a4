//go:build !linux

package secrets

// HardenProcess does what can be done against memory dumps on this system:
// nothing.
func HardenProcess() error { return nil }
