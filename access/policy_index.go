package access

import (
	"cmp"
	"slices"

	"github.com/sealpost/sealpost/secrets"
)

// policyIndex finds the policies that select a subject without looking at the
// others. It changes with each policy put in or taken out, at the cost of that
// policy alone. It is not safe for concurrent use.
type policyIndex struct {
	byID     map[string]*Policy
	byTarget map[selector]map[string]*Policy // active policies only
}

func newPolicyIndex() *policyIndex {
	return &policyIndex{byID: map[string]*Policy{}, byTarget: map[selector]map[string]*Policy{}}
}

// put adds a policy or replaces the one with its id. p must not change after.
func (x *policyIndex) put(p *Policy) {
	x.remove(p.ID)
	x.byID[p.ID] = p
	if !p.Active {
		return
	}
	for _, t := range p.Targets {
		s := t.parse()
		if x.byTarget[s] == nil {
			x.byTarget[s] = map[string]*Policy{}
		}
		x.byTarget[s][p.ID] = p
	}
}

// remove takes a policy out; an unknown id is no error.
func (x *policyIndex) remove(id string) {
	p, ok := x.byID[id]
	if !ok {
		return
	}
	delete(x.byID, id)
	for _, t := range p.Targets {
		s := t.parse()
		delete(x.byTarget[s], id)
		if len(x.byTarget[s]) == 0 {
			delete(x.byTarget, s)
		}
	}
}

// selecting returns the active policies that select the subject, by id.
func (x *policyIndex) selecting(who Subject) []*Policy {
	found := map[string]*Policy{}
	look := func(s selector) {
		for id, p := range x.byTarget[s] {
			found[id] = p
		}
	}
	look(selector{by: byAny, kind: who.Kind})
	if who.ID != "" {
		look(selector{by: byID, kind: who.Kind, value: who.ID})
	}
	for _, t := range who.Tags {
		look(selector{by: byTag, kind: who.Kind, key: t.Key, value: t.Value})
		look(selector{by: byTagMatch, kind: who.Kind, key: t.Key})
	}
	out := make([]*Policy, 0, len(found))
	for _, p := range found {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Policy) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// shelf is what a resolution needs of the store's secrets. secrets.Catalog is one.
type shelf interface {
	ByID(id string) (secrets.Sealed, bool)
	ByTag(t secrets.Tag) []secrets.Sealed
	All() []secrets.Sealed
}

// Grant is a secret that some rule allows, with the rule that decided.
type Grant struct {
	Secret secrets.Sealed
	Rule   Rule // an allow among the granted, a deny among the denied
}

// resolve returns the secrets that the policies allow the subject for the
// action, and those that one of them allows and another denies; each by key.
// Its cost is that of the secrets allowed and the rules of these policies.
func resolve(policies []*Policy, all shelf, who Subject, action string) (granted, denied []Grant) {
	denies := map[selector]Rule{}
	allowed := map[string]Grant{}
	for _, p := range policies {
		for j, perm := range p.Permissions {
			if !slices.Contains(perm.Action, action) {
				continue
			}
			for _, s := range concrete(perm.Resource.parse(), who) {
				if perm.Effect == Deny {
					if _, ok := denies[s]; !ok {
						denies[s] = p.rule(j)
					}
				} else if perm.Effect == Allow {
					gather(allowed, all, s, p.rule(j))
				}
			}
		}
	}
	for _, g := range allowed {
		if rule, ok := firstDeny(denies, g.Secret); ok {
			denied = append(denied, Grant{Secret: g.Secret, Rule: rule})
		} else {
			granted = append(granted, g)
		}
	}
	byKey := func(a, b Grant) int { return cmp.Compare(a.Secret.Key, b.Secret.Key) }
	slices.SortFunc(granted, byKey)
	slices.SortFunc(denied, byKey)
	return granted, denied
}

// concrete turns a selector on secrets into ones that do not depend on the
// subject: tag_match becomes one tag for each value that the subject has.
func concrete(s selector, who Subject) []selector {
	if s.kind != KindSecrets {
		return nil
	}
	switch s.by {
	case byAny, byTag:
		return []selector{s}
	case byID:
		if s.value != "" {
			return []selector{s}
		}
	case byTagMatch:
		var out []selector
		for _, t := range who.Tags {
			if t.Key == s.key {
				out = append(out, selector{by: byTag, kind: s.kind, key: t.Key, value: t.Value})
			}
		}
		return out
	}
	return nil
}

// gather adds the secrets of a selector that no earlier rule allowed.
func gather(allowed map[string]Grant, all shelf, s selector, rule Rule) {
	var found []secrets.Sealed
	switch s.by {
	case byAny:
		found = all.All()
	case byID:
		if one, ok := all.ByID(s.value); ok {
			found = []secrets.Sealed{one}
		}
	case byTag:
		found = all.ByTag(secrets.Tag{Key: s.key, Value: s.value})
	}
	for _, one := range found {
		if _, ok := allowed[one.ID]; !ok {
			allowed[one.ID] = Grant{Secret: one, Rule: rule}
		}
	}
}

// firstDeny returns the first rule, in the order of the policies, that denies
// the secret.
func firstDeny(denies map[selector]Rule, s secrets.Sealed) (Rule, bool) {
	var first Rule
	found := false
	look := func(sel selector) {
		rule, ok := denies[sel]
		if !ok {
			return
		}
		if !found || cmp.Or(cmp.Compare(rule.Policy, first.Policy), cmp.Compare(rule.Permission, first.Permission)) < 0 {
			first, found = rule, true
		}
	}
	look(selector{by: byAny, kind: KindSecrets})
	look(selector{by: byID, kind: KindSecrets, value: s.ID})
	for _, t := range s.Tags {
		look(selector{by: byTag, kind: KindSecrets, key: t.Key, value: t.Value})
	}
	return first, found
}
