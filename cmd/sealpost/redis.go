package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Pauses between tries to reach Redis at the start.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// errEvicts is why such a Redis is refused.
var errEvicts = errors.New("would throw jobs away when its memory is full: set maxmemory-policy noeviction")

// awaitRedis waits until Redis answers, and refuses one that may lose jobs.
func (p *process) awaitRedis(ctx context.Context) error {
	said := false
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		facts, err := readFacts(ctx, p.rdb)
		if err == nil {
			return p.accept(facts)
		}
		if !isNetwork(err) && !isLoading(err) {
			return fmt.Errorf("ask Redis at %s: %w", p.cfg.Redis, err)
		}
		if !said && ctx.Err() == nil {
			p.log.Warn("Redis does not answer; waiting for it", slog.String("redis", p.cfg.Redis.String()), slog.Any("err", err))
			said = true
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// accept refuses a Redis that evicts, and warns of one that forgets.
func (p *process) accept(facts redisFacts) error {
	if facts.evicts() {
		return fmt.Errorf("the Redis at %s has maxmemory-policy %s: it %w", p.cfg.Redis, facts.policy, errEvicts)
	}
	if facts.forgets() {
		p.log.Warn("Redis writes no append-only file: what it holds may be lost when it stops; set appendonly yes")
	}
	p.sealed.Store(new("starting: the keyring is being opened"))
	return nil
}

// redisFacts is what a Redis says of itself. A field is "" when it does not.
type redisFacts struct {
	version string
	policy  string // maxmemory-policy
	aof     string // "1" or "0"
	role    string
}

func (f redisFacts) evicts() bool  { return f.policy != "" && f.policy != "noeviction" }
func (f redisFacts) forgets() bool { return f.aof == "0" }

// readFacts asks by INFO, which hosted services allow where CONFIG is
// forbidden. A server that knows no such INFO (in memory, for development)
// gives no facts and no error.
func readFacts(ctx context.Context, rdb redis.UniversalClient) (redisFacts, error) {
	if err := rdb.Ping(ctx).Err(); err != nil {
		return redisFacts{}, err
	}
	var f redisFacts
	for section, fields := range map[string]map[string]*string{
		"server":      {"redis_version": &f.version},
		"memory":      {"maxmemory_policy": &f.policy},
		"persistence": {"aof_enabled": &f.aof},
		"replication": {"role": &f.role},
	} {
		text, err := rdb.Info(ctx, section).Result()
		if err != nil && isNetwork(err) {
			return redisFacts{}, err
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if field := fields[name]; field != nil {
				*field = value
			}
		}
	}
	return f, nil
}

// durability is the check of /readyz; what Redis forgets is a warning there.
func (p *process) durability(ctx context.Context) (string, error) {
	facts, err := readFacts(ctx, p.rdb)
	switch {
	case err != nil:
		return "", fmt.Errorf("no answer from %s", p.cfg.Redis)
	case facts.evicts():
		return "", fmt.Errorf("the Redis has maxmemory-policy %s: it %w", facts.policy, errEvicts)
	case facts.forgets():
		return p.cfg.Durability + "; Redis writes no append-only file", nil
	}
	return p.cfg.Durability, nil
}

// isNetwork reports whether err says that Redis could not be reached, rather
// than that it refused something.
func isNetwork(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrClosed)
}

// isLoading reports whether Redis is still reading its file, or is a replica
// whose master is not there: it passes.
func isLoading(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "LOADING") || strings.HasPrefix(text, "MASTERDOWN") || strings.HasPrefix(text, "CLUSTERDOWN")
}
