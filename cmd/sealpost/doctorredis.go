package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/queue"
)

// maxLag is how long a replica may be silent: Redis has replicas report each
// second, and calls one that is silent for 10 s bad (min-replicas-max-lag).
const maxLag = 10 // seconds

// redisFindings are what a Redis says of itself, weighed.
func redisFindings(cfg config.Config, facts redisFacts) []finding {
	version := finding{Check: "redis version", Result: "ok", Text: orWord(facts.version, "not told")}
	if n, ok := major(facts.version); ok && n < 7 {
		version.Result, version.Advice = "fail", "Sealpost is tested with Redis 7.0 and newer, and with Valkey; take one of these"
	}
	policy := finding{Check: "redis maxmemory-policy", Result: "ok", Text: orWord(facts.policy, "not told")}
	if facts.evicts() {
		policy.Result, policy.Advice = "fail", "set maxmemory-policy noeviction: this one throws jobs away when memory is full"
	}
	return []finding{{Check: "redis", Result: "ok", Text: "answers at " + cfg.Redis.String()},
		version, policy, memoryFinding(facts), fileFinding(facts), snapshotFinding(facts), roleFinding(facts), replicaFinding(facts)}
}

// fullPart is how full the memory may be: what is left must hold the jobs that come
// until somebody has read the warning.
const fullPart = 0.8

// memoryFinding is about the limit at which Redis refuses jobs.
func memoryFinding(facts redisFacts) finding {
	const mib = 1 << 20
	f := finding{Check: "redis memory", Result: "ok", Text: "not told"}
	used, err := strconv.ParseInt(facts.used, 10, 64)
	if err != nil {
		return f
	}
	most, err := strconv.ParseInt(facts.most, 10, 64)
	if err != nil || most == 0 {
		f.Text = fmt.Sprintf("%d MiB used, no maxmemory", used/mib)
		return f
	}
	f.Text = fmt.Sprintf("%d of %d MiB used", used/mib, most/mib)
	if float64(used) > fullPart*float64(most) {
		f.Result, f.Advice = "warn", "raise maxmemory, or find out what waits (`sealpost queue stats`): a full Redis takes no jobs"
	}
	return f
}

// factsOfAll are those of each primary of a cluster, or of the one server.
func factsOfAll(ctx context.Context, rdb redis.UniversalClient) ([]redisFacts, error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		facts, err := readFacts(ctx, rdb)
		return []redisFacts{facts}, err
	}
	var mu sync.Mutex
	var all []redisFacts
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		facts, err := readFacts(ctx, node)
		facts.node = node.Options().Addr
		mu.Lock()
		defer mu.Unlock()
		all = append(all, facts)
		return err
	})
	slices.SortFunc(all, func(a, b redisFacts) int { return strings.Compare(a.node, b.node) })
	return all, err
}

// worstFindings has each line once, of the node where it is worst.
func worstFindings(cfg config.Config, all []redisFacts) []finding {
	weight := map[string]int{"ok": 0, "warn": 1, "fail": 2}
	var worst []finding
	for i, facts := range all {
		for n, f := range redisFindings(cfg, facts) {
			if facts.node != "" && n > 0 {
				f.Text += " (" + facts.node + ")"
			}
			if i == 0 {
				worst = append(worst, f)
			} else if weight[f.Result] > weight[worst[n].Result] {
				worst[n] = f
			}
		}
	}
	return worst
}

// fileFinding is about the append-only file and when it is flushed.
func fileFinding(facts redisFacts) finding {
	f := finding{Check: "redis append-only file", Result: "ok", Text: map[string]string{"1": "on", "0": "off", "": "not told"}[facts.aof]}
	if facts.aof == "1" {
		f.Text += ", appendfsync " + orWord(facts.fsync, "not told")
	}
	switch {
	case facts.forgets():
		f.Result, f.Advice = "warn", "set appendonly yes: without it jobs and secrets may be lost when Redis stops"
	case facts.aofWrite == "err":
		f.Result, f.Text, f.Advice = "fail", f.Text+", the last write failed", "see the log of Redis: most often the disk is full"
	case facts.fsync == "no":
		f.Result, f.Advice = "warn", "set appendfsync everysec: the system may keep half a minute of writes to itself"
	}
	return f
}

