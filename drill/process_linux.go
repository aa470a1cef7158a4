package drill

import (
	"os/exec"
	"syscall"
)

// apart gives the child a process group of its own, and has the kernel kill it
// when this process is gone.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
