package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

// redisPause is between tries to reach Redis at the start: a process is ready
// 150 ms after Redis answers, and twenty refused connections a second cost nobody
// anything.
const redisPause = 50 * time.Millisecond

// errEvicts is why such a Redis is refused.
var errEvicts = errors.New("would throw jobs away when its memory is full: set maxmemory-policy noeviction")

// awaitRedis waits until Redis answers, and refuses one that may lose jobs.
func (p *process) awaitRedis(ctx context.Context) error {
	said := false
	for {
		facts, err := p.firstFacts(ctx)
		if err == nil {
			p.met.Store(true)
			return p.accept(ctx, facts)
		}
		if !isNetwork(err) && !isLoading(err) {
			return fmt.Errorf("ask Redis at %s: %w", p.cfg.Redis, err)
		}
		if !said && ctx.Err() == nil {
			p.log.Warn("Redis does not answer; waiting for it", slog.String("redis", p.cfg.Redis.String()), slog.Any("err", err))
			said = true
		}
		if err := pause(ctx, redisPause); err != nil {
			return err
		}
	}
}

// firstFacts asks by a client that is made for it: one that could not connect for
// a while tries only once a second (go-redis v9.23.0, internal/pool).
func (p *process) firstFacts(ctx context.Context) (redisFacts, error) {
	rdb := redis.NewUniversalClient(p.cfg.Redis.Options())
	defer rdb.Close()
	return readFacts(ctx, rdb)
}

// onceMet keeps a check from asking Redis before awaitRedis has; see firstFacts.
func (p *process) onceMet(run func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if !p.met.Load() {
			return "", fmt.Errorf("no answer from %s", p.cfg.Redis)
		}
		return run(ctx)
	}
}

// accept refuses a Redis that evicts, or that cannot keep the level disk, and
// warns of one that forgets. A replica may come later, so a level that needs one is
// left to /readyz.
func (p *process) accept(ctx context.Context, facts redisFacts) error {
	if facts.evicts() {
		return fmt.Errorf("the Redis at %s has maxmemory-policy %s: it %w", p.cfg.Redis, facts.policy, errEvicts)
	}
	if p.cfg.Durability == string(queue.Disk) {
		if _, err := p.jobs.Standing(ctx); err != nil {
			return fmt.Errorf("the Redis at %s: %w", p.cfg.Redis, err)
		}
	}
	if facts.forgets() {
		p.log.Warn("Redis writes no append-only file: what it holds may be lost when it stops; set appendonly yes")
	}
	p.sealed.Store(new("starting: the keyring is being opened"))
	return nil
}

// redisFacts is what a Redis says of itself. A field is "" when it does not.
type redisFacts struct {
	node     string // of a cluster: its address
	version  string
	policy   string // maxmemory-policy
	used     string // bytes
	most     string // maxmemory, bytes; "0" is none
	aof      string // "1" or "0"
	fsync    string // appendfsync
	aofWrite string // "ok" or "err", the last write of the append-only file
	save     string // when snapshots are written, "" also if never
	saved    string // "ok" or "err", the last snapshot
	role     string
	link     string // of a replica: "up" or "down"
	offset   string // of the replication stream
	replicas []replica
}

// replica is one that follows, as its primary sees it.
type replica struct {
	addr   string
	state  string // "online" when it has caught up once
	behind int64  // bytes of the replication stream
	lag    int    // seconds since it was heard of
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
		"memory":      {"maxmemory_policy": &f.policy, "used_memory": &f.used, "maxmemory": &f.most},
		"persistence": {"aof_enabled": &f.aof, "aof_last_write_status": &f.aofWrite, "rdb_last_bgsave_status": &f.saved},
		"replication": {"role": &f.role, "master_link_status": &f.link, "master_repl_offset": &f.offset},
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
			if r, ok := readReplica(name, value); ok {
				f.replicas = append(f.replicas, r)
			}
		}
	}
	f.count()
	for name, field := range map[string]*string{"appendfsync": &f.fsync, "save": &f.save} {
		settings, err := rdb.ConfigGet(ctx, name).Result()
		if err != nil && isNetwork(err) {
			return redisFacts{}, err
		}
		*field = settings[name]
	}
	return f, nil
}

// readReplica reads a line such as
// slave0:ip=10.0.0.7,port=6379,state=online,offset=1234,lag=0
func readReplica(name, value string) (replica, bool) {
	if number, ok := strings.CutPrefix(name, "slave"); !ok || number == "" || strings.Trim(number, "0123456789") != "" {
		return replica{}, false
	}
	field := map[string]string{}
	for pair := range strings.SplitSeq(value, ",") {
		key, text, _ := strings.Cut(pair, "=")
		field[key] = text
	}
	r := replica{addr: net.JoinHostPort(field["ip"], field["port"]), state: field["state"]}
	r.behind, _ = strconv.ParseInt(field["offset"], 10, 64) // until count: how far it is
	r.lag, _ = strconv.Atoi(field["lag"])
	return r, true
}

// count turns the offsets of the replicas into how far they are behind.
func (f *redisFacts) count() {
	offset, _ := strconv.ParseInt(f.offset, 10, 64)
	for i := range f.replicas {
		f.replicas[i].behind = max(offset-f.replicas[i].behind, 0)
	}
}

// durability is the check of /readyz: the level, and whether Redis keeps it.
func (p *process) durability(ctx context.Context) (string, error) {
	facts, err := readFacts(ctx, p.rdb)
	switch {
	case err != nil:
		return "", fmt.Errorf("no answer from %s", p.cfg.Redis)
	case facts.evicts():
		return "", fmt.Errorf("the Redis has maxmemory-policy %s: it %w", facts.policy, errEvicts)
	}
	standing, err := p.jobs.Standing(ctx)
	switch {
	case errors.Is(err, queue.ErrNoDurability):
		return "", err
	case err != nil:
		return "", fmt.Errorf("no answer from %s", p.cfg.Redis)
	case facts.forgets():
		return standing.String() + "; Redis writes no append-only file", nil
	}
	return standing.String(), nil
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
