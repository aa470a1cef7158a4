package access

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
)

const (
	// maxRecords bounds the policies, and the analyses, of one store: every
	// process keeps them all, at some 2 KB each.
	maxRecords = 20_000
)

// Fields of the set begin with the kind of the record.
const (
	fieldPolicy   = "policy:"
	fieldAnalysis = "analysis:"
)

// Directory keeps analyses and policies and answers who may read what. What it
// says was true after the call began: a grant that was revoked before is not
// given. It keeps a checked copy in memory and asks Redis only whether anything
// changed. It is safe for concurrent use.
//
// Errors: see the sentinels; after a change of the records behind its back
// everything is refused with secrets.ErrSealBroken.
type Directory struct {
	keyring *secrets.Keyring
	rev     *secrets.Revision
	catalog *secrets.Catalog
	now     func() time.Time

	memo     memo
	seal     *secrets.MemorySeal // of what the memo keeps
	salt     tokenSalt
	events   *events
	noted    maskNotes
	mirror   *secrets.Mirror
	set      *recordSet // used by who is alone in the mirror
	policies *policyIndex
	analyses map[string]*analysisBody
	byHint   map[string]map[string]*analysisBody // by the beginning of the token, then by id
}

// NewDirectory returns a directory beside the store's secrets. It does no I/O.
func NewDirectory(rdb redis.UniversalClient, keyring *secrets.Keyring, store *secrets.Store) *Directory {
	d := &Directory{
		keyring: keyring, rev: store.Revision(), catalog: secrets.NewCatalog(store), now: time.Now,
		mirror: secrets.NewMirror(), set: newRecordSet(rdb, keyring), seal: secrets.NewMemorySeal(), salt: newTokenSalt(),
	}
	d.events = newEvents(rdb, keyring, d.set.base+"events")
	d.reset()
	return d
}

func (d *Directory) reset() {
	d.policies = newPolicyIndex()
	d.analyses = map[string]*analysisBody{}
	d.byHint = map[string]map[string]*analysisBody{}
}

// Load reads all policies, analyses and secrets into memory, which the first
// question would do otherwise: some 15 us a record.
func (d *Directory) Load(ctx context.Context) error {
	rev, err := d.view(ctx, func() {})
	if err != nil {
		return err
	}
	return d.catalog.View(ctx, rev, func(secrets.View) {})
}

// Verify reads every record anew, checks and opens it, and compares the set
// with its manifest. It returns how many policies and analyses there are.
func (d *Directory) Verify(ctx context.Context) (policies, analyses int, err error) {
	fresh := &Directory{keyring: d.keyring, set: newRecordSet(d.set.rdb, d.keyring)}
	apply, err := fresh.refresh(ctx)
	if err != nil {
		return 0, 0, err
	}
	fresh.reset()
	apply()
	for _, b := range fresh.analyses {
		if _, _, err := b.open(d.keyring); err != nil {
			return 0, 0, err
		}
	}
	return len(fresh.policies.byID), len(fresh.analyses), nil
}

// view calls look with the directory as it is after the call began, and returns
// the revision of that.
func (d *Directory) view(ctx context.Context, look func()) (rev string, err error) {
	if rev, err = d.rev.Current(ctx); err != nil {
		return "", err
	}
	return rev, d.mirror.View(ctx, rev, d.refresh, look)
}

// refresh reads what changed and returns how to change the copy.
func (d *Directory) refresh(ctx context.Context) (apply func(), err error) {
	records, whole, err := d.set.Read(ctx)
	if err != nil {
		return nil, err
	}
	var changes []func()
	for field, text := range records {
		change, err := d.change(field, text)
		if err != nil {
			d.set.Forget() // it took what the copy will not have
			return nil, err
		}
		changes = append(changes, change)
	}
	return func() {
		if whole {
			d.reset()
		}
		for _, change := range changes {
			change()
		}
	}, nil
}

// change returns what one record changes in the copy.
func (d *Directory) change(field, text string) (func(), error) {
	kind, id, _ := strings.Cut(field, ":")
	switch kind + ":" {
	case fieldPolicy:
		if text == "" {
			return func() { d.policies.remove(id) }, nil
		}
		p := new(Policy)
		if err := json.Unmarshal([]byte(text), p); err == nil && p.ID == id {
			return func() { d.policies.put(p) }, nil
		}
	case fieldAnalysis:
		if text == "" {
			return func() { d.dropAnalysis(id) }, nil
		}
		b := &analysisBody{seen: new(seenToken)}
		if err := json.Unmarshal([]byte(text), b); err == nil && b.ID == id {
			return func() { d.putAnalysis(b) }, nil
		}
	}
	return nil, fmt.Errorf("%w: %s has a body that this release cannot read", secrets.ErrSealBroken, field)
}

func (d *Directory) putAnalysis(b *analysisBody) {
	d.dropAnalysis(b.ID)
	d.analyses[b.ID] = b
	if d.byHint[b.TokenHint] == nil {
		d.byHint[b.TokenHint] = map[string]*analysisBody{}
	}
	d.byHint[b.TokenHint][b.ID] = b
}

func (d *Directory) dropAnalysis(id string) {
	b, ok := d.analyses[id]
	if !ok {
		return
	}
	delete(d.analyses, id)
	delete(d.byHint[b.TokenHint], id)
	if len(d.byHint[b.TokenHint]) == 0 {
		delete(d.byHint, b.TokenHint)
	}
}

// write changes one record as plan says, together with its audit entry, in one
// step. plan sees the newest state and may be asked again.
func (d *Directory) write(ctx context.Context, plan func() (secrets.Draft, error)) error {
	return d.set.Amend(ctx, d.mirror, d.refresh, plan)
}

// protected returns ErrProtected with its reason if a tag forbids the deletion.
// Clients' documents spell the tag in both ways.
func protected(tags []secrets.Tag) error {
	for _, t := range tags {
		if t.Key == "_delete_protection_" || t.Key == "_deletion_protection" {
			return fmt.Errorf("%w: %s", ErrProtected, t.Value)
		}
	}
	return nil
}
