package secrets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets/redact"
)

const (
	// catalogTries bounds how often a catalog reads again because somebody
	// wrote while it read.
	catalogTries = 5

	// maxChanges is how many changed secrets are read one by one; after more the
	// whole set is read, in batches.
	maxChanges = 1000
)

// Sealed is a secret as the catalog knows it: what may be shown, and the value
// still sealed.
type Sealed struct {
	Secret
	rec *record
}

// Catalog knows every secret of a store by id and by tag, sealed as they are:
// about 2 KB for each. It follows the store's changes, so that a change costs
// what it changed, and checks each state against the manifest, so that a secret
// that was removed or put back in Redis is noticed. It is safe for concurrent
// use.
type Catalog struct {
	store    *Store
	mirror   *Mirror
	follower Follower // used by who is alone in the mirror
	byID     map[string]*record
	byTag    map[Tag]map[string]*record
}

// NewCatalog returns an empty catalog; the first View fills it.
func NewCatalog(s *Store) *Catalog { return &Catalog{store: s, mirror: NewMirror()} }

// View calls look with the state of the store at the revision rev or after it;
// whoever saw rev before the call gets an answer that is not older than that.
// look must not keep the View nor call the catalog. Errors: ErrSealBroken, or
// the network's.
func (c *Catalog) View(ctx context.Context, rev string, look func(View)) error {
	return c.mirror.View(ctx, rev, c.read, func() { look(View{c}) })
}

// Revision is the reader of the store's revision, which others who keep records
// in the same place may share.
func (s *Store) Revision() *Revision { return s.rev }

// View is the catalog in one state.
type View struct{ c *Catalog }

// ByID returns the secret with this id.
func (v View) ByID(id string) (Sealed, bool) {
	r, ok := v.c.byID[id]
	if !ok {
		return Sealed{}, false
	}
	return r.sealed(), true
}

// ByTag returns the secrets that have the tag, in no order.
func (v View) ByTag(t Tag) []Sealed { return sealedOf(v.c.byTag[t]) }

// All returns every secret, in no order.
func (v View) All() []Sealed { return sealedOf(v.c.byID) }

// Len is the number of secrets.
func (v View) Len() int { return len(v.c.byID) }

func sealedOf(records map[string]*record) []Sealed {
	out := make([]Sealed, 0, len(records))
	for _, r := range records {
		out = append(out, r.sealed())
	}
	return out
}

func (r *record) sealed() Sealed { return Sealed{Secret: r.secret(), rec: r} }

// OpenAll opens the values, after one audit entry for all of them: none is
// opened if the entry cannot be written. Error ErrSealBroken, or the network's.
func (c *Catalog) OpenAll(ctx context.Context, list []Sealed, entry AuditEntry) ([]redact.String, error) {
	if _, err := c.store.rev.record(ctx, entry); err != nil {
		return nil, err
	}
	return c.OpenNoted(list)
}

// read brings the records up to date: by what changed since the last reading
// if that adds up, else whole.
func (c *Catalog) read(ctx context.Context) (apply func(), err error) {
	for try := range catalogTries {
		whole := try > 0 || !c.follower.Known()
		step, records, err := c.changes(ctx, c.follower.Manifest().Version, whole)
		if errors.Is(err, errTooMany) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ok, err := c.follower.Take(c.store.keyring, SetSecrets, step)
		if err != nil {
			return nil, err
		}
		if ok {
			return func() { c.apply(step.Whole, records) }, nil
		}
	}
	return nil, fmt.Errorf("%w: secrets were removed or put back in Redis; restore a backup, or accept it by a repair", ErrSealBroken)
}

var errTooMany = errors.New("too many changes")

