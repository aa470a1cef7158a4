package child

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// Command is a program that a worker starts for an analysis. It gets no input,
// no file of the worker and no variable but Vars.
type Command struct {
	Path           string
	Dir            string
	Vars           []string
	Stdout, Stderr io.Writer
	Timeout        time.Duration // then it gets SIGTERM, and SIGKILL KillDelay later
}

// End says how a Command ended.
type End struct {
	Code     int            // exit code; -1 if a signal ended it
	Signal   syscall.Signal // that ended it, 0 if none
	TimedOut bool           // it was told to end because of Timeout
	Stopped  bool           // it was killed because the context had ended
}

// KillDelay is how long a program that was told to end may take. Number: ours.
const KillDelay = 5 * time.Second

// outputGrace is how long the output is waited for when the whole group is
// gone: a program that left the group may hold it.
const outputGrace = 2 * time.Second

// ErrSystem says that this system cannot hold a program and all it starts.
var ErrSystem = errors.New("child: programs of analyses are started on Linux only")
