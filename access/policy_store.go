package access

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// CreatePolicy stores a new policy. Errors: *InvalidError, ErrLimit.
func (d *Directory) CreatePolicy(ctx context.Context, actor string, c PolicyChange) (Policy, error) {
	var f faults
	c.required(&f)
	c.check(&f)
	if err := f.err(); err != nil {
		return Policy{}, err
	}
	var made Policy
	err := d.write(ctx, func() (secrets.Draft, error) {
		if len(d.policies.byID) >= maxRecords {
			return secrets.Draft{}, fmt.Errorf("%w: %d policies", ErrLimit, maxRecords)
		}
		now := d.stamp()
		made = c.apply(Policy{ID: newRecordID(), Version: 1, Active: true, Tags: []secrets.Tag{}, Created: now, Updated: now})
		return policyDraft(made, actor, "policy create")
	})
	return made, err
}

// EditPolicy changes the policy with this id. Errors: ErrPolicyNotFound,
// *InvalidError.
func (d *Directory) EditPolicy(ctx context.Context, actor, id string, c PolicyChange) (Policy, error) {
	var f faults
	c.check(&f)
	if err := f.err(); err != nil {
		return Policy{}, err
	}
	var made Policy
	err := d.write(ctx, func() (secrets.Draft, error) {
		p, ok := d.policies.byID[id]
		if !ok {
			return secrets.Draft{}, ErrPolicyNotFound
		}
		made = c.apply(p.clone())
		made.Version, made.Updated = p.Version+1, d.stamp()
		return policyDraft(made, actor, "policy edit")
	})
	return made, err
}

// DeletePolicy removes the policy with this id. Errors: ErrPolicyNotFound,
// ErrProtected.
func (d *Directory) DeletePolicy(ctx context.Context, actor, id string) error {
	return d.write(ctx, func() (secrets.Draft, error) {
		p, ok := d.policies.byID[id]
		if !ok {
			return secrets.Draft{}, ErrPolicyNotFound
		}
		if err := protected(p.Tags); err != nil {
			return secrets.Draft{}, err
		}
		return secrets.Draft{Field: fieldPolicy + id, Entry: policyEntry(*p, actor, "policy delete")}, nil
	})
}

// Policy returns the policy with this id. Error ErrPolicyNotFound.
func (d *Directory) Policy(ctx context.Context, id string) (Policy, error) {
	var p Policy
	var ok bool
	_, err := d.view(ctx, func() {
		var found *Policy
		if found, ok = d.policies.byID[id]; ok {
			p = found.clone()
		}
	})
	if err == nil && !ok {
		err = ErrPolicyNotFound
	}
	return p, err
}

// Policies returns all policies, by name and id.
func (d *Directory) Policies(ctx context.Context) ([]Policy, error) {
	var list []Policy
	_, err := d.view(ctx, func() {
		list = make([]Policy, 0, len(d.policies.byID))
		for _, p := range d.policies.byID {
			list = append(list, p.clone())
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Policy) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

// stamp is the time as records keep it: UTC, in milliseconds.
func (d *Directory) stamp() time.Time { return time.UnixMilli(d.now().UnixMilli()).UTC() }

func policyDraft(p Policy, actor, op string) (secrets.Draft, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return secrets.Draft{}, fmt.Errorf("encode policy %s: %w", p.ID, err)
	}
	return secrets.Draft{Field: fieldPolicy + p.ID, Body: string(text), Entry: policyEntry(p, actor, op)}, nil
}

func policyEntry(p Policy, actor, op string) secrets.AuditEntry {
	return secrets.AuditEntry{Actor: actor, Op: op, Kind: "policy", ID: p.ID, Key: p.Name, Version: p.Version}
}

// clone returns a copy that shares nothing.
func (p *Policy) clone() Policy {
	c := *p
	c.Permissions = make([]Permission, len(p.Permissions))
	for i, perm := range p.Permissions {
		c.Permissions[i] = Permission{Effect: perm.Effect, Action: slices.Clone(perm.Action), Resource: slices.Clone(perm.Resource)}
	}
	c.Targets = make([]Tuple, len(p.Targets))
	for i, t := range p.Targets {
		c.Targets[i] = slices.Clone(t)
	}
	c.Tags = slices.Clone(p.Tags)
	return c
}
