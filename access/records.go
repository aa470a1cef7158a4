package access

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
)

//go:embed scripts/write.lua
var writeLua string

//go:embed scripts/read.lua
var readLua string

var (
	writeScript = redis.NewScript(writeLua)
	readScript  = redis.NewScript(readLua)
)

const (
	// setName is the set's name in its manifest, and the purpose of its MACs.
	setName = "access"

	macSize = 37 // bytes of a MAC before each record: Tink's prefix and HMAC-SHA256

	// maxChanges is how many changed records one reading takes: under the some
	// 8,000 values that a script can unpack. After more the set is read whole.
	maxChanges = 1000

	// keptChanges is how many changes Redis remembers; what a process missed
	// beyond that costs it a whole reading.
	keptChanges = 4096

	// readTries bounds how often a set that does not add up is read again. One
	// whole reading is of one moment, so a second one proves that it is broken.
	readTries = 3
)

// recordSet keeps records in one hash in Redis, each under a MAC, all under a
// sealed manifest, so that a record that was changed, removed or put back
// behind our back is noticed. One caller at a time.
//
//	access           hash    field -> MAC and JSON
//	manifest:access  hash    v, seal: what the set is
//	access:changed   zset    field by the manifest's version of its last write
//	access:lastrun   hash    field -> ms; under no MAC, it decides nothing
//	rev, audit               the store's
type recordSet struct {
	rdb      redis.UniversalClient
	keyring  *secrets.Keyring
	base     string // of its keys
	follower secrets.Follower
}

func newRecordSet(rdb redis.UniversalClient, keyring *secrets.Keyring) *recordSet {
	return &recordSet{rdb: rdb, keyring: keyring, base: keyring.Prefix() + ":{control}:"}
}

// read returns what changed since the last reading: the JSON of each record by
// its field, "" if it is gone; all of them if whole is true. Error
// secrets.ErrSealBroken, or the network's.
func (s *recordSet) read(ctx context.Context) (records map[string]string, whole bool, err error) {
	for try := range readTries {
		step, raw, err := s.step(ctx, try > 0 || !s.follower.Known())
		if err != nil {
			return nil, false, err
		}
		bodies, err := s.verify(raw)
		if err != nil {
			return nil, false, err
		}
		ok, err := s.follower.Take(s.keyring, setName, step)
		if err != nil {
			return nil, false, fmt.Errorf("read policies and analyses: %w", err)
		}
		if ok {
			return bodies, step.Whole, nil
		}
	}
	return nil, false, fmt.Errorf("%w: policies or analyses were added, removed or put back in Redis; restore a backup", secrets.ErrSealBroken)
}

// step reads records as they are in Redis, with the manifest of that moment.
func (s *recordSet) step(ctx context.Context, whole bool) (secrets.Step, map[string]string, error) {
	read := s.readChanges
	if whole {
		read = s.readAll
	}
	version, seal, raw, err := read(ctx)
	if err != nil {
		return secrets.Step{}, nil, fmt.Errorf("read policies and analyses: %w", err)
	}
	step := secrets.Step{Whole: whole, Records: make(map[string]string, len(raw))}
	if step.Version, err = strconv.ParseInt(version, 10, 64); err != nil {
		return secrets.Step{}, nil, fmt.Errorf("%w: the manifest of policies and analyses is damaged", secrets.ErrSealBroken)
	}
	if seal != "" {
		step.Seal = []byte(seal)
	}
	for field, rec := range raw {
		step.Records[field] = rec[:min(len(rec), macSize)]
	}
	return step, raw, nil
}

func (s *recordSet) readAll(ctx context.Context) (version, seal string, raw map[string]string, err error) {
	pipe := s.rdb.TxPipeline()
	manifest := pipe.HMGet(ctx, s.base+"manifest:access", "v", "seal")
	all := pipe.HGetAll(ctx, s.base+"access")
	if _, err := pipe.Exec(ctx); err != nil {
		return "", "", nil, err
	}
	version, ok := manifest.Val()[0].(string)
	if !ok {
		version = "0"
	}
	seal, _ = manifest.Val()[1].(string)
	return version, seal, all.Val(), nil
}

func (s *recordSet) readChanges(ctx context.Context) (version, seal string, raw map[string]string, err error) {
	out, err := readScript.Run(ctx, s.rdb, []string{s.base + "access", s.base + "manifest:access", s.base + "access:changed"},
		s.follower.Manifest().Version, maxChanges).StringSlice()
	if err != nil {
		return "", "", nil, err
	}
	raw = make(map[string]string, len(out)/2)
	for i := 2; i+1 < len(out); i += 2 {
		raw[out[i]] = out[i+1]
	}
	return out[0], out[1], raw, nil
}

// verify checks the MACs and returns the JSON of each record.
func (s *recordSet) verify(raw map[string]string) (map[string]string, error) {
	bodies := make(map[string]string, len(raw))
	for field, rec := range raw {
		if rec == "" {
			bodies[field] = ""
			continue
		}
		if len(rec) <= macSize || !s.keyring.VerifyMAC([]byte(rec[:macSize]), setName, field, rec[macSize:]) {
			return nil, fmt.Errorf("%w: %s was changed in Redis or is of another keyring", secrets.ErrSealBroken, field)
		}
		bodies[field] = rec[macSize:]
	}
	return bodies, nil
}

// write stores the JSON of a record, or removes it if body is "". It returns
// false, and changes nothing, if somebody wrote since the last reading.
func (s *recordSet) write(ctx context.Context, field, body string, entry secrets.AuditEntry) (bool, error) {
	var old, next []byte
	if mac := s.follower.MAC(field); mac != "" {
		old = []byte(mac)
	}
	record := ""
	if body != "" {
		next = s.keyring.MAC(setName, field, body)
		record = string(next) + body
	}
	seen := s.follower.Manifest()
	after := s.keyring.Next(seen, setName, field, old, next)
	seal, err := s.keyring.SealManifest(setName, after)
	if err != nil {
		return false, err
	}
	keys := []string{
		s.base + "access", s.base + "manifest:access", s.base + "access:changed", s.base + "access:lastrun",
		s.base + "rev", s.base + "audit",
	}
	args := []any{seen.Version, field, record, after.Version, seal, secrets.NewRevisionID(), keptChanges, secrets.AuditMax}
	written, err := writeScript.Run(ctx, s.rdb, keys, append(args, entry.Fields()...)...).Int()
	if err != nil {
		return false, fmt.Errorf("write %s: %w", field, err)
	}
	return written == 1, nil
}
