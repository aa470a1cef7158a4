package access

import (
	"cmp"
	"context"
	"slices"

	"github.com/sealpost/sealpost/secrets"
)

// Secrets returns what may be shown of every secret, in no order. It is for
// those who may see them all.
func (d *Directory) Secrets(ctx context.Context) ([]secrets.Secret, error) {
	rev, err := d.rev.Current(ctx)
	if err != nil {
		return nil, err
	}
	var out []secrets.Secret
	err = d.catalog.View(ctx, rev, func(v secrets.View) {
		all := v.All()
		out = make([]secrets.Secret, len(all))
		for i, s := range all {
			out[i] = s.Secret
		}
	})
	return out, err
}

// Readers returns the analyses that policies grant the secret by ActionAccess,
// active or not, by name and id. It looks at the analyses only when some policy
// could grant the secret.
func (d *Directory) Readers(ctx context.Context, s secrets.Secret) ([]Analysis, error) {
	what := resourceOf(s)
	var out []Analysis
	_, err := d.view(ctx, func() {
		granting := d.granting(what)
		if len(granting) == 0 {
			return
		}
		for _, b := range d.analyses {
			a := b.shown()
			if d.reads(granting, a.subject(), what) {
				a.Tags = slices.Clone(a.Tags)
				out = append(out, a)
			}
		}
	})
	slices.SortFunc(out, func(a, b Analysis) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out, err
}

// granting returns the active policies that allow access to the resource for
// some subject.
func (d *Directory) granting(what Resource) []*Policy {
	anyone := Subject{Tags: what.Tags} // what tag_match needs to cover it
	var out []*Policy
	for _, p := range d.policies.byID {
		if p.Active && slices.ContainsFunc(p.Permissions, func(perm Permission) bool {
			return perm.Effect == Allow && perm.covers(anyone, what, ActionAccess)
		}) {
			out = append(out, p)
		}
	}
	return out
}

// reads reports whether the subject may access the resource, which only the
// granting policies allow.
func (d *Directory) reads(granting []*Policy, who Subject, what Resource) bool {
	if !slices.ContainsFunc(granting, func(p *Policy) bool { return p.selects(who) }) {
		return false
	}
	selected := d.policies.selecting(who)
	policies := make([]Policy, len(selected))
	for i, p := range selected {
		policies[i] = *p
	}
	return Evaluate(policies, who, what, ActionAccess).Allowed
}
