package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Origin says where a key of an environment comes from.
type Origin struct {
	Own    bool        // a variable of the analysis itself; Secret and Rule are zero
	Secret secrets.Ref // the secret and its version
	Rule   Rule        // the permission that grants it
}

// Entry is one key of an environment. The value of a structured secret is its
// JSON text.
type Entry struct {
	Key    string
	Value  redact.String
	Origin Origin
}

// Resolution is what an analysis may see, without values. It is shared: nobody
// may change what it holds.
type Resolution struct {
	Analysis Analysis // without its variables
	Tag      string   // another one whenever keys or versions differ; 32 hex digits
	Names    []string // sorted, each key once
	Origins  []Origin // of each of the Names
	Shadowed []Grant  // granted, and overridden by a variable of the analysis
	Denied   []Grant  // allowed by one rule and denied by another, which is named
}

// Resolve says which keys the environment of the analysis has and why. It opens
// no secret and writes no audit entry. An inactive analysis is resolved as if it
// were active. Error ErrAnalysisNotFound.
func (d *Directory) Resolve(ctx context.Context, id string) (Resolution, error) {
	r, err := d.resolve(ctx, id)
	if err != nil {
		return Resolution{}, err
	}
	return r.shown, nil
}

// Environment opens the environment of the analysis: the secrets that policies
// grant it by ActionAccess, and its own variables, which win. It has each key
// once, sorted. The audit entry, which names the secrets with their versions and
// those that were denied, is written first; nothing is opened if that fails.
// The Resolution is that of Resolve. Errors: ErrAnalysisNotFound, ErrInactive.
func (d *Directory) Environment(ctx context.Context, id string, use secrets.Use) ([]Entry, Resolution, error) {
	env, r, err := d.environment(ctx, id, use)
	if err != nil {
		return nil, Resolution{}, err
	}
	return env, r.shown, nil
}

func (d *Directory) environment(ctx context.Context, id string, use secrets.Use) ([]Entry, *resolved, error) {
	r, err := d.resolve(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if !r.body.Active {
		return nil, nil, fmt.Errorf("%w: %s", ErrInactive, id)
	}
	values, err := d.catalog.OpenAll(ctx, r.sealed, r.entry(use))
	if err != nil {
		return nil, nil, fmt.Errorf("open environment of analysis %s: %w", id, err)
	}
	_, own, err := r.body.open(d.keyring)
	if err != nil {
		return nil, nil, fmt.Errorf("open environment of analysis %s: %w", id, err)
	}
	env := make([]Entry, 0, len(r.visible)+len(own))
	for i, g := range r.visible {
		env = append(env, Entry{Key: g.Secret.Key, Value: values[i], Origin: Origin{Secret: g.Secret.Ref, Rule: g.Rule}})
	}
	for _, v := range lastOfEach(own) {
		env = append(env, Entry{Key: v.Key, Value: v.Value, Origin: Origin{Own: true}})
	}
	slices.SortFunc(env, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return env, r, nil
}

// Granted returns the secrets that the analysis may do the action on, by key.
func (d *Directory) Granted(ctx context.Context, id, action string) ([]secrets.Secret, error) {
	rev, err := d.rev.Current(ctx)
	if err != nil {
		return nil, err
	}
	_, granted, _, err := d.grants(ctx, rev, id, action)
	if err != nil {
		return nil, err
	}
	out := make([]secrets.Secret, len(granted))
	for i, g := range granted {
		out[i] = g.Secret.Secret
	}
	return out, nil
}

// Decide says whether the analysis may do the action on the resource. Error
// ErrAnalysisNotFound.
func (d *Directory) Decide(ctx context.Context, id string, what Resource, action string) (Decision, error) {
	var out Decision
	err := d.ask(ctx, id, func(who Subject) {
		selected := d.policies.selecting(who)
		policies := make([]Policy, len(selected))
		for i, p := range selected {
			policies[i] = *p
		}
		out = Evaluate(policies, who, what, action)
	})
	return out, err
}

// Explain is Decide with the reasons. It looks at every policy.
func (d *Directory) Explain(ctx context.Context, id string, what Resource, action string) (Explanation, error) {
	var out Explanation
	err := d.ask(ctx, id, func(who Subject) {
		policies := make([]Policy, 0, len(d.policies.byID))
		for _, p := range d.policies.byID {
			policies = append(policies, *p)
		}
		slices.SortFunc(policies, func(a, b Policy) int { return cmp.Compare(a.ID, b.ID) })
		out = Explain(policies, who, what, action)
	})
	return out, err
}

// ask calls look with the analysis as policies see it.
func (d *Directory) ask(ctx context.Context, id string, look func(Subject)) error {
	found := false
	_, err := d.view(ctx, func() {
		var b *analysisBody
		if b, found = d.analyses[id]; found {
			look(b.shown().subject())
		}
	})
	if err == nil && !found {
		err = ErrAnalysisNotFound
	}
	return err
}
