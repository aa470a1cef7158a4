package queue

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// LookOften makes a pool look for new partitions much more often.
func LookOften(cfg PoolConfig) PoolConfig {
	cfg.look = 50 * time.Millisecond
	return cfg
}

// AuditOften makes a pool check the queue all the time.
func AuditOften(cfg PoolConfig) PoolConfig {
	cfg.auditLook, cfg.auditEach, cfg.auditRest = 20*time.Millisecond, 50*time.Millisecond, 1
	return cfg
}

// Recovering makes what a pool has learnt of a destination grow at this scale.
func Recovering(cfg PoolConfig, d time.Duration) PoolConfig {
	cfg.recover = d
	return cfg
}

// Moves are the scripts, by name, for tests that make moves one by one.
var Moves = map[string]*script{
	"enqueue": scriptEnqueue, "done": scriptDone, "delay": scriptDelay, "dead": scriptDead, "park": scriptPark,
	"release": scriptRelease, "promote": scriptPromote, "recall": scriptRecall, "reclaim": scriptReclaim, "renew": scriptRenew, "reap": scriptReap,
	"cancel": scriptCancel, "requeue": scriptRequeue, "remove": scriptRemove, "unpark": scriptUnpark, "version": scriptVersion,
	"audit": scriptAudit, "trim": scriptTrim, "pace": scriptPace, "gate": scriptGate,
}

// PaceKey is the hash that pace.lua keeps.
func PaceKey(prefix string) string { return newShared(prefix).pace() }

// GateKey is the hash that gate.lua keeps.
func GateKey(prefix string) string { return newShared(prefix).refused() }

// PlaceKeys are KEYS[1..9] of every script in partition 0.
func PlaceKeys(prefix string) []string { return newKeys(prefix, 0).places }

// Paced is cfg with polls, ticks and sweeps that come n times more seldom, so
// that years can be simulated.
func Paced(cfg PoolConfig, n int) PoolConfig {
	cfg.pace = n
	return cfg
}

// CapLog is one look of a pool at the size of the log.
func CapLog(ctx context.Context, p *Pool) error { return p.capOnce(ctx, &logCap{}) }

// Look is one look for lost claims as a pool of the default lease makes it.
func Look(ctx context.Context, rdb redis.UniversalClient, prefix string) error {
	k := newKeys(prefix, 0)
	args := []any{"bench", DefaultLease.Milliseconds(), reclaimPage, reclaimStart, MaxCrashes, suspicion, suspectSlots, takeOverMost, loner, suspectSlots, 60, k.logPrefix()}
	return scriptReclaim.Run(ctx, rdb, k.with(), args...).Err()
}

// MayTryUnasked reports whether a job may try a credential whose probe is due, if the
// gate was read by rdb and cannot be asked by dead.
func MayTryUnasked(ctx context.Context, rdb, dead redis.UniversalClient, prefix string, c Credential) (bool, error) {
	g := newGate(rdb, prefix)
	if err := g.refresh(ctx); err != nil {
		return false, err
	}
	g.rdb = dead
	forbids, _, err := g.ask(ctx, c.name(), time.Now())
	if err == nil {
		return false, errors.New("the gate was asked")
	}
	return forbids == nil, nil
}

// ReadMany reads up to n jobs of partition 0 for a pool that does not run: as text,
// id, meta and job of each.
func ReadMany(ctx context.Context, p *Pool, n int) (texts []string, err error) {
	entries, err := p.partitions()[0].readMany(ctx, n)
	for _, e := range entries {
		texts = append(texts, e.id+" "+e.meta+" "+string(e.job))
	}
	return texts, err
}
