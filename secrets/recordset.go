package secrets

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/records_write.lua
var recordsWriteLua string

//go:embed scripts/records_read.lua
var recordsReadLua string

//go:embed scripts/records_all.lua
var recordsAllLua string

var (
	recordsWrite = redis.NewScript(recordsWriteLua)
	recordsRead  = redis.NewScript(recordsReadLua)
	recordsAll   = redis.NewScript(recordsAllLua)
)

const (
	recordMAC = 37 // bytes of a MAC before each record: Tink's prefix and HMAC-SHA256

	// maxRecordChanges is how many changed records one reading takes: under the some
	// 8,000 values that a script can unpack. After more the set is read whole.
	maxRecordChanges = 1000

	// keptRecordChanges is how many changes Redis remembers; what a process missed
	// beyond that costs it a whole reading.
	keptRecordChanges = 4096

	// recordTries bounds how often a set that does not add up is read again. One
	// whole reading is of one moment, so a second one proves that it is broken.
	recordTries = 3
)

// RecordSet keeps records of another package in one hash in Redis, each under a
// MAC, all under a sealed manifest, so that a record that was changed, removed
// or put back behind our back is noticed. One caller at a time.
//
//	NAME            hash    field -> MAC and text
//	manifest:NAME   hash    v, seal: what the set is
//	NAME:changed    zset    field by the manifest's version of its last write
//	NAME:lastrun    hash    field -> ms; under no MAC, its users decide nothing by it
//	NAME:cursor     hash    field -> "<base ms> <s>"; under no MAC, see cursors.go
//	rev, audit              the store's
type RecordSet struct {
	rdb      redis.UniversalClient
	keyring  *Keyring
	name     string // in its manifest, and the purpose of its MACs
	things   string // what the records are, for errors: "policies and analyses"
	base     string // of its keys
	follower Follower
}

// NewRecordSet returns the set of this name. Two sets of one store have two
// names; neither may be the kind of another manifest. things says in errors what
// the records are. It does no I/O.
func NewRecordSet(rdb redis.UniversalClient, keyring *Keyring, name, things string) *RecordSet {
	return &RecordSet{rdb: rdb, keyring: keyring, name: name, things: things, base: keyring.Prefix() + ":{control}:"}
}

// Forget makes the next Read a whole one, for a user who could not take over
// what the last one gave; an older state is still refused.
func (s *RecordSet) Forget() { s.follower.Forget() }

// Read returns what changed since the last reading: the JSON of each record by
// its field, "" if it is gone; all of them if whole is true. Error
// ErrSealBroken, or the network's.
func (s *RecordSet) Read(ctx context.Context) (records map[string]string, whole bool, err error) {
	for try := range recordTries {
		step, raw, err := s.step(ctx, try > 0 || !s.follower.Known())
		if err != nil {
			return nil, false, err
		}
		bodies, err := s.Check(raw)
		if err != nil {
			return nil, false, err
		}
		ok, err := s.follower.Take(s.keyring, s.name, step)
		if err != nil {
			return nil, false, fmt.Errorf("read %s: %w", s.things, err)
		}
		if ok {
			return bodies, step.Whole, nil
		}
	}
	return nil, false, fmt.Errorf("%w: %s were added, removed or put back in Redis; restore a backup", ErrSealBroken, s.things)
}

// step reads records as they are in Redis, with the manifest of that moment.
func (s *RecordSet) step(ctx context.Context, whole bool) (Step, map[string]string, error) {
	read := s.readChanges
	if whole {
		read = s.readAll
	}
	version, seal, raw, err := read(ctx)
	if err != nil {
		return Step{}, nil, fmt.Errorf("read %s: %w", s.things, err)
	}
	step := Step{Whole: whole, Records: make(map[string]string, len(raw))}
	if step.Version, err = strconv.ParseInt(version, 10, 64); err != nil {
		return Step{}, nil, fmt.Errorf("%w: the manifest of %s is damaged", ErrSealBroken, s.things)
	}
	if seal != "" {
		step.Seal = []byte(seal)
	}
	for field, rec := range raw {
		step.Records[field] = rec[:min(len(rec), recordMAC)]
	}
	return step, raw, nil
}

