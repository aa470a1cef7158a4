package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// inScope refuses work that the scopes of a producer's token do not cover, as
// job number index of the request, from 0. The answer names what the token may
// do, and nothing of the job: addresses are personal data.
func (v *Vault) inScope(ctx context.Context, scopes access.Scopes, index int, work queue.Work) error {
	if scopes.IsZero() {
		return nil
	}
	reason, err := v.outOfScope(ctx, scopes, work)
	if err == nil && reason != "" {
		err = refuse(http.StatusForbidden, "%s: job %d: %s", denied, index, reason)
	}
	return err
}

// outOfScope says which scope does not cover the work, "" if all do.
func (v *Vault) outOfScope(ctx context.Context, scopes access.Scopes, work queue.Work) (reason string, err error) {
	if reason := kindOutOfScope(scopes, work.Kind()); reason != "" {
		return reason, nil
	}
	if work.Kind() == actions.KindScript {
		// Nobody can tell which secrets and recipients an analysis takes.
		if len(scopes.Kinds) == 0 {
			return "a token with scopes starts analyses only if its kinds name " + actions.KindScript, nil
		}
		return "", nil
	}
	reach, ok := work.(actions.Reach)
	switch {
	case ok && len(reach.Actions()) > 0:
		return "a token with scopes may not name a stored action as a fallback: it may use other secrets", nil
	case len(scopes.Secrets)+len(scopes.Domains) == 0:
		return "", nil
	case !ok:
		return fmt.Sprintf("a token with scopes of secrets or domains may not send jobs of kind %s", work.Kind()), nil
	}
	if len(scopes.Secrets) > 0 {
		for _, ref := range reach.SecretRefs() {
			allowed, err := v.allowsSecret(ctx, scopes, ref)
			if err != nil {
				return "", err
			}
			if !allowed {
				return "the token may use only the secrets " + listed(scopes.Secrets), nil
			}
		}
	}
	for _, address := range reach.Recipients() {
		if !scopes.AllowsAddress(address) {
			return "the token may send mail only to the domains " + listed(scopes.Domains), nil
		}
	}
	return "", nil
}

// kindOutOfScope says that the token may not send the kind, "" if it may.
func kindOutOfScope(scopes access.Scopes, kind string) string {
	if scopes.AllowsKind(kind) {
		return ""
	}
	return "the token may send only the kinds " + listed(scopes.Kinds)
}

// allowsSecret compares a secret, named by id or key, with scopes that name it
// by either. One that is not there is compared by what it is called.
func (v *Vault) allowsSecret(ctx context.Context, scopes access.Scopes, ref string) (bool, error) {
	found, err := v.Secrets.Lookup(ctx, ref)
	if errors.Is(err, secrets.ErrNotFound) {
		return scopes.AllowsSecret(ref, strings.ToUpper(ref)), nil
	}
	return err == nil && scopes.AllowsSecret(found.ID, found.Key), err
}

// listed shows entries of a scope, the first ones of many.
func listed(entries []string) string {
	return named(entries, func(entry string) string { return entry })
}
