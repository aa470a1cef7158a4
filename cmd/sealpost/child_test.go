package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets/redact"
)

func TestRunChild(t *testing.T) {
	noexec := filepath.Join(t.TempDir(), "noexec")
	if err := os.WriteFile(noexec, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		command []string
		code    int
		stdout  string
		stderr  string
	}{
		{"ends well", []string{"sh", "-c", "cat; echo $X; echo $X >&2"}, 0, "input\n[redacted]\n", "[redacted]\n"},
		{"gives its exit code", []string{"sh", "-c", "exit 7"}, 7, "", ""},
		{"dies of a signal", []string{"sh", "-c", "kill -9 $$"}, 137, "", ""},
		{"is not there", []string{"no-such-command-4711"}, 127, "", ""},
		{"is not there by its path", []string{"/no/such/command"}, 127, "", ""},
		{"cannot be executed", []string{noexec}, 126, "", ""},
		{"leaves a child that holds the output", []string{"sh", "-c", "sleep 60 & echo gone"}, 0, "gone\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			a := &app{stdin: strings.NewReader("input\n"), stdout: &stdout, stderr: &stderr}
			vars := []string{"PATH=" + os.Getenv("PATH"), "X=canary-4711"}
			err := a.runChild(tt.command, vars, []redact.String{redact.New("canary-4711")})
			code := 0
			if err != nil {
				code = exitCode(err)
			}
			got := []any{code, stdout.String(), stderr.String()}
			if diff := cmp.Diff(got, []any{tt.code, tt.stdout, tt.stderr}); diff != "" {
				t.Errorf("-got +want:\n%s (error %v)", diff, err)
			}
		})
	}
}

func TestForwardPassesSignalsOn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		signal   syscall.Signal
		want     bool
	}{
		{"SIGTERM without a terminal", false, syscall.SIGTERM, true},
		{"SIGTERM at a terminal", true, syscall.SIGTERM, true},
		{"SIGINT without a terminal", false, syscall.SIGINT, true},
		{"SIGINT of a terminal has come by itself", true, syscall.SIGINT, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			child := exec.Command("sleep", "60")
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			signals, ended, done := make(chan os.Signal), make(chan struct{}), make(chan struct{})
			go func() { defer close(done); forward(child.Process, signals, ended, tt.terminal) }()
			signals <- tt.signal
			if !tt.want { // it is taken in the order of the channel
				signals <- syscall.SIGKILL
			}
			err := child.Wait()
			close(ended)
			<-done
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok {
				t.Fatalf("got %v, want it ended by a signal", err)
			}
			want := tt.signal
			if !tt.want {
				want = syscall.SIGKILL
			}
			if got := exit.Sys().(syscall.WaitStatus).Signal(); got != want {
				t.Errorf("ended by: got %v, want %v", got, want)
			}
		})
	}
}
