package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// diskEach is how long what a node said of its disk is believed: an operator may
// change appendfsync under way, and a failover brings another node.
const diskEach = 10 * time.Second

// flushEach is the longest that a write waits for its flush with appendfsync
// everysec: one second, until the server looks at its clock again (10 times a second),
// and as much again for both. A Valkey 8 that was otherwise idle took up to 1.1 s.
const flushEach = 1200 * time.Millisecond

// disks remembers which nodes answer after their disk has the write.
type disks struct {
	mu    sync.Mutex
	known map[string]disk // by address
}

type disk struct {
	waits bool // WAITAOF is needed
	until time.Time
}

// waits reports whether an enqueue must wait with WAITAOF on this node, or is on
// disk when its answer comes: with appendfsync always Redis answers after the
// fsync. ErrNoDurability if the node can do neither.
func (d *disks) waits(ctx context.Context, node *redis.Client) (bool, error) {
	addr := node.Options().Addr
	d.mu.Lock()
	was, ok := d.known[addr]
	d.mu.Unlock()
	if ok && time.Now().Before(was.until) {
		return was.waits, nil
	}
	facts, err := readDisk(ctx, node)
	if err != nil {
		return false, err
	}
	waits, err := facts.waits()
	if err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string]disk{}
	}
	d.known[addr] = disk{waits: waits, until: time.Now().Add(diskEach)}
	return waits, nil
}

// diskFacts is what a node says of its append-only file. A field is "" when it does not.
type diskFacts struct {
	version string
	aof     string // "1" or "0"
	fsync   string // appendfsync
}

// waits is the verdict on the facts. A node that hides its appendfsync (CONFIG is
// forbidden) is asked with WAITAOF if it knows it, since that is right in any case.
func (f diskFacts) waits() (bool, error) {
	switch {
	case f.aof == "0":
		return false, fmt.Errorf("%w: level disk needs an append-only file: set appendonly yes and appendfsync always", ErrNoDurability)
	case f.fsync == "always" && f.aof == "1":
		return false, nil
	case f.fsync == "no": // WAITAOF would wait for a flush that Redis never makes
		return false, fmt.Errorf("%w: level disk needs appendfsync always, or everysec with Redis 7.2 (it is no)", ErrNoDurability)
	case atLeast(f.version, 7, 2): // the first with WAITAOF
		return true, nil
	case f.fsync == "":
		return false, fmt.Errorf("%w: level disk cannot be checked, since CONFIG GET appendfsync is refused, and Redis %s has no WAITAOF: allow the command, or use Redis 7.2", ErrNoDurability, orUnknown(f.version))
	}
	return false, fmt.Errorf("%w: level disk needs appendfsync always (it is %s), or Redis 7.2 (it is %s)", ErrNoDurability, f.fsync, orUnknown(f.version))
}

func orUnknown(version string) string {
	if version == "" {
		return "of unknown version"
	}
	return version
}

func readDisk(ctx context.Context, node *redis.Client) (diskFacts, error) {
	var f diskFacts
	for section, fields := range map[string]map[string]*string{
		"server": {"redis_version": &f.version}, "persistence": {"aof_enabled": &f.aof},
	} {
		text, err := node.Info(ctx, section).Result()
		if err != nil {
			return f, fmt.Errorf("ask Redis for %s: %w", section, err)
		}
		readInfo(text, fields)
	}
	// Hosted services refuse CONFIG: then the field stays empty.
	settings, err := node.ConfigGet(ctx, "appendfsync").Result()
	if _, refused := err.(redis.Error); err != nil && !refused {
		return f, fmt.Errorf("ask Redis for appendfsync: %w", err)
	}
	f.fsync = settings["appendfsync"]
	return f, nil
}

// readInfo fills fields from the lines "name:value" of INFO.
func readInfo(text string, fields map[string]*string) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if field := fields[name]; field != nil {
			*field = value
		}
	}
}

// atLeast reports whether version, such as "7.0.15", is major.minor or newer.
func atLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(first)
	if err != nil {
		return false
	}
	b, err := strconv.Atoi(second)
	return err == nil && (a > major || a == major && b >= minor)
}
