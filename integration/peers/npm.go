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
// cache, unless the file proof below it is there already. Test binaries run
// side by side, so it installs beside the cache and moves the whole into place:
// what stands there is complete, whoever was first.
func installNPM(ctx context.Context, cache, proof string, packages ...string) error {
	proof = filepath.Join(cache, proof)
	if _, err := os.Stat(proof); err == nil {
		return nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("no npm on this machine")
	}
	if err := os.MkdirAll(filepath.Dir(cache), 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(cache), "npm-")
	if err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	defer os.RemoveAll(work)
	ctx, cancel := context.WithTimeout(ctx, npmInstall)
	defer cancel()
	args := append([]string{"install", "--no-audit", "--no-fund", "--prefix", work}, packages...)
	if out, err := exec.CommandContext(ctx, npm, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w: %s", err, tail(string(out), 5))
	}
	if err := os.Rename(work, cache); err != nil {
		if _, missing := os.Stat(proof); missing != nil {
			return fmt.Errorf("move the packages into the cache: %w; remove %s and try again", err, cache)
		}
	}
	return nil
}
