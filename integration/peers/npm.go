package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// npmInstall bounds one installation: 230 MB, 11 s on a good line.
const npmInstall = 4 * time.Minute

// installNPM puts packages of npm, each with its version, into the directory
// cache, unless the file proof below it is there already.
func installNPM(ctx context.Context, cache, proof string, packages ...string) error {
	if _, err := os.Stat(filepath.Join(cache, proof)); err == nil {
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("no npm on this machine")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, npmInstall)
	defer cancel()
	args := append([]string{"install", "--no-audit", "--no-fund", "--prefix", cache}, packages...)
	if out, err := exec.CommandContext(ctx, npm, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w: %s", err, tail(string(out), 5))
	}
	return nil
}
