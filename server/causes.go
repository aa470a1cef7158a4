package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// wantsCauses reports whether a list is asked for as ?group=cause.
func wantsCauses(r *http.Request) (bool, error) {
	switch r.URL.Query().Get("group") {
	case "":
		return false, nil
	case "cause":
		return true, nil
	}
	return false, refuse(http.StatusBadRequest, "group must be cause")
}

// causes answers one page of the causes of dead or parked jobs.
func (a *API) causes(r *http.Request, state queue.State, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.queue.Causes(r.Context(), state, r.URL.Query().Get("cursor"))
}

// retryBody names dead letters by the ids of their jobs, or by what they have in
// common. All that is given of the latter must hold.
type retryBody struct {
	IDs    []string `json:"ids,omitempty"`
	All    bool     `json:"all,omitempty"`   // whatever the cause
	Cause  string   `json:"cause,omitempty"` // KIND/REASON or KIND/REASON/CODE
	Secret string   `json:"secret,omitempty"`
	Older  string   `json:"older,omitempty"` // died at least so long ago, such as 1h
	Newer  string   `json:"newer,omitempty"`
	DryRun bool     `json:"dry_run,omitempty"`
	Cursor string   `json:"cursor,omitempty"`
}

func (body *retryBody) filtered() bool {
	return body.All || body.Cause != "" || body.Secret != "" || body.Older != "" || body.Newer != ""
}

func (a *API) retryDead(r *http.Request, _ access.Principal) (any, error) {
	var body retryBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if body.filtered() {
		return a.retryDeadBy(r, &body)
	}
	if body.DryRun || body.Cursor != "" {
		return nil, refuse(http.StatusBadRequest, "dry_run and cursor go with cause, secret, older, newer or all")
	}
	ids, err := idsView{IDs: body.IDs}.ids()
	if err != nil {
		return nil, err
	}
	retried, err := a.queue.RetryDead(r.Context(), ids...)
	if err != nil {
		return nil, err
	}
	return map[string]int{"retried": retried}, nil
}

func (a *API) retryDeadBy(r *http.Request, body *retryBody) (any, error) {
	if len(body.IDs) > 0 {
		return nil, refuse(http.StatusBadRequest, "ids does not go with cause, secret, older, newer or all")
	}
	f := queue.RetryFilter{Cause: body.Cause, DryRun: body.DryRun, Cursor: body.Cursor}
	var err error
	if f.Older, err = age("older", body.Older); err != nil {
		return nil, err
	}
	if f.Newer, err = age("newer", body.Newer); err != nil {
		return nil, err
	}
	if f.Secrets, err = a.secretNames(r, body.Secret); err != nil {
		return nil, err
	}
	return a.queue.RetryDeadBy(r.Context(), f)
}

// secretNames returns the id and the key of a secret, nil for "". The id of one
// that was deleted is its only name.
func (a *API) secretNames(r *http.Request, name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	ref, err := vault.Secrets.Lookup(r.Context(), name)
	switch {
	case err == nil:
		return []string{ref.ID, ref.Key}, nil
	case errors.Is(err, secrets.ErrNotFound) && isID(name):
		return []string{name}, nil
	}
	return nil, err
}

// age reads a duration above 0; "" is 0.
func age(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, refuse(http.StatusBadRequest, "%s must be a duration such as 1h", name)
	}
	return d, nil
}
