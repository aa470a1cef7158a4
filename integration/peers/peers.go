// Package peers starts the other programs that Sealpost talks to, real ones,
// for tests and for the chaos run: redis-server, a Postfix submission server,
// the SQS emulator fauxqs, and Redis in a container.
//
// Each peer is a process of its own with its own directory and free ports; it
// shares nothing with a system service of the same name and dies with the
// test. A peer that this machine cannot run skips the test and says why.
package peers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// step is how often a wait looks again: short against anything that is waited
// for here, long enough not to take a core away from it.
const step = 20 * time.Millisecond

// ErrHopeless ends a [Wait] at once when the error of its check wraps it: what
// is waited for can no longer come.
var ErrHopeless = errors.New("it cannot come any more")

// Wait calls check at once and then each 20 ms until it returns nil. After
// limit, or with [ErrHopeless] at once, it returns the last error of check,
// wrapped with what was waited for.
func Wait(limit time.Duration, what string, check func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(step)
	defer again.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrHopeless) {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("wait %v for %s: %w", limit, what, err)
		case <-again.C:
		}
	}
}

// Eventually is Wait for tests: it ends the test when limit passes.
func Eventually(tb testing.TB, limit time.Duration, what string, check func() error) {
	tb.Helper()
	if err := Wait(limit, what, check); err != nil {
		tb.Fatal(err)
	}
}

// Dir returns a new directory that other users may enter, unlike the one of
// [testing.T.TempDir]: Postfix drops its rights and must still reach its
// files. It is removed when the test ends, and kept when it failed and
// SEALPOST_TEST_KEEP is set.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "sealpost-*")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() && os.Getenv("SEALPOST_TEST_KEEP") != "" {
			tb.Logf("kept %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Logf("remove the test's directory: %v", err)
		}
	})
	return dir
}

// dialable returns nil if somebody accepts connections on addr.
func dialable(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// readFile returns the text of a file, "" if there is none yet.
func readFile(path string) string {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "unreadable: " + err.Error()
	}
	return string(b)
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
