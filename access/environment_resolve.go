package access

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"github.com/sealpost/sealpost/secrets"
)

// resolved is a resolution with what it takes to open it: nothing in clear. It
// never changes, but for written.
type resolved struct {
	body    *analysisBody
	visible []Grant          // granted, by key, without what a variable overrides
	sealed  []secrets.Sealed // of visible
	shown   Resolution
	granted []string // names for the audit entry
	denied  []string

	own     secrets.PreparedEntry // of the audit, when the analysis itself asks
	written map[string][]byte     // the environment by form, sealed; under the lock of the memo
}

// resolve finds what the analysis may see, as it is after the call began.
func (d *Directory) resolve(ctx context.Context, id string) (*resolved, error) {
	rev, err := d.rev.Current(ctx)
	if err != nil {
		return nil, err
	}
	if r := d.memo.get(rev, id); r != nil {
		return r, nil
	}
	body, granted, denied, err := d.grants(ctx, rev, id, ActionAccess)
	if err != nil {
		return nil, err
	}
	_, own, err := body.open(d.keyring)
	if err != nil {
		return nil, err
	}
	r := newResolved(body, lastOfEach(own), granted, denied)
	d.memo.put(rev, id, r)
	return r, nil
}

// grants finds the secrets for one action at the revision rev or after it. The
// policies and the secrets are looked at one after the other, neither older
// than rev.
func (d *Directory) grants(ctx context.Context, rev, id, action string) (body *analysisBody, granted, denied []Grant, err error) {
	var who Subject
	var policies []*Policy
	err = d.mirror.View(ctx, rev, d.refresh, func() {
		if body = d.analyses[id]; body != nil {
			who = body.shown().subject()
			policies = d.policies.selecting(who)
		}
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if body == nil {
		return nil, nil, nil, ErrAnalysisNotFound
	}
	err = d.catalog.View(ctx, rev, func(v secrets.View) { granted, denied = resolve(policies, v, who, action) })
	return body, granted, denied, err
}

// lastOfEach returns the variables without those that a later one of the same
// key replaces, by key.
func lastOfEach(vars []Variable) []Variable {
	out := slices.Clone(vars)
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b Variable) int { return cmp.Compare(a.Key, b.Key) })
	return slices.CompactFunc(out, func(a, b Variable) bool { return a.Key == b.Key })
}

// newResolved puts secrets and variables together; own is by key, and only the
// keys of it are kept.
func newResolved(body *analysisBody, own []Variable, granted, denied []Grant) *resolved {
	r := &resolved{body: body, shown: Resolution{Analysis: body.shown(), Denied: denied}}
	origins := make(map[string]Origin, len(granted)+len(own))
	for _, v := range own {
		origins[v.Key] = Origin{Own: true}
		r.shown.Names = append(r.shown.Names, v.Key)
	}
	for _, g := range granted {
		if _, own := origins[g.Secret.Key]; own {
			r.shown.Shadowed = append(r.shown.Shadowed, g)
			continue
		}
		r.visible, r.sealed = append(r.visible, g), append(r.sealed, g.Secret)
		r.shown.Names = append(r.shown.Names, g.Secret.Key)
	}
	for _, g := range r.visible {
		origins[g.Secret.Key] = Origin{Secret: g.Secret.Ref, Rule: g.Rule}
	}
	slices.Sort(r.shown.Names)
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%s@%d\n", body.ID, body.Version)
	for _, key := range r.shown.Names {
		o := origins[key]
		r.shown.Origins = append(r.shown.Origins, o)
		_, _ = fmt.Fprintf(sum, "%q %s@%d\n", key, o.Secret.ID, o.Secret.Version)
	}
	r.shown.Tag = hex.EncodeToString(sum.Sum(nil)[:16])
	r.granted, r.denied = secrets.Names(r.sealed), secrets.Names(sealedOf(denied))
	r.own = r.entry(ownUse(body.ID)).Prepare()
	return r
}

// entry is the audit entry of an opening.
func (r *resolved) entry(use secrets.Use) secrets.AuditEntry {
	return secrets.AuditEntry{
		Actor: use.Actor, Op: "environment", Kind: "analysis", ID: r.body.ID, Key: r.body.Name, Version: r.body.Version,
		Why: use.Why, Granted: r.granted, Denied: r.denied,
	}
}

func sealedOf(grants []Grant) []secrets.Sealed {
	out := make([]secrets.Sealed, len(grants))
	for i, g := range grants {
		out[i] = g.Secret
	}
	return out
}

// maxMemo bounds the grants that resolutions keep in memory, at some memoUnit
// bytes each 50 MB. Over it they are made anew.
const (
	maxMemo  = 100_000
	memoUnit = 500 // bytes
)

// memo keeps the resolutions of one revision of the store. The zero memo is
// empty and ready.
type memo struct {
	mu   sync.RWMutex
	rev  string
	byID map[string]*resolved
	size int
}

func (m *memo) get(rev, id string) *resolved {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.rev != rev {
		return nil
	}
	return m.byID[id]
}

// put keeps a resolution that was made after rev was seen.
func (m *memo) put(rev, id string, r *resolved) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := 1 + len(r.visible) + len(r.shown.Shadowed) + len(r.shown.Denied)
	if m.byID == nil || m.rev != rev || m.size+size > maxMemo {
		m.rev, m.byID, m.size = rev, map[string]*resolved{}, 0
	}
	m.byID[id] = r
	m.size += size
}
