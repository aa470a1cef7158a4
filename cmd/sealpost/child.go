package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Exit codes of `sealpost run` that are not the child's, as env(1) and shells
// have them.
const (
	exitNotExecutable = 126
	exitNoCommand     = 127
	exitSignal        = 128 // and the number of the signal that ended the child
)

// childExit ends this program with the exit code of a child, which has said
// itself what there was to say.
type childExit struct {
	code int
	text string // "" unless there was no child
}

// Error says how the child ended.
func (e childExit) Error() string { return e.text }

// outputGrace is how long the output stays open after the child has ended, for
// children of its own that still write.
const outputGrace = 2 * time.Second

// runChild runs a command with these variables and masks the values in what it
// writes. Signals that come go to the child. The error is a childExit unless
// the child ended with 0.
func (a *app) runChild(command, vars []string, values []redact.String) error {
	forms := child.NewSpellings(values)
	stdout, stderr := child.NewMasker(a.stdout, forms), child.NewMasker(a.stderr, forms)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = vars, a.stdin, stdout, stderr, outputGrace
	// Before the start, so that no signal ends this process and leaves the child.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return notStarted(command[0], err)
	}
	ended := make(chan struct{})
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		forward(cmd.Process, signals, ended, isTerminal(a.stdin))
	}()
	err := cmd.Wait()
	close(ended)
	<-forwarded
	if err := errors.Join(stdout.Close(), stderr.Close()); err != nil {
		return fmt.Errorf("write output of %s: %w", command[0], err)
	}
	return exitOf(command[0], cmd.ProcessState, err)
}

// forward passes signals on until the child has ended. A terminal sends what a
// key gives to the child itself, too; it must not come twice.
func forward(process *os.Process, signals <-chan os.Signal, ended <-chan struct{}, terminal bool) {
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			if !terminal || s != syscall.SIGINT && s != syscall.SIGQUIT {
				_ = process.Signal(s) // it may have ended just now
			}
		}
	}
}

func notStarted(name string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return childExit{exitNoCommand, fmt.Sprintf("%s: command not found", clean(name))}
	case errors.Is(err, syscall.E2BIG):
		return childExit{exitNotExecutable, "the environment of this analysis is larger than this system can give to a program"}
	case errors.Is(err, fs.ErrPermission):
		return childExit{exitNotExecutable, fmt.Sprintf("%s: not executable", clean(name))}
	}
	return fmt.Errorf("start %s: %w", clean(name), err)
}

// exitOf is how the child ended. Output that a grandchild kept open is not
// waited for, and that is no error.
func exitOf(name string, state *os.ProcessState, err error) error {
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		return childExit{code: exitSignal + int(status.Signal())}
	case state.ExitCode() != 0:
		return childExit{code: state.ExitCode()}
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	return fmt.Errorf("run %s: %w", name, err)
}
