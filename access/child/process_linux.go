package child

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Supported says whether programs can be run on this system.
const Supported = true

// Run starts the program in a process group of its own and waits for its end.
// When ctx ends the whole group is killed at once; after Timeout it is told to
// end, and killed KillDelay later. What the program has left in its group when
// it ends is killed too. The error says that it could not be started.
//
// A program can leave its group (setsid), and is then not found; the group is
// there against forgetfulness, not malice.
func (c *Command) Run(ctx context.Context) (End, error) {
	cmd := exec.Command(c.Path)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c.Dir, c.Vars, c.Stdout, c.Stderr, outputGrace
	// The program dies with this process, SIGKILL included. The signal comes when
	// the thread ends that made the child (prctl(2)), so the thread stays here.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return End{}, err
	}
	group := -cmd.Process.Pid
	ended := make(chan struct{})
	var end End
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		end = c.watch(ctx, group, ended)
	}()
	waiting := awaitEnd(cmd.Process.Pid)
	close(ended)
	<-watched
	// The program has ended and not been waited for, so no other process can
	// have its number yet: this reaches what it left and nobody else.
	_ = unix.Kill(group, unix.SIGKILL)
	err := errors.Join(waiting, cmd.Wait())
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return End{}, fmt.Errorf("wait for %s: %w", c.Path, err)
	}
	if end.Code = status.ExitStatus(); status.Signaled() {
		end.Signal = status.Signal()
	}
	return end, nil
}

// watch ends the group when it is time, and returns when the program has ended.
func (c *Command) watch(ctx context.Context, group int, ended <-chan struct{}) End {
	var end End
	timer := time.NewTimer(c.Timeout)
	defer timer.Stop()
	for {
		select {
		case <-ended:
			return end
		case <-ctx.Done():
			end.Stopped = true
			_ = unix.Kill(group, unix.SIGKILL) // it may have ended just now
			<-ended
			return end
		case <-timer.C:
			signal := unix.SIGTERM
			if end.TimedOut {
				signal = unix.SIGKILL
			}
			end.TimedOut = true
			_ = unix.Kill(group, signal)
			timer.Reset(KillDelay)
		}
	}
}

// awaitEnd waits until the process has ended and leaves it unreaped, so that
// its number stays its own.
func awaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
