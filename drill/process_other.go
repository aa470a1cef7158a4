//go:build !linux

package drill

import "os/exec"

// apart does nothing where processes have no such settings.
func apart(*exec.Cmd) {}
