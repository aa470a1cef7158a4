package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

func (a *API) queueStats(r *http.Request, _ access.Principal) (any, error) {
	return a.queue.Stats(r.Context())
}

// parkedView is a group of parked jobs with the key of the secret they wait
// for; Key is "" when it was deleted.
type parkedView struct {
	queue.ParkedGroup
	Key string `json:"key"`
}

func (a *API) listParked(r *http.Request, _ access.Principal) (any, error) {
	if byCause, err := wantsCauses(r); byCause || err != nil {
		return a.causes(r, queue.Parked, err)
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	groups, err := a.queue.ParkedList(r.Context())
	if err != nil {
		return nil, err
	}
	views := make([]parkedView, len(groups))
	for i, group := range groups {
		ref, err := vault.Secrets.Lookup(r.Context(), group.Secret)
		if err != nil && !errors.Is(err, secrets.ErrNotFound) && !errors.Is(err, secrets.ErrSealBroken) {
			return nil, err
		}
		views[i] = parkedView{ParkedGroup: group, Key: ref.Key}
	}
	return views, nil
}

// releaseBody names the secret whose jobs shall be tried again, by id or key;
// Version 0 means whichever version they wait for.
type releaseBody struct {
	Secret  string `json:"secret"`
	Version int64  `json:"version"`
}

func (a *API) releaseParked(r *http.Request, _ access.Principal) (any, error) {
	var body releaseBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if body.Secret == "" {
		return nil, refuse(http.StatusBadRequest, "secret is required: the id or key whose parked jobs to release")
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	id := body.Secret
	ref, err := vault.Secrets.Lookup(r.Context(), body.Secret)
	switch {
	case err == nil:
		id = ref.ID
	case !errors.Is(err, secrets.ErrNotFound) || !isID(id):
		return nil, err // jobs of a deleted secret can still be released by its id
	}
	released, err := a.queue.ReleaseParked(r.Context(), id, body.Version)
	if err != nil {
		return nil, err
	}
	return map[string]int{"released": released}, nil
}

func (a *API) listDead(r *http.Request, _ access.Principal) (any, error) {
	if byCause, err := wantsCauses(r); byCause || err != nil {
		return a.causes(r, queue.Dead, err)
	}
	limit, err := queryInt(r, "limit", 100, 1, 1000)
	if err != nil {
		return nil, err
	}
	letters, next, err := a.queue.DeadList(r.Context(), limit, r.URL.Query().Get("cursor"))
	if err != nil {
		return nil, err
	}
	return jobsView{Jobs: letters, Cursor: next}, nil
}

// idsView names dead letters by the ids of their jobs.
type idsView struct {
	IDs []string `json:"ids"`
}

func deadIDs(r *http.Request) ([]string, error) {
	var body idsView
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	return body.ids()
}

func (body idsView) ids() ([]string, error) {
	if len(body.IDs) == 0 || len(body.IDs) > queue.MaxBatch {
		return nil, refuse(http.StatusBadRequest, "ids is required: 1 to %d ids of dead jobs", queue.MaxBatch)
	}
	return body.IDs, nil
}

func (a *API) removeDead(r *http.Request, _ access.Principal) (any, error) {
	ids, err := deadIDs(r)
	if err != nil {
		return nil, err
	}
	removed, err := a.queue.RemoveDead(r.Context(), ids...)
	if err != nil {
		return nil, err
	}
	return map[string]int{"removed": removed}, nil
}

// isID reports whether ref has the form of an id: 24 lower-case hex digits.
func isID(ref string) bool {
	return len(ref) == 24 && strings.Trim(ref, "0123456789abcdef") == ""
}

// tokenView is what may be shown of a token.
type tokenView struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	NotBefore string `json:"not_before"`
	Expires   string `json:"expires,omitempty"`

	Scopes access.Scopes `json:"scopes,omitzero"` // of a producer
}

func (a *API) listTokens(r *http.Request, _ access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	tokens, err := vault.Tokens.List(r.Context())
	if err != nil {
		return nil, err
	}
	views := make([]tokenView, 0, len(tokens))
	for _, t := range tokens {
		view := tokenView{ID: t.ID, Kind: string(t.Kind), Name: t.Name, NotBefore: stamp(t.NotBefore), Scopes: t.Scopes}
		if !t.Expires.IsZero() {
			view.Expires = stamp(t.Expires)
		}
		views = append(views, view)
	}
	return views, nil
}

func (a *API) listAudit(r *http.Request, _ access.Principal) (any, error) {
	limit, err := queryInt(r, "limit", 100, 1, 1000)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	return vault.Secrets.Audit(r.Context(), limit)
}
