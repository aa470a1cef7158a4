package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sdkVersion is the public JavaScript client that existing scripts use, from
// npm. 12.3.1 asks for Node 22 and runs on Node 20 as well.
const sdkVersion = "@tago-io/sdk@12.3.1"

// SDK runs scripts that use the public JavaScript client, which is as its
// authors published it.
type SDK struct {
	// Node is the path of the interpreter, Dir where the scripts are.
	Node, Dir string
}

// NewSDK makes a directory for the test with a copy of the scripts (*.mjs) and
// the client where they find it. cache keeps the client between runs; it is
// installed there when missing. It skips the test where node or npm are missing
// or cannot install it.
func NewSDK(tb testing.TB, cache, scripts string) *SDK {
	tb.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		tb.Skip("skipped: the JavaScript client cannot run here: no node on this machine")
	}
	if err := installNPM(tb.Context(), cache, "node_modules/@tago-io/sdk/package.json", sdkVersion); err != nil {
		tb.Skipf("skipped: the JavaScript client cannot run here: %v", err)
	}
	s := &SDK{Node: node, Dir: Dir(tb)}
	if err := s.copy(cache, scripts); err != nil {
		tb.Fatal(err)
	}
	return s
}

// copy puts the scripts where an import finds the client: Node looks for
// node_modules from the directory of the script upwards.
func (s *SDK) copy(cache, scripts string) error {
	if err := os.Symlink(filepath.Join(cache, "node_modules"), filepath.Join(s.Dir, "node_modules")); err != nil {
		return fmt.Errorf("link the client: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(scripts, "*.mjs"))
	if err != nil {
		return fmt.Errorf("list the scripts: %w", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read a script: %w", err)
		}
		if err := os.WriteFile(filepath.Join(s.Dir, filepath.Base(name)), text, 0o644); err != nil {
			return fmt.Errorf("copy a script: %w", err)
		}
	}
	return nil
}

// Script is the path of one of the scripts.
func (s *SDK) Script(name string) string { return filepath.Join(s.Dir, name) }

// Command is "node ARGS" in the directory of the scripts, for the server at
// api. env adds to the environment, of which nothing of ours and nothing that
// the client reads comes from the caller's own.
func (s *SDK) Command(api string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.Node, args...)
	cmd.Dir = s.Dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SEALPOST_") && !strings.HasPrefix(v, "T_") && !strings.HasPrefix(v, "TAGOIO_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "TAGOIO_API="+api, "TAGOIO_SSE="+api)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}
