package script

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/crashpoint"
)

// inherited are the variables of this process that scripts get. Everything else
// is the worker's own: its settings, and what its host has put there.
var inherited = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR"}

// child runs an analysis as a program: when there is room, after the claim was
// confirmed, with an environment that was opened right before.
func (s *start) child(ctx context.Context, id string) result {
	a := s.action
	path, err := find(a.config.Dir, id)
	if f, ok := errors.AsType[*fileError](err); ok {
		return result{id: id, status: f.status, stage: stageStart, code: f.status, text: f.text}
	}
	select {
	case a.free <- struct{}{}:
		defer func() { <-a.free }()
	case <-ctx.Done():
		return notReached(id, context.Cause(ctx))
	}
	if err := s.begun(ctx); err != nil {
		return notBegun(id, err)
	}
	env, err := a.config.Analyses.Open(ctx, s.use, id)
	if err != nil {
		return storeFailed(id, err)
	}
	data := string(s.run.Data)
	if data == "" {
		data = "[]"
	}
	vars, left, err := child.Variables(a.environ(), child.Run{
		ID: id, Base: a.config.Base(), Token: env.Token, Env: withFacts(env.Entries, s.run.Facts), Data: data,
	})
	if err != nil {
		return result{id: id, status: "start.large", stage: stageStart, code: "start.large", text: "the environment cannot be written as JSON"}
	}
	for _, reason := range left {
		a.config.Logger.DebugContext(ctx, "a key is in T_ANALYSIS_ENV only", slog.String("analysis", id), slog.String("reason", reason))
	}
	out := newOutput(ctx, a, id, env.Hidden)
	command := child.Command{
		Path: path, Dir: filepath.Dir(path), Vars: vars, Stdout: out.streams[0], Stderr: out.streams[1], Timeout: a.config.Timeout,
	}
	crashpoint.Point("script-start")
	end, err := command.Run(ctx)
	crashpoint.Point("script-end")
	wait := consoleWait
	if ctx.Err() != nil {
		wait /= 8 // the process is about to stop
	}
	last := out.close(wait, end != (child.End{}))
	if err != nil {
		return notStarted(id, err)
	}
	return ended(id, end, a.config.Timeout, last)
}

// environ is what of this process' environment scripts get.
func (a *Action) environ() []string {
	var list []string
	for _, entry := range a.config.Environ {
		if name, _, _ := strings.Cut(entry, "="); slices.Contains(inherited, name) {
			list = append(list, entry)
		}
	}
	return list
}

// notStarted is the result when the system would not start the program. The
// system's own words hold the path and nothing secret.
func notStarted(id string, err error) result {
	r := result{id: id, status: "start.refused", stage: stageStart, text: "the system does not start it"}
	for _, row := range []struct {
		is           error
		status, text string
	}{
		{syscall.E2BIG, "start.large", "environment and data are larger than this system gives to a program"},
		{syscall.ETXTBSY, "start.busy", "its file is being written"},
		{syscall.EAGAIN, "start.busy", "this machine has no room for another process"},
		{syscall.ENOMEM, "start.busy", "this machine has no memory for another process"},
		{syscall.EMFILE, "start.busy", "this process has too many files open"},
		{syscall.ENFILE, "start.busy", "this machine has too many files open"},
		{syscall.ENOENT, "start.interpreter", "the file, or the interpreter in its first line, is not there"},
		{syscall.ENOEXEC, "start.format", "the file is no program: its first line names no interpreter"},
		{syscall.EACCES, "start.denied", "the system does not let this user execute it"},
		{child.ErrSystem, "start.system", child.ErrSystem.Error()},
	} {
		if errors.Is(err, row.is) {
			r.status, r.text = row.status, row.text
			break
		}
	}
	r.code = r.status
	return r
}

// ended is the result of a program that ran. One that was cut off may have done
// a part of its work; one that reports a failure has said so itself.
func ended(id string, end child.End, timeout time.Duration, last string) result {
	r := result{id: id, stage: stageRun, text: last}
	switch {
	case end.Stopped:
		r.status, r.code, r.unknown = statusStopped, statusStopped, true
		r.text = "the worker stopped and killed it" + after(last)
	case end.TimedOut:
		r.status, r.code, r.unknown = statusTimeout, statusTimeout, true
		r.text = fmt.Sprintf("it ran longer than %v (SEALPOST_SCRIPT_TIMEOUT) and was ended", timeout) + after(last)
	case end.Signal != 0:
		r.status, r.code, r.unknown = statusSignal, fmt.Sprintf("signal %d", end.Signal), true
	case end.Code != 0:
		r.status, r.code = statusExit, fmt.Sprintf("exit %d", end.Code)
	default:
		r.stage, r.code = stageDone, "exit 0"
	}
	return r
}

// after is the last line behind other words.
func after(last string) string {
	if last == "" {
		return ""
	}
	return "; its last line: " + last
}
