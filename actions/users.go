package actions

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/secrets"
)

// Users returns the actions that name the secret by its id or key, by name and
// id, without what they do. It opens every action that can name a secret, at
// some 5 us each.
func (s *Store) Users(ctx context.Context, secret secrets.Secret) ([]Definition, error) {
	var bodies []*definitionBody
	err := s.view(ctx, func() {
		for _, b := range s.byID {
			if b.Kind != KindScript {
				bodies = append(bodies, b)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var list []Definition
	for _, b := range bodies { // records never change once they are in the copy
		d, err := s.opened(b)
		if err != nil {
			return nil, err
		}
		if s.names(d, secret) {
			list = append(list, b.shown())
		}
	}
	slices.SortFunc(list, func(a, b Definition) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

// names reports whether what the action does names the secret.
func (s *Store) names(d Definition, secret secrets.Secret) bool {
	return slices.ContainsFunc(s.catalog.References(d.Action), func(ref Reference) bool {
		return ref.To == ToSecret && (ref.ID == secret.ID || strings.EqualFold(ref.ID, secret.Key))
	})
}
