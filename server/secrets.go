package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// secretView is what may be shown of a secret. It has no field for the value,
// so no handler can return one.
type secretView struct {
	ID          string            `json:"id"`
	Key         string            `json:"key"`
	Type        secrets.Type      `json:"type"`
	Version     int64             `json:"version"`
	Tags        []secrets.Tag     `json:"tags"`
	ValueLength int               `json:"value_length"`
	Destination map[string]string `json:"destination,omitempty"`
	CreatedAt   string            `json:"created_at"`
	UpdatedAt   string            `json:"updated_at"`
}

func viewSecret(s secrets.Secret) secretView {
	return secretView{ID: s.ID, Key: s.Key, Type: s.Type, Version: s.Version, Tags: notNil(s.Tags), ValueLength: s.Length,
		Destination: s.Meta, CreatedAt: stamp(s.Created), UpdatedAt: stamp(s.Updated)}
}

// notNil is list as JSON clients expect it: [] and not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// secretList is the list of secrets; existing clients order it by key only.
func secretList() listSpec[secrets.Secret] {
	id := func(s secrets.Secret) string { return s.ID }
	key := func(s secrets.Secret) string { return s.Key }
	kind := func(s secrets.Secret) string { return string(s.Type) }
	return listSpec[secrets.Secret]{
		order: "key", id: id, tags: func(s secrets.Secret) []secrets.Tag { return s.Tags },
		columns: []column[secrets.Secret]{
			{name: "id", always: true, text: id, show: func(s secrets.Secret) any { return s.ID }},
			{name: "key", text: key, compare: byKey, show: func(s secrets.Secret) any { return s.Key }},
			{name: "type", text: kind, show: func(s secrets.Secret) any { return s.Type }},
			{name: "version", show: func(s secrets.Secret) any { return s.Version }},
			{name: "tags", show: func(s secrets.Secret) any { return notNil(s.Tags) }},
			{name: "value_length", show: func(s secrets.Secret) any { return s.Length }},
			{name: "destination", show: showDestination},
			{name: "created_at", show: func(s secrets.Secret) any { return stamp(s.Created) }},
			{name: "updated_at", show: func(s secrets.Secret) any { return stamp(s.Updated) }},
		},
	}
}

// byKey is the order of the store, whose pages are taken as they are.
func byKey(a, b secrets.Secret) int { return strings.Compare(a.Key, b.Key) }

func showDestination(s secrets.Secret) any {
	if s.Meta == nil {
		return map[string]string{}
	}
	return s.Meta
}

// listSecrets shows an analysis those that policies let it access, and all to
// others.
func (a *API) listSecrets(r *http.Request, who access.Principal) (any, error) {
	spec := secretList()
	q, err := parseList(r, spec)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if who.Kind == analysisKind {
		granted, err := vault.Directory.Granted(r.Context(), who.ID, access.ActionAccess)
		if err != nil {
			return nil, err
		}
		return spec.page(q, granted), nil
	}
	if len(q.filter) == 0 && len(q.tags) == 0 {
		found, err := listPage(r.Context(), vault.Secrets, q)
		if err != nil {
			return nil, err
		}
		return spec.rows(q, found), nil
	}
	all, err := vault.Directory.Secrets(r.Context())
	if err != nil {
		return nil, err
	}
	return spec.page(q, all), nil
}

// listPage reads one page of secrets by key, and no more than that. In
// descending order the page is counted from the end, so the store is asked for
// its size first.
func listPage(ctx context.Context, store *secrets.Store, q listQuery) ([]secrets.Secret, error) {
	offset, amount := (q.page-1)*q.amount, q.amount
	if q.descending {
		all, err := store.List(ctx, 0, 1)
		if err != nil {
			return nil, err
		}
		end := all.Total - offset
		if end <= 0 {
			return nil, nil
		}
		offset = max(end-amount, 0)
		amount = end - offset
	}
	part, err := store.List(ctx, offset, amount)
	if err != nil {
		return nil, err
	}
	if q.descending {
		slices.Reverse(part.Secrets)
	}
	return part.Secrets, nil
}

// A page of the list must fit in one page of the store.
var _ [secrets.MaxPage - maxAmount]struct{}

func (a *API) showSecret(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := vault.secretFor(r.Context(), who, r.PathValue("id"), access.ActionAccess)
	if err != nil {
		return nil, err
	}
	return viewSecret(found), nil
}

// secretFor returns the secret with this id or key if the principal may do the
// action on it. An analysis learns that a secret is not there only if it may do
// the action on every secret. Errors: secrets.ErrNotFound, a refusal.
func (v *Vault) secretFor(ctx context.Context, who access.Principal, ref, action string) (secrets.Secret, error) {
	found, err := v.Secrets.Info(ctx, ref)
	if who.Kind != analysisKind || (err != nil && !errors.Is(err, secrets.ErrNotFound)) {
		return found, err
	}
	if denial := v.decide(ctx, who, found.ID, found.Tags, action); denial != nil {
		return secrets.Secret{}, denial
	}
	return found, err
}

// decide returns a refusal unless policies allow the analysis the action on a
// secret with this id, "" for one that is not there, and these tags.
func (v *Vault) decide(ctx context.Context, who access.Principal, id string, tags []secrets.Tag, action string) error {
	allowed, err := v.allows(ctx, who, id, tags, action)
	if err == nil && !allowed {
		err = errDenied()
	}
	return err
}

// allows is decide as a question.
func (v *Vault) allows(ctx context.Context, who access.Principal, id string, tags []secrets.Tag, action string) (bool, error) {
	what := access.Resource{Kind: access.KindSecrets, ID: id, Tags: tags}
	decision, err := v.Directory.Decide(ctx, who.ID, what, action)
	if errors.Is(err, access.ErrAnalysisNotFound) {
		return false, access.ErrUnauthorized // deleted since its token was looked at
	}
	return decision.Allowed, err
}

// actor is the name of a principal in the audit stream.
func actor(who access.Principal) string { return string(who.Kind) + " " + who.ID }
