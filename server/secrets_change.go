package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Texts of results that existing clients know.
const (
	updated = "Successfully Updated"
	removed = "Successfully Removed"
)

// secretBody is what a client sends to create or edit a secret. Key is
// ignored by edits, as clients expect: a key never changes.
type secretBody struct {
	Key   string         `json:"key"`
	Type  secrets.Type   `json:"type"`
	Value *redact.String `json:"value"` // nil: as it was
	Tags  []secrets.Tag  `json:"tags"`
	Stage bool           `json:"stage"` // beside the current version, which stays

	// Scripts send back what they read, with a new value; these are ignored.
	ID          json.RawMessage `json:"id"`
	Profile     json.RawMessage `json:"profile"`
	Version     json.RawMessage `json:"version"`
	ValueLength json.RawMessage `json:"value_length"`
	Destination json.RawMessage `json:"destination"`
	CreatedAt   json.RawMessage `json:"created_at"`
	UpdatedAt   json.RawMessage `json:"updated_at"`
}

func (a *API) createSecret(r *http.Request, who access.Principal) (any, error) {
	var body secretBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if body.Stage {
		id, said, err := a.stageSecret(r, who, vault, body.Key, body)
		return warned{result: idView{ID: id}, warning: said}, err
	}
	if who.Kind == analysisKind {
		if err := vault.decide(r.Context(), who, "", body.Tags, access.ActionCreate); err != nil {
			return nil, err
		}
	}
	if body.Key == "" || body.Value == nil || body.Value.IsZero() {
		return nil, refuse(http.StatusBadRequest, "key and value are required")
	}
	req := secrets.PutRequest{Key: body.Key, Type: body.Type, Value: *body.Value, Tags: body.Tags}
	made, err := vault.Secrets.Create(r.Context(), actor(who), req)
	if err != nil {
		return nil, err
	}
	return idView{ID: made.ID}, nil
}

// idView names what was made.
type idView struct {
	ID string `json:"id"`
}

func (a *API) updateSecret(r *http.Request, who access.Principal) (any, error) {
	var body secretBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	ref := r.PathValue("id")
	if body.Stage {
		_, said, err := a.stageSecret(r, who, vault, ref, body)
		return warned{result: updated, warning: said}, err
	}
	if who.Kind == analysisKind {
		if ref, err = vault.editable(r.Context(), who, ref, body); err != nil {
			return nil, err
		}
	}
	change := secrets.Change{Type: body.Type, Tags: body.Tags}
	force, err := queryFlag(r, "force", true)
	if err != nil {
		return nil, err
	}
	change.SameType = !force
	if body.Value != nil {
		if body.Value.IsZero() {
			return nil, refuse(http.StatusBadRequest, "value is empty; leave it out to keep the one before")
		}
		change.Value = *body.Value
	}
	ctx, released := countReleased(r.Context())
	_, err = vault.Secrets.Update(ctx, actor(who), ref, change)
	if errors.Is(err, secrets.ErrOtherType) {
		return a.changeType(r, who, vault, ref, change, err)
	}
	if err != nil {
		return nil, err
	}
	return withReleased(updated, int(released.Load())), nil
}

// changeType gives a secret another type, with force=false only if nothing uses
// it: whatever names it wants the type that it had.
func (a *API) changeType(r *http.Request, who access.Principal, vault *Vault, ref string, change secrets.Change, why error) (any, error) {
	found, err := vault.Secrets.Info(r.Context(), ref)
	if err != nil {
		return nil, err
	}
	usage, err := a.usage(r.Context(), vault, found)
	if err != nil {
		return nil, err
	}
	if uses := usage.says(); uses != "" {
		if who.Kind == analysisKind {
			uses = "in use" // others' names do not concern it
		}
		return nil, refuse(http.StatusConflict, "%s, and it is %s; nothing was changed; force=true (`secret put --force`) changes it", ownText(why), uses)
	}
	change.SameType = false
	ctx, released := countReleased(r.Context())
	if _, err := vault.Secrets.Update(ctx, actor(who), ref, change); err != nil {
		return nil, err
	}
	return withReleased(updated, int(released.Load())), nil
}

// editable returns the id of the secret if the analysis may edit it as body
// says. New tags must be ones that it may edit, too; and they may not open a
// value to it that it could not access before.
func (v *Vault) editable(ctx context.Context, who access.Principal, ref string, body secretBody) (id string, err error) {
	found, err := v.secretFor(ctx, who, ref, access.ActionEdit)
	if err != nil || body.Tags == nil {
		return found.ID, err
	}
	if err := v.decide(ctx, who, found.ID, body.Tags, access.ActionEdit); err != nil {
		return "", err
	}
	if body.Value != nil {
		return found.ID, nil
	}
	after, err := v.allows(ctx, who, found.ID, body.Tags, access.ActionAccess)
	if err != nil || !after {
		return found.ID, err
	}
	return found.ID, v.decide(ctx, who, found.ID, found.Tags, access.ActionAccess)
}

// deleteSecret works on a secret in use, as clients expect, and then warns.
// With force=false it refuses that instead.
func (a *API) deleteSecret(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := vault.secretFor(r.Context(), who, r.PathValue("id"), access.ActionDelete)
	if err != nil {
		return nil, err
	}
	force, err := queryFlag(r, "force", true)
	if err != nil {
		return nil, err
	}
	warning := ""
	if who.Kind != analysisKind || !force {
		usage, err := a.usage(r.Context(), vault, found)
		if err != nil {
			return nil, err
		}
		uses := usage.says()
		if who.Kind == analysisKind && uses != "" {
			uses = "in use" // others' names do not concern it
		}
		if uses != "" && !force {
			return nil, refuse(http.StatusConflict, "%s is %s; nothing was removed; force=true (`secret rm --force`) removes it", found.Key, uses)
		}
		if uses != "" {
			warning = found.Key + " was " + uses
		}
	}
	if err := vault.Secrets.Delete(r.Context(), actor(who), found.ID); err != nil {
		return nil, err
	}
	return warned{result: removed, warning: warning}, nil
}
