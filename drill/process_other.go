//go:build !linux

package drill

import "os/exec"

// detach does nothing where processes have no such settings.
func detach(*exec.Cmd) {}
