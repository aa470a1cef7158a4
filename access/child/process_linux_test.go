package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program writes an executable script.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, ctx context.Context, timeout time.Duration, text string) (End, string) {
	t.Helper()
	var out bytes.Buffer
	c := Command{Path: program(t, text), Dir: t.TempDir(), Vars: []string{"PATH=" + os.Getenv("PATH"), "X=1"}, Stdout: &out, Stderr: &out, Timeout: timeout}
	end, err := c.Run(ctx)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return end, out.String()
}

func TestCommandEndsAsTheProgramDoes(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       End
	}{
		{"well", "exit 0", End{}},
		{"with a code", "exit 3", End{Code: 3}},
		{"by a signal", "kill -9 $$", End{Code: -1, Signal: syscall.SIGKILL}},
		{"out of time", "sleep 60", End{Code: -1, Signal: syscall.SIGTERM, TimedOut: true}},
		{"out of time, with an answer to it", "trap 'exit 7' TERM; sleep 60 & wait", End{Code: 7, TimedOut: true}},
		{"out of time, and does not listen", "trap '' TERM; while :; do sleep 1; done", End{Code: -1, Signal: syscall.SIGKILL, TimedOut: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			if got, _ := run(t, t.Context(), 300*time.Millisecond, tt.text); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if took := time.Since(start); took > 300*time.Millisecond+KillDelay+5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestCommandIsKilledAtOnceWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	got, _ := run(t, ctx, time.Minute, "trap '' TERM INT; while :; do sleep 1; done")
	if want := (End{Code: -1, Signal: syscall.SIGKILL, Stopped: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// gone reports whether a process has ended, a zombie included.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z")
}

// pids are the numbers in a file, one a line.
func pids(t *testing.T, path string) []int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []int
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pid)
	}
	return list
}

func TestCommandTakesItsTreeWithIt(t *testing.T) {
	for _, tt := range []struct {
		name, end string
		timeout   time.Duration // longer than the tree takes to grow
	}{
		{"when it ends well and leaves them", "exit 0", time.Minute},
		{"when it is out of time", "wait", 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := filepath.Join(t.TempDir(), "pids")
			// Each of eight starts eight, all deaf to SIGTERM.
			text := `trap '' TERM
for i in 1 2 3 4 5 6 7 8; do
  sh -c 'trap "" TERM; echo $$ >> ` + list + `; for j in 1 2 3 4 5 6 7 8; do sh -c "echo \$\$ >> ` + list + `; exec sleep 60" & done; wait' &
done
while [ "$(wc -l < ` + list + ` 2>/dev/null || echo 0)" -lt 72 ]; do sleep 0.05; done
` + tt.end
			start := time.Now()
			run(t, t.Context(), tt.timeout, text)
			if took := time.Since(start); took > 40*time.Second {
				t.Errorf("took %v: the output was waited for", took)
			}
			all := pids(t, list)
			if len(all) != 72 {
				t.Errorf("the tree had %d processes, want 72", len(all))
			}
			for _, pid := range all {
				for wait := time.Now(); !gone(pid); time.Sleep(5 * time.Millisecond) { // init takes what has lost its parent
					if time.Since(wait) > 5*time.Second {
						t.Fatalf("process %d is still there", pid)
					}
				}
			}
		})
	}
}

func TestCommandGivesVariablesAndNothingElse(t *testing.T) {
	t.Setenv("CANARY_OF_THE_PARENT", "x")
	secret, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	_, out := run(t, t.Context(), time.Minute, "env; readlink /proc/$$/fd/0; ls /proc/$$/fd | wc -l; cat")
	for _, want := range []string{"X=1\n", "/dev/null\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("output %q lacks %q", out, want)
		}
	}
	if strings.Contains(out, "CANARY") || strings.Contains(out, "/dev/zero") {
		t.Errorf("output %q: the child has what is its parent's", out)
	}
}

func TestCommandThatCannotStart(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	noShell := filepath.Join(t.TempDir(), "no-shell")
	if err := os.WriteFile(noShell, []byte("#!/no/such/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{plain: fs.ErrPermission, noShell: fs.ErrNotExist, "/no/such/file": fs.ErrNotExist} {
		c := Command{Path: path, Timeout: time.Minute}
		if end, err := c.Run(t.Context()); !errors.Is(err, want) || end != (End{}) {
			t.Errorf("%s: got %+v, %v, want %v", path, end, err, want)
		}
	}
	c := Command{Path: program(t, "exit 0"), Timeout: time.Minute, Vars: []string{"BIG=" + strings.Repeat("x", 256<<10)}}
	if _, err := c.Run(t.Context()); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("a large variable: got %v, want E2BIG", err)
	}
}
