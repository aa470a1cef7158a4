package drill

import (
	"os/exec"
	"syscall"
)

// detach gives the child a process group of its own, and has the kernel kill it
// when this process is gone.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