// changes reads one step: the whole set, or what changed since a version of
// the manifest. A whole set takes more than one trip, so it ends with what
// changed since it began.
func (c *Catalog) changes(ctx context.Context, since int64, whole bool) (Step, map[string]*record, error) {
	records := map[string]*record{}
	if whole {
		m, err := c.store.manifest(ctx)
		if err != nil {
			return Step{}, nil, err
		}
		since = m.Version
		if err := c.readAll(ctx, records); err != nil {
			return Step{}, nil, err
		}
	}
	ids, err := c.changedSince(ctx, since)
	if err != nil {
		return Step{}, nil, err
	}
	version, seal, err := c.readSome(ctx, ids, records)
	if err != nil {
		return Step{}, nil, err
	}
	step := Step{Version: version, Seal: seal, Whole: whole, Records: make(map[string]string, len(records))}
	for id, r := range records {
		if r != nil {
			step.Records[id] = string(r.raw.bytes())
		} else if !whole {
			step.Records[id] = ""
		}
	}
	return step, records, nil
}

// readAll reads every record that the list of names knows.
func (c *Catalog) readAll(ctx context.Context, into map[string]*record) error {
	members, err := c.store.rdb.ZRange(ctx, c.store.keys.names(), 0, -1).Result()
	if err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	return c.store.each(ctx, members, func(id string, rec *record, err error) error {
		if err == nil && rec != nil { // nil: deleted in between
			into[id] = rec
		}
		return err
	})
}

// changedSince returns the ids written after a version of the manifest.
func (c *Catalog) changedSince(ctx context.Context, version int64) ([]string, error) {
	ids, err := c.store.rdb.ZRangeByScore(ctx, c.store.keys.changed(), &redis.ZRangeBy{
		Min: fmt.Sprintf("(%d", version), Max: "+inf", Count: maxChanges + 1,
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read changed secrets: %w", err)
	}
	if len(ids) > maxChanges {
		return nil, errTooMany
	}
	return ids, nil
}

// readSome reads the records of ids and the manifest in one moment. A record
// that is gone is nil.
func (c *Catalog) readSome(ctx context.Context, ids []string, into map[string]*record) (int64, []byte, error) {
	keys := []string{c.store.keys.manifest(SetSecrets)}
	for _, id := range ids {
		keys = append(keys, c.store.keys.secret(id))
	}
	reply, err := secretsRead.Run(ctx, c.store.rdb, keys).Slice()
	if err != nil {
		return 0, nil, fmt.Errorf("read changed secrets: %w", err)
	}
	row := func(i int) []any { fields, _ := reply[i].([]any); return fields }
	for i, id := range ids {
		into[id] = nil
		raw, ok := storedOf(row(i + 1))
		if !ok {
			continue
		}
		rec, err := c.store.keyring.checkRecord(id, raw)
		if err != nil {
			return 0, nil, err
		}
		into[id] = rec
	}
	return manifestFields(SetSecrets, row(0))
}

// apply puts the records of a step in their places.
func (c *Catalog) apply(whole bool, records map[string]*record) {
	if whole || c.byID == nil {
		c.byID, c.byTag = make(map[string]*record, len(records)), map[Tag]map[string]*record{}
	}
	for id, r := range records {
		c.drop(id)
		if r == nil {
			continue
		}
		c.byID[id] = r
		for _, t := range r.Tags {
			if c.byTag[t] == nil {
				c.byTag[t] = map[string]*record{}
			}
			c.byTag[t][id] = r
		}
	}
}

func (c *Catalog) drop(id string) {
	r, ok := c.byID[id]
	if !ok {
		return
	}
	delete(c.byID, id)
	for _, t := range r.Tags {
		delete(c.byTag[t], id)
		if len(c.byTag[t]) == 0 {
			delete(c.byTag, t)
		}
	}
}

// Names returns "KEY@version" of each secret, sorted: how audit entries name them.
func Names(list []Sealed) []string {
	out := map[string]struct{}{}
	for _, s := range list {
		out[fmt.Sprintf("%s@%d", s.Key, s.Version)] = struct{}{}
	}
	return slices.Sorted(maps.Keys(out))
}

// manifestFields reads the fields v and seal of a manifest's hash.
func manifestFields(kind string, fields []any) (int64, []byte, error) {
	v, _ := fields[0].(string)
	seal, _ := fields[1].(string)
	version, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: the manifest of %s is missing or damaged", ErrSealBroken, kind)
	}
	return version, []byte(seal), nil
}
