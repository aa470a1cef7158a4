package server

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// versionView is what may be shown of one version of a secret.
type versionView struct {
	Version     int64             `json:"version"`
	State       string            `json:"state"`
	Type        secrets.Type      `json:"type"`
	ValueLength int               `json:"value_length"`
	Destination map[string]string `json:"destination,omitempty"`
	CreatedAt   string            `json:"created_at"`
	CreatedBy   string            `json:"created_by"`
	Verdict     *verdictView      `json:"verdict,omitempty"` // of the last test
}

type verdictView struct {
	At   string `json:"at"`
	By   string `json:"by"`
	OK   bool   `json:"ok"`
	Step string `json:"step,omitempty"` // that failed
	Text string `json:"text,omitempty"`
}

func viewVersion(v secrets.Version) versionView {
	view := versionView{Version: v.Version, State: v.State, Type: v.Type, ValueLength: v.Length, Destination: v.Meta,
		CreatedAt: stamp(v.Created), CreatedBy: v.By}
	if t := v.Verdict; t != nil {
		view.Verdict = &verdictView{At: stamp(t.At), By: t.By, OK: t.OK, Step: t.Step, Text: t.Text}
	}
	return view
}

func (a *API) listVersions(r *http.Request, _ access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := vault.Secrets.Versions(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	views := make([]versionView, len(found))
	for i, v := range found {
		views[i] = viewVersion(v)
	}
	return views, nil
}

// stageSecret stores the value of body beside the current one. Whoever may edit
// the secret may stage.
func (a *API) stageSecret(r *http.Request, who access.Principal, vault *Vault, ref string, body secretBody) (id, said string, err error) {
	if who.Kind == analysisKind {
		if ref, err = vault.editable(r.Context(), who, ref, body); err != nil {
			return "", "", err
		}
	}
	if body.Value == nil || body.Value.IsZero() {
		return "", "", refuse(http.StatusBadRequest, "value is required: what to stage")
	}
	made, err := vault.Secrets.Stage(r.Context(), actor(who), secrets.PutRequest{Key: ref, Type: body.Type, Value: *body.Value, Tags: body.Tags})
	if errors.Is(err, secrets.ErrNotFound) {
		return "", "", refuse(http.StatusNotFound, "Secret Not Found: a version is staged beside a current one; store the first one without stage")
	}
	if errors.Is(err, secrets.ErrOtherType) {
		return "", "", refuse(http.StatusConflict, "%s; store it without stage to change the type", ownText(err))
	}
	if err != nil {
		return "", "", err
	}
	return made.ID, fmt.Sprintf("Version %d is staged; test it, then promote it", made.Version), nil
}

// changedView names the version that is current now.
type changedView struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

func (a *API) promoteSecret(r *http.Request, who access.Principal) (any, error) {
	force, err := queryFlag(r, "force", false)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	ctx, released := countReleased(r.Context())
	made, err := vault.Secrets.Promote(ctx, actor(who), r.PathValue("id"), force)
	if err != nil {
		return nil, err
	}
	return withReleased(changedView{made.ID, made.Version}, int(released.Load())), nil
}

func (a *API) rollbackSecret(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	ctx, released := countReleased(r.Context())
	made, err := vault.Secrets.Rollback(ctx, actor(who), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return withReleased(changedView{made.ID, made.Version}, int(released.Load())), nil
}

func (a *API) discardSecret(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if err := vault.Secrets.Discard(r.Context(), actor(who), r.PathValue("id")); err != nil {
		return nil, err
	}
	return removed, nil
}