// snapshotFinding is about RDB files. They are no must beside an append-only file,
// but one that fails makes Redis refuse all writes (stop-writes-on-bgsave-error).
func snapshotFinding(facts redisFacts) finding {
	f := finding{Check: "redis snapshots", Result: "ok", Text: "off"}
	if facts.save != "" {
		f.Text = "on (save " + facts.save + ")"
	}
	if facts.saved == "err" {
		f.Result, f.Text, f.Advice = "fail", f.Text+", the last one failed", "see the log of Redis: with stop-writes-on-bgsave-error it takes no jobs now"
	}
	return f
}

func roleFinding(facts redisFacts) finding {
	f := finding{Check: "redis role", Result: "ok", Text: orWord(facts.role, "not told")}
	if facts.role == "slave" {
		f.Text += ", link to its master " + orWord(facts.link, "not told")
		f.Result, f.Advice = "fail", "this is a replica, which takes no writes: point SEALPOST_REDIS_URL at the master, or at the sentinels"
	}
	return f
}

// replicaFinding says who follows and how far behind.
func replicaFinding(facts redisFacts) finding {
	f := finding{Check: "redis replicas", Result: "ok", Text: "none"}
	var lines, late []string
	for _, r := range facts.replicas {
		lines = append(lines, fmt.Sprintf("%s %s, %d bytes behind, heard of %d s ago", r.addr, r.state, r.behind, r.lag))
		if r.state != "online" || r.lag > maxLag {
			late = append(late, r.addr)
		}
	}
	if len(lines) > 0 {
		f.Text = strings.Join(lines, "; ")
	}
	if len(late) > 0 {
		f.Result, f.Advice = "warn", "look at "+strings.Join(late, ", ")+": a failover to it would lose what it has not got"
	}
	return f
}

// levelFinding says whether Redis keeps the promise of SEALPOST_DURABILITY.
func levelFinding(ctx context.Context, cfg config.Config, rdb redis.UniversalClient) finding {
	client := queue.NewClient(rdb, queue.ClientOptions{Durability: queue.Durability(cfg.Durability)})
	standing, err := client.Standing(ctx)
	switch {
	case errors.Is(err, queue.ErrNoDurability):
		return finding{"durability", "fail", standing.String(), strings.TrimPrefix(err.Error(), "queue: ")}
	case err != nil:
		return finding{"durability", "warn", "cannot be told", err.Error()}
	}
	return finding{Check: "durability", Result: "ok", Text: standing.String()}
}

// auditStale is how old the last check in the background may be: workers make one
// each ten minutes, and one of a large queue may take an hour.
const auditStale = 3 * time.Hour

// auditFinding says what the workers' own check of the queue has found.
func auditFinding(ctx context.Context, rdb redis.UniversalClient) finding {
	a, err := queue.NewClient(rdb, queue.ClientOptions{}).LastAudit(ctx)
	if err != nil {
		return finding{"queue check", "warn", "cannot be told", err.Error()}
	}
	f := finding{Check: "queue check", Result: "ok", Text: a.String()}
	switch {
	case a.Left() > 0:
		f.Result, f.Advice = "warn", "run `sealpost fsck`: it names each and says what to do"
	case !a.At.IsZero() && time.Since(a.At) > auditStale:
		f.Result, f.Advice = "warn", "workers make one each ten minutes: see whether one runs"
	}
	return f
}

// major is the first number of a version.
func major(version string) (int, bool) {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	return n, err == nil
}

// maxSkew is how far the clocks may be apart: tokens allow for a minute, and a
// delay of a second is what a person would not notice.
const maxSkew = time.Second

func clockFinding(ctx context.Context, rdb redis.UniversalClient) finding {
	before := time.Now()
	there, err := rdb.Time(ctx).Result()
	after := time.Now()
	if err != nil {
		return finding{"clock", "warn", "Redis does not tell its time", ""}
	}
	// The answer was made at some moment between the two readings.
	skew := max(there.Sub(after), before.Sub(there), 0)
	f := finding{Check: "clock", Result: "ok", Text: "within " + max(skew, after.Sub(before), time.Millisecond).Round(time.Millisecond).String() + " of the clock of Redis"}
	if skew > maxSkew {
		f.Result, f.Text = "warn", skew.Round(time.Millisecond).String()+" from the clock of Redis"
		f.Advice = "run NTP on both machines: delays and expiry times are off by this much"
	}
	return f
}
