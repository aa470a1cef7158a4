package secrets

import (
	"context"
	_ "embed" // the script
	"fmt"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/note.lua
var noteLua string

var (
	noteScript = redis.NewScript(noteLua)

	// noteFull is noteScript for a Redis that has reached its maxmemory, from 7.0
	// on: the jobs that wait there need their secrets, and end only so. An entry is
	// never left out. The stream is trimmed, so this takes no more than it would
	// have had in the end, and the jobs give more back.
	noteFull = redis.NewScript("#!lua flags=allow-oom\n" + noteLua)
)

// noteBatch is how many entries one call of the script writes, so that it holds
// up Redis for less than a millisecond.
const noteBatch = 128

// PreparedEntry is an audit entry as Redis gets it, for who writes the same one
// again and again. Copies are the same entry.
type PreparedEntry struct{ fields *[]any }

// Prepare makes the entry ready to be written.
func (e AuditEntry) Prepare() PreparedEntry { return PreparedEntry{new(e.Fields())} }

// NoteAt writes the entry if the store is at the revision rev, after the call
// began, and returns the revision that it is at. If that is rev, the entry is in
// Redis and what was read at rev is current; if not, nothing was written.
func (r *Revision) NoteAt(ctx context.Context, rev string, e PreparedEntry) (string, error) {
	return r.join(ctx, &tripEntry{PreparedEntry: e, bound: true, rev: rev})
}

// tripEntry is an audit entry on a trip. Those that are equal go as one with a
// count; Redis keeps one for each all the same.
type tripEntry struct {
	PreparedEntry
	bound bool   // it is written at the revision rev only
	rev   string // see bound
}

// noteBound writes entries of which some may be bound, and returns the revision
// that each was written at, or left out at.
func (r *Revision) noteBound(ctx context.Context, entries []tripEntry) ([]string, error) {
	revs := make([]string, len(entries))
	keys := []string{r.keys.rev(), r.keys.audit()}
	for from := 0; from < len(entries); from += noteBatch {
		some := entries[from:min(from+noteBatch, len(entries))]
		args := noteArgs(some)
		rev, err := noteScript.Run(ctx, r.rdb, keys, args...).Text()
		if redis.IsOOMError(err) {
			rev, err = noteFull.Run(ctx, r.rdb, keys, args...).Text()
		}
		if err != nil {
			return revs, fmt.Errorf("write audit entries: %w", err)
		}
		for i := range some {
			revs[from+i] = rev
		}
	}
	return revs, nil
}

// noteArgs are the arguments of the script for some entries.
func noteArgs(some []tripEntry) []any {
	counts := make(map[tripEntry]int, len(some))
	for _, e := range some {
		counts[e]++
	}
	args := make([]any, 0, 1+len(counts)*(4+len(*some[0].fields)))
	args = append(args, AuditMax)
	for e, count := range counts {
		bound := "0"
		if e.bound {
			bound = "1"
		}
		args = append(append(args, bound, e.rev, count, len(*e.fields)), *e.fields...)
	}
	return args
}
