package server

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// testView is the result of a test: all steps up to the first that failed.
type testView struct {
	OK    bool           `json:"ok"`
	Steps []actions.Step `json:"steps"`
}

// testSecret tries the current version of a secret, or the one that the query
// asks for, by the sender that production takes, and keeps what came of it with
// the version.
func (a *API) testSecret(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	ref, err := vault.asked(r)
	if err != nil {
		return nil, err
	}
	try, err := a.tryOf(ref, r.URL.Query().Get("kind"))
	if err != nil {
		return nil, err
	}
	view := testView{Steps: try(r.Context(), ref)}
	verdict := actions.VerdictOf(view.Steps)
	view.OK = verdict.OK
	// A conflict: another version took its place during the test.
	if err := vault.Secrets.NoteVerdict(r.Context(), actor(who), ref, verdict); err != nil && !errors.Is(err, secrets.ErrConflict) {
		return nil, err
	}
	if !view.OK || ref.Staged {
		return view, nil
	}
	// What waits because it was refused before can go on.
	jobs, err := a.queue.CredentialWorks(r.Context(), ref.ID, ref.Version)
	if err != nil {
		return nil, err
	}
	return withReleased(view, jobs), nil
}

// maxVersion bounds a version in a query: no secret is written so often.
const maxVersion = 1 << 31

// asked returns the version that the request wants to test: with staged=true the
// staged one, with version=N that one if a test can open it.
func (v *Vault) asked(r *http.Request) (secrets.Ref, error) {
	staged, err := queryFlag(r, "staged", false)
	if err != nil {
		return secrets.Ref{}, err
	}
	version, err := queryInt(r, "version", 0, 1, maxVersion-1)
	if err != nil {
		return secrets.Ref{}, err
	}
	name := r.PathValue("id")
	if staged {
		return v.Secrets.Staged(r.Context(), name)
	}
	current, err := v.Secrets.Lookup(r.Context(), name)
	if err != nil || version == 0 || current.Version == int64(version) {
		return current, err
	}
	next, err := v.Secrets.Staged(r.Context(), name)
	if errors.Is(err, secrets.ErrNoVersion) || err == nil && next.Version != int64(version) {
		return secrets.Ref{}, refuse(http.StatusNotFound, "No version %d of %s to test: only the current and the staged one are tested", version, current.Key)
	}
	return next, err
}

// tryOf returns what tries secrets as this one. kind is the kind of jobs whose
// key a text is.
func (a *API) tryOf(ref secrets.Ref, kind string) (func(context.Context, secrets.Ref) []actions.Step, error) {
	tester, ok := a.actions.Tester(ref.Type)
	if ok && kind == "" {
		return tester.Test, nil
	}
	if kind == "" {
		return nil, refuse(http.StatusConflict, "A secret of type %s has no server that it could be tried on: it does not say whose key it is; kind=email-sendgrid tries one of SendGrid, others cannot be tested without sending", ref.Type)
	}
	if ref.Type != secrets.TypeText {
		return nil, refuse(http.StatusConflict, "kind is for secrets of type text; %s is of type %s, which says where it is tried", ref.Key, ref.Type)
	}
	prober, known := a.actions.Prober(kind)
	switch {
	case !known:
		return nil, refuse(http.StatusBadRequest, "kind names none of: %s", listed(slices.Clone(a.actions.Kinds())))
	case prober == nil:
		return nil, refuse(http.StatusConflict, "A secret of jobs of kind %s cannot be tested without sending; send a job, or promote it with force=true", kind)
	}
	return prober.Probe, nil
}