func (s *RecordSet) readAll(ctx context.Context) (version, seal string, raw map[string]string, err error) {
	return recordsOf(recordsAll.Run(ctx, s.rdb, []string{s.base + s.name, s.base + "manifest:" + s.name}))
}

func (s *RecordSet) readChanges(ctx context.Context) (version, seal string, raw map[string]string, err error) {
	return recordsOf(recordsRead.Run(ctx, s.rdb, []string{s.base + s.name, s.base + "manifest:" + s.name, s.base + s.name + ":changed"},
		s.follower.Manifest().Version, maxRecordChanges))
}

// recordsOf reads the answer of records_all and records_read.
func recordsOf(cmd *redis.Cmd) (version, seal string, raw map[string]string, err error) {
	out, err := cmd.StringSlice()
	if err != nil {
		return "", "", nil, err
	}
	raw = make(map[string]string, len(out)/2)
	for i := 2; i+1 < len(out); i += 2 {
		raw[out[i]] = out[i+1]
	}
	return out[0], out[1], raw, nil
}

// Check verifies the MACs of records as they are in Redis, and returns the text
// of each. Error ErrSealBroken.
func (s *RecordSet) Check(raw map[string]string) (map[string]string, error) {
	bodies := make(map[string]string, len(raw))
	for field, rec := range raw {
		if rec == "" {
			bodies[field] = ""
			continue
		}
		if len(rec) <= recordMAC || !s.keyring.VerifyMAC([]byte(rec[:recordMAC]), s.name, field, rec[recordMAC:]) {
			return nil, fmt.Errorf("%w: %s was changed in Redis or is of another keyring", ErrSealBroken, field)
		}
		bodies[field] = rec[recordMAC:]
	}
	return bodies, nil
}

// Write stores the text of a record with its audit entry, or removes it if body
// is "". It returns false, and changes nothing, if somebody wrote since the last
// reading.
func (s *RecordSet) Write(ctx context.Context, field, body string, entry AuditEntry) (bool, error) {
	var old, next []byte
	if mac := s.follower.MAC(field); mac != "" {
		old = []byte(mac)
	}
	record := ""
	if body != "" {
		next = s.keyring.MAC(s.name, field, body)
		record = string(next) + body
	}
	seen := s.follower.Manifest()
	after := s.keyring.Next(seen, s.name, field, old, next)
	seal, err := s.keyring.SealManifest(s.name, after)
	if err != nil {
		return false, err
	}
	keys := []string{
		s.base + s.name, s.base + "manifest:" + s.name, s.base + s.name + ":changed", s.base + s.name + ":lastrun",
		s.base + "rev", s.base + "audit", s.cursorKey(),
	}
	args := []any{seen.Version, field, record, after.Version, seal, NewRevisionID(), keptRecordChanges, AuditMax}
	written, err := recordsWrite.Run(ctx, s.rdb, keys, append(args, entry.Fields()...)...).Int()
	if err != nil {
		return false, fmt.Errorf("write %s: %w", field, err)
	}
	return written == 1, nil
}

// MarkRun notes a time beside a record. It is no change of the record: nothing
// is read anew because of it, and it goes when the record is removed.
func (s *RecordSet) MarkRun(ctx context.Context, field string, at time.Time) error {
	if err := s.rdb.HSet(ctx, s.base+s.name+":lastrun", field, at.UnixMilli()).Err(); err != nil {
		return fmt.Errorf("note run of %s: %w", field, err)
	}
	return nil
}

// LastRuns returns the times that MarkRun noted last, zero for never, in the
// order of the fields.
func (s *RecordSet) LastRuns(ctx context.Context, fields ...string) ([]time.Time, error) {
	out := make([]time.Time, len(fields))
	if len(fields) == 0 {
		return out, nil
	}
	values, err := s.rdb.HMGet(ctx, s.base+s.name+":lastrun", fields...).Result()
	if err != nil {
		return nil, fmt.Errorf("read last runs of %s: %w", s.things, err)
	}
	for i, v := range values {
		text, _ := v.(string)
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
			out[i] = time.UnixMilli(ms).UTC()
		}
	}
	return out, nil
}
