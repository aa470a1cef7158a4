package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

// world is what all scenarios share, and what must be ended.
type world struct {
	settings
	dir    string
	ends   []func()
	redis  *peers.Redis
	rdb    *redis.Client
	binary string // the built program; "" until it is asked for
	npm    struct {
		asked bool
		dir   string
		why   string // it is not there
	}
}

// newWorld makes a directory and starts a Redis.
func newWorld(s settings) (*world, error) {
	w := &world{settings: s}
	var err error
	if w.dir, err = os.MkdirTemp("", "sealpost-bench-*"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	w.later(func() { _ = os.RemoveAll(w.dir) })
	if w.redis, err = peers.StartRedis(w.dir, w.durable()...); err != nil {
		w.close()
		return nil, err
	}
	w.later(func() { _ = w.redis.Kill() })
	w.rdb = w.redis.Client()
	w.later(func() { _ = w.rdb.Close() })
	return w, nil
}

// later has something done at the end, the last first.
func (w *world) later(f func()) { w.ends = append(w.ends, f) }

// endFrom ends what was begun since there were so many things to end.
func (w *world) endFrom(mark int) {
	for _, f := range slices.Backward(w.ends[mark:]) {
		f()
	}
	w.ends = w.ends[:mark]
}

func (w *world) close() { w.endFrom(0) }

// program builds the program once.
func (w *world) program() (string, error) {
	if w.binary != "" {
		return w.binary, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	w.binary, err = program.Build(root, w.dir)
	return w.binary, err
}

// moduleRoot is the directory of the module that the program is built from.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", "github.com/sealpost/sealpost").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// npmInstall bounds the installation: 20 MB, some seconds on a good line.
const npmInstall = 3 * time.Minute

// nodeSide starts a script of peers/. why says why it cannot be.
func (w *world) nodeSide(ctx context.Context, script string) (p *process, why string, err error) {
	if !w.npm.asked {
		w.npm.asked = true
		w.npm.dir, err = w.installNPM(ctx)
		if err != nil {
			w.npm.why = err.Error()
		}
	}
	if w.npm.why != "" {
		return nil, w.npm.why, nil
	}
	p, err = w.start(exec.Command("node", filepath.Join(w.npm.dir, script)))
	return p, "", err
}

// installNPM puts the peers of npm with our scripts into a directory of the cache,
// whose name follows from all their content: what is there is complete.
func (w *world) installNPM(ctx context.Context) (string, error) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("no %s on this machine", tool)
		}
	}
	from, err := os.OpenRoot("peers")
	if err != nil {
		return "", fmt.Errorf("find the scripts of the peers: %w", err)
	}
	defer from.Close()
	files := []string{"package.json", "package-lock.json", "wire.mjs", "bullmq.mjs", "nodemailer.mjs"}
	texts := map[string][]byte{}
	sum := sha256.New()
	for _, name := range files {
		if texts[name], err = from.ReadFile(name); err != nil {
			return "", fmt.Errorf("read the scripts of the peers: %w", err)
		}
		_, _ = sum.Write(texts[name]) // a hash never fails to write
	}
	ready := filepath.Join(w.cache, fmt.Sprintf("npm-%x", sum.Sum(nil)[:6]))
	if _, err := os.Stat(ready); err == nil {
		return ready, nil
	}
	if err := os.MkdirAll(w.cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	work, err := os.MkdirTemp(w.cache, "new-")
	if err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	defer os.RemoveAll(work)
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(work, name), text, 0o644); err != nil {
			return "", fmt.Errorf("fill the cache: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, npmInstall)
	defer cancel()
	// No script of a package runs; the fast decoder of BullMQ comes built.
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("npm ci: %w: %s", err, lines[len(lines)-1])
	}
	if err := os.Rename(work, ready); err != nil {
		if _, missing := os.Stat(ready); missing != nil {
			return "", fmt.Errorf("fill the cache: %w", err)
		}
	}
	return ready, nil
}

// empty removes all keys.
func (w *world) empty(ctx context.Context) error {
	if err := w.rdb.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("empty Redis: %w", err)
	}
	return nil
}

// infoOf is a number of INFO.
func infoOf(ctx context.Context, c *redis.Client, section string, fields ...string) (float64, error) {
	text, err := c.Info(ctx, section).Result()
	if err != nil {
		return 0, fmt.Errorf("ask Redis: %w", err)
	}
	sum, found := 0.0, 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if !slices.Contains(fields, name) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("ask Redis for %s: %w", name, err)
		}
		sum, found = sum+n, found+1
	}
	if found != len(fields) {
		return 0, errors.New("ask Redis: INFO has no " + strings.Join(fields, ", "))
	}
	return sum, nil
}

// redisCPU is the processor time that Redis has used, in seconds.
func redisCPU(ctx context.Context, c *redis.Client) (float64, error) {
	return infoOf(ctx, c, "cpu", "used_cpu_user", "used_cpu_sys")
}

// redisMemory is what Redis has allocated, in bytes.
func redisMemory(ctx context.Context, c *redis.Client) (float64, error) {
	return infoOf(ctx, c, "memory", "used_memory")
}
