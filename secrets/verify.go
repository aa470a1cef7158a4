package secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// verifyTries bounds how often Verify and Repair start again because somebody
// wrote while they read.
const verifyTries = 5

// Report says what Verify or Repair found.
type Report struct {
	Secrets int      // that verify and open
	Broken  []string // ids that do not, sorted
	Version int64    // of the manifest
	Whole   bool     // the set is the one of the manifest: nothing was added, removed or put back
}

// walk is one pass over the records.
type walk struct {
	members []string // of the records that verify
	broken  []string // ids
	digest  Digest
}

// Verify reads every secret, checks and opens it (and forgets the value), and
// compares the set with the manifest. It costs about 15 us a secret (BenchmarkVerify), and
// belongs at start-up and into fsck: a single record that was put back to an
// old state is seen by a running process, but by a fresh one only here. The
// error is ErrSealBroken if anything is wrong; the Report tells what.
func (s *Store) Verify(ctx context.Context) (Report, error) {
	for range verifyTries {
		m, err := s.manifest(ctx)
		if err != nil {
			return Report{}, err
		}
		members, err := s.rdb.ZRange(ctx, s.keys.names(), 0, -1).Result()
		if err != nil {
			return Report{}, fmt.Errorf("list secrets: %w", err)
		}
		w, err := s.walk(ctx, members)
		if err != nil {
			return Report{}, err
		}
		after, err := s.manifest(ctx)
		if err != nil {
			return Report{}, err
		}
		if after.Version != m.Version {
			continue // what was read is of two states
		}
		rep := Report{Secrets: len(w.members), Broken: w.broken, Version: m.Version}
		rep.Whole = w.digest == m.Digest && int64(len(w.members)) == m.Count
		return rep, rep.err()
	}
	return Report{}, fmt.Errorf("%w: verify secrets", ErrConflict)
}

func (r Report) err() error {
	switch {
	case len(r.Broken) > 0:
		return fmt.Errorf("%w: %d of %d secrets do not verify", ErrSealBroken, len(r.Broken), len(r.Broken)+r.Secrets)
	case !r.Whole:
		return fmt.Errorf("%w: secrets were removed or put back in Redis; restore a backup, or accept it by a repair", ErrSealBroken)
	}
	return nil
}

func (s *Store) walk(ctx context.Context, members []string) (walk, error) {
	var w walk
	err := s.each(ctx, members, func(id string, rec *record, err error) error {
		switch {
		case isBroken(err) || err == nil && rec == nil:
			w.broken = append(w.broken, id)
			return nil
		case err != nil:
			return err
		}
		plain, err := s.keyring.open(rec)
		if err != nil {
			w.broken = append(w.broken, id)
			return nil
		}
		clear(plain)
		w.members = append(w.members, rec.member())
		w.digest = w.digest.Toggle(s.keyring.Leaf(SetSecrets, id, rec.raw.bytes()))
		return nil
	})
	slices.Sort(w.broken)
	return w, err
}

// isBroken reports whether err says that a record does not verify.
func isBroken(err error) bool { return errors.Is(err, ErrSealBroken) }

// Repair takes the secrets that verify as the set, whatever the manifest says,
// and removes those that do not: an operator's answer to what Verify reports,
// after a restore or an attack that was understood. Records that miss in the
// list of names are found and listed again. The Report names what was removed.
func (s *Store) Repair(ctx context.Context, actor string) (Report, error) {
	for range verifyTries {
		seen, err := s.rdb.HGet(ctx, s.keys.manifest(SetSecrets), "v").Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return Report{}, fmt.Errorf("read manifest: %w", err)
		}
		members, err := s.allMembers(ctx)
		if err != nil {
			return Report{}, err
		}
		w, err := s.walk(ctx, members)
		if err != nil {
			return Report{}, err
		}
		rep, done, err := s.accepted(ctx, actor, seen, w)
		if err != nil || done {
			return rep, err
		}
	}
	return Report{}, fmt.Errorf("%w: repair secrets", ErrConflict)
}

// accepted writes the walk as the new set.
func (s *Store) accepted(ctx context.Context, actor, seen string, w walk) (Report, bool, error) {
	version, _ := strconv.ParseInt(seen, 10, 64) // damaged: the floor counts
	m := Manifest{Version: max(version, s.cache.setFloor()) + 1, Count: int64(len(w.members)), Digest: w.digest}
	seal, err := s.keyring.SealManifest(SetSecrets, m)
	if err != nil {
		return Report{}, false, err
	}
	ks := []string{s.keys.names(), s.keys.manifest(SetSecrets), s.keys.rev(), s.keys.audit()}
	for _, id := range w.broken {
		ks = append(ks, s.keys.secret(id), s.keys.old(id), s.keys.staged(id))
	}
	args := []any{seen, m.Version, seal, NewRevisionID(), len(w.members)}
	for _, member := range w.members {
		args = append(args, member)
	}
	entry := AuditEntry{Actor: actor, Op: "repair", Why: fmt.Sprintf("%d kept, %d removed", len(w.members), len(w.broken))}
	args = append(append(args, AuditMax), entry.Fields()...)
	done, err := repairScript.Run(ctx, s.rdb, ks, args...).Int()
	if err != nil {
		return Report{}, false, fmt.Errorf("repair secrets: %w", err)
	}
	return Report{Secrets: len(w.members), Broken: w.broken, Version: m.Version, Whole: true}, done == 1, nil
}

// allMembers returns a member of names for every record there is, listed or
// not. It scans all of Redis, which is for an operator's command only.
func (s *Store) allMembers(ctx context.Context) ([]string, error) {
	listed, err := s.rdb.ZRange(ctx, s.keys.names(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	byID := map[string]string{}
	for _, m := range listed {
		key, id, _ := strings.Cut(m, " ")
		byID[id] = key + " " + id
	}
	ids, err := s.scan(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		rec, err := s.load(ctx, id)
		if err != nil && !isBroken(err) {
			return nil, err
		}
		if rec != nil {
			byID[id] = rec.member() // whatever the list calls it
		} else if byID[id] == "" {
			byID[id] = " " + id // broken and not listed: to be removed
		}
	}
	members := make([]string, 0, len(byID))
	for _, m := range byID {
		members = append(members, m)
	}
	slices.Sort(members)
	return members, nil
}

// scan returns the ids of all records.
func (s *Store) scan(ctx context.Context) ([]string, error) {
	var node redis.Cmdable = s.rdb
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, s.keys.names())
		if err != nil {
			return nil, fmt.Errorf("find the store's node: %w", err)
		}
		node = master
	}
	prefix := s.keys.secret("")
	var ids []string
	for cursor := uint64(0); ; {
		found, next, err := node.Scan(ctx, cursor, prefix+"*", 1000).Result()
		if err != nil {
			return nil, fmt.Errorf("scan secrets: %w", err)
		}
		for _, key := range found {
			if id := strings.TrimPrefix(key, prefix); isID(id) {
				ids = append(ids, id)
			}
		}
		if cursor = next; cursor == 0 {
			return ids, nil
		}
	}
}
