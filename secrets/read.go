package secrets

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	// MaxPage is the most secrets in one page of a List.
	MaxPage = 10_000

	readBatch = 500 // records in one round trip
)

// Lookup returns the current version of the secret with this id or key, of
// either case. What it says was true after the call began: a secret deleted
// before is not found. Callers at the same time share one short read of Redis.
// Error ErrNotFound, ErrSealBroken.
func (s *Store) Lookup(ctx context.Context, ref string) (Ref, error) {
	rec, err := s.current(ctx, ref)
	if err != nil {
		return Ref{}, err
	}
	return rec.ref(), nil
}

// Info returns what may be shown of the secret with this id or key. Errors as
// Lookup.
func (s *Store) Info(ctx context.Context, idOrKey string) (Secret, error) {
	rec, err := s.current(ctx, idOrKey)
	if err != nil {
		return Secret{}, err
	}
	return rec.secret(), nil
}

// Previous returns what may be shown of the version before the current one.
// Error ErrNotFound if there is none or it is older than OldVersions.
func (s *Store) Previous(ctx context.Context, idOrKey string) (Secret, error) {
	cur, err := s.current(ctx, idOrKey)
	if err != nil {
		return Secret{}, err
	}
	rec, err := s.loadPrevious(ctx, cur)
	if err != nil {
		return Secret{}, err
	}
	if rec == nil {
		return Secret{}, fmt.Errorf("%w: no version before %d of %s is kept", ErrNotFound, cur.Version, cur.Key)
	}
	return rec.secret(), nil
}

// current returns the record of ref as it is after the call began.
func (s *Store) current(ctx context.Context, ref string) (*record, error) {
	rev, err := s.rev.Current(ctx)
	if err != nil {
		return nil, err
	}
	return s.recordAt(ctx, rev, ref)
}

// recordAt returns the record of ref as it is now, rev having been seen
// already.
func (s *Store) recordAt(ctx context.Context, rev, ref string) (*record, error) {
	if rec := s.cache.get(rev, ref); rec != nil {
		return rec, nil
	}
	if up := strings.ToUpper(ref); up != ref {
		if rec := s.cache.get(rev, up); rec != nil && !isID(ref) {
			return rec, nil
		}
	}
	rec, err := s.find(ctx, ref)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, clip(ref))
	}
	s.cache.put(rev, rec)
	return rec, nil
}

// Page is a part of the list of secrets.
type Page struct {
	Secrets []Secret // sorted by key
	Total   int      // in the store
}

// List returns up to limit secrets after the first offset ones, sorted by key.
// A limit below 1 or above MaxPage means MaxPage. A secret that does not verify
// makes the whole list an ErrSealBroken that names it.
func (s *Store) List(ctx context.Context, offset, limit int) (Page, error) {
	if limit < 1 || limit > MaxPage {
		limit = MaxPage
	}
	offset = max(offset, 0)
	pipe := s.rdb.Pipeline()
	total := pipe.ZCard(ctx, s.keys.names())
	members := pipe.ZRange(ctx, s.keys.names(), int64(offset), int64(offset)+int64(limit)-1)
	if _, err := pipe.Exec(ctx); err != nil {
		return Page{}, fmt.Errorf("list secrets: %w", err)
	}
	p := Page{Secrets: make([]Secret, 0, len(members.Val())), Total: int(total.Val())}
	err := s.each(ctx, members.Val(), func(_ string, rec *record, err error) error {
		if err == nil && rec != nil { // nil: deleted in between
			p.Secrets = append(p.Secrets, rec.secret())
		}
		return err
	})
	if err != nil {
		return Page{}, err
	}
	return p, nil
}

// each reads the records of members in batches and calls visit for each one
// with its id. rec is nil if there is none or err is set.
func (s *Store) each(ctx context.Context, members []string, visit func(id string, rec *record, err error) error) error {
	for from := 0; from < len(members); from += readBatch {
		batch := members[from:min(from+readBatch, len(members))]
		pipe := s.rdb.Pipeline()
		cmds, floors := make([]*redis.SliceCmd, len(batch)), make([]int64, len(batch))
		for i, m := range batch {
			_, id, _ := strings.Cut(m, " ")
			floors[i] = s.cache.floor(id)
			cmds[i] = pipe.HMGet(ctx, s.keys.secret(id), "body", "ct", "mac")
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("read secrets: %w", err)
		}
		for i, m := range batch {
			key, id, _ := strings.Cut(m, " ")
			rec, err := s.accept(id, cmds[i].Val(), floors[i])
			if err == nil && rec != nil && rec.Key != key {
				rec, err = nil, fmt.Errorf("%w: the list of names calls secret %s by another key", ErrSealBroken, id)
			}
			if err := visit(id, rec, err); err != nil {
				return err
			}
		}
	}
	return nil
}
