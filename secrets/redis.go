package secrets

import (
	"context"
	"crypto/rand"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/crashpoint"
)

//go:embed scripts/init.lua
var initLua string

//go:embed scripts/put.lua
var putLua string

//go:embed scripts/delete.lua
var deleteLua string

//go:embed scripts/repair.lua
var repairLua string

//go:embed scripts/secrets_read.lua
var secretsReadLua string

var (
	secretsRead  = redis.NewScript(secretsReadLua)
	initScript   = redis.NewScript(initLua)
	putScript    = redis.NewScript(putLua)
	deleteScript = redis.NewScript(deleteLua)
	repairScript = redis.NewScript(repairLua)
)

// NewRevisionID returns a text that no revision had before. It is random and
// not a counter: after a failover that lost writes a counter could come to the
// same number with other contents.
func NewRevisionID() string { return rand.Text() }

// find returns the record with this id or key, checked, or nil if there is none.
func (s *Store) find(ctx context.Context, ref string) (*record, error) {
	if isID(ref) {
		if rec, err := s.load(ctx, ref); rec != nil || err != nil {
			return rec, err
		}
	}
	key, err := checkKey(ref)
	if err != nil {
		return nil, nil // no secret can have it
	}
	for range 2 {
		rec, err := s.findKey(ctx, key)
		if rec != nil || !errors.Is(err, errDangling) {
			return rec, err
		} // perhaps deleted between the two reads
	}
	return nil, fmt.Errorf("%w: %s is in the list of names, but there is no such secret", ErrSealBroken, key)
}

var errDangling = errors.New("secrets: name without a secret")

func (s *Store) findKey(ctx context.Context, key string) (*record, error) {
	// "!" follows the space: from "KEY " to before "KEY!" are all members of KEY.
	members, err := s.rdb.ZRangeByLex(ctx, s.keys.names(), &redis.ZRangeBy{Min: "[" + key + " ", Max: "(" + key + "!", Count: 2}).Result()
	if err != nil {
		return nil, fmt.Errorf("find secret: %w", err)
	}
	if len(members) == 0 {
		return nil, nil
	}
	rec, err := s.load(ctx, strings.TrimPrefix(members[0], key+" "))
	switch {
	case err != nil:
		return nil, err
	case rec == nil:
		return nil, errDangling
	case rec.Key != key || len(members) > 1:
		return nil, fmt.Errorf("%w: the list of names leads from %s to another secret", ErrSealBroken, key)
	}
	return rec, nil
}

// load returns the record of id, checked, or nil if there is none.
func (s *Store) load(ctx context.Context, id string) (*record, error) {
	floor := s.cache.floor(id)
	fields, err := s.rdb.HMGet(ctx, s.keys.secret(id), "body", "ct", "mac").Result()
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", id, err)
	}
	return s.accept(id, fields, floor)
}

// accept checks what HMGET gave for id. A record below the floor is a broken
// seal: somebody put an old one back.
func (s *Store) accept(id string, fields []any, floor int64) (*record, error) {
	raw, ok := storedOf(fields)
	if !ok {
		return nil, nil
	}
	rec, err := s.keyring.checkRecord(id, raw)
	if err != nil {
		return nil, err
	}
	if rec.Edit < floor {
		return nil, fmt.Errorf("%w: secret %s is older than this process has seen it; if Redis was restored on purpose, restart", ErrSealBroken, id)
	}
	s.cache.raise(id, rec.Edit)
	return rec, nil
}

// storedOf returns the fields of a record; ok is false if there is none.
func storedOf(fields []any) (raw stored, ok bool) {
	text := func(i int) string { t, _ := fields[i].(string); return t }
	raw = stored{body: text(0), ct: text(1), mac: text(2)}
	return raw, fields[0] != nil || fields[1] != nil || fields[2] != nil
}

// manifest reads and opens the manifest of the secrets.
func (s *Store) manifest(ctx context.Context) (Manifest, error) {
	floor := s.cache.setFloor()
	m, err := s.keyring.ReadManifest(ctx, s.rdb, SetSecrets)
	if err != nil {
		return Manifest{}, err
	}
	if m.Version < floor {
		return Manifest{}, fmt.Errorf("%w: the manifest of the secrets is older than this process has seen it; if Redis was restored on purpose, restart", ErrSealBroken)
	}
	s.cache.raiseSet(m.Version)
	return m, nil
}

// ReadManifest reads and opens the manifest of a set. The error is
// ErrSealBroken if it is not there or does not open, else the network's.
func (k *Keyring) ReadManifest(ctx context.Context, rdb redis.UniversalClient, kind string) (Manifest, error) {
	fields, err := rdb.HMGet(ctx, k.keys().manifest(kind), "v", "seal").Result()
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest of %s: %w", kind, err)
	}
	v, _ := fields[0].(string)
	seal, _ := fields[1].(string)
	version, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return Manifest{}, fmt.Errorf("%w: the manifest of %s is missing or damaged", ErrSealBroken, kind)
	}
	return k.OpenManifest(kind, version, []byte(seal))
}

// commit writes the draft if nothing else was written since the manifest m and
// the record cur were read. It returns false if something was.
func (s *Store) commit(ctx context.Context, m Manifest, cur *record, d *draft) (bool, error) {
	id, member, seen := "", "", ""
	var old, next []byte
	if cur != nil {
		id, member, seen, old = cur.ID, cur.member(), cur.raw.mac, cur.raw.bytes()
	}
	if d.next != nil {
		id, member, next = d.next.ID, d.next.member(), d.next.raw.bytes()
	}
	after := s.keyring.Next(m, SetSecrets, id, old, next)
	seal, err := s.keyring.SealManifest(SetSecrets, after)
	if err != nil {
		return false, err
	}
	ks := []string{s.keys.secret(id), s.keys.old(id), s.keys.names(), s.keys.manifest(SetSecrets), s.keys.rev(), s.keys.audit(), s.keys.changed(), s.keys.staged(id)}
	args, script := []any{m.Version, seen, member}, deleteScript
	if d.next != nil {
		keep := 0
		if cur != nil && cur.Version != d.next.Version {
			keep = int(OldVersions.Seconds())
		}
		args, script = append(args, d.next.raw.body, d.next.raw.ct, d.next.raw.mac, keep), putScript
		args = append(args, d.stagedArgs()...)
	}
	args = append(args, after.Version, seal, NewRevisionID(), AuditMax)
	crashpoint.Point("put-before")
	written, err := script.Run(ctx, s.rdb, ks, append(args, d.entry.Fields()...)...).Int()
	if err != nil {
		return false, fmt.Errorf("write secret: %w", err)
	}
	crashpoint.Point("put-after")
	if written == 1 {
		s.cache.raiseSet(after.Version)
	}
	return written == 1, nil
}
