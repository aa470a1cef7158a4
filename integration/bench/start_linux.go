package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs has Linux kill the process when this one is gone.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
