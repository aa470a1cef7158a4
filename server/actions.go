package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// actionBody is the most that a stored action may have.
const actionBody = 256 << 10 // bytes, as a job

// actionRow is an action with when it was triggered last.
type actionRow struct {
	actions.Definition
	triggered time.Time // zero: never
}

func (row actionRow) lastTriggered() string {
	if row.triggered.IsZero() {
		return never
	}
	return stamp(row.triggered)
}

// actionView is an action as clients know it.
type actionView struct {
	ID                string            `json:"id"`
	Profile           string            `json:"profile"`
	Name              string            `json:"name"`
	Description       *string           `json:"description"` // null for none
	Active            bool              `json:"active"`
	Type              string            `json:"type"`
	Trigger           []json.RawMessage `json:"trigger"`
	Action            json.RawMessage   `json:"action"`
	Tags              []secrets.Tag     `json:"tags"`
	Lock              bool              `json:"lock"`
	TriggerWhenUnlock bool              `json:"trigger_when_unlock"`
	LastTriggered     string            `json:"last_triggered"`
	CreatedAt         string            `json:"created_at"`
	UpdatedAt         string            `json:"updated_at"`
}

// actionList is the list of actions. It never has what an action does, which is
// sealed, but for its type.
func actionList() listSpec[actionRow] {
	id := func(d actionRow) string { return d.ID }
	name := func(d actionRow) string { return d.Name }
	active := func(d actionRow) string { return strconv.FormatBool(d.Active) }
	kind := func(d actionRow) string { return d.Type }
	return listSpec[actionRow]{
		order: "name", id: id, tags: func(d actionRow) []secrets.Tag { return d.Tags },
		columns: []column[actionRow]{
			{name: "id", always: true, text: id, show: func(d actionRow) any { return d.ID }},
			{name: "profile", show: func(actionRow) any { return profileID }},
			{name: "tags", always: true, show: func(d actionRow) any { return notNil(d.Tags) }},
			{name: "name", text: name, compare: byText(name), show: func(d actionRow) any { return d.Name }},
			{name: "description", show: func(d actionRow) any { return orNull(d.Description) }},
			{name: "active", text: active, compare: byText(active), show: func(d actionRow) any { return d.Active }},
			{name: "type", text: kind, show: func(d actionRow) any { return d.Type }},
			{name: "trigger", onDemand: true, show: func(d actionRow) any { return d.Trigger }},
			{name: "action", always: true, show: func(d actionRow) any { return map[string]string{"type": d.Kind} }},
			{name: "lock", show: func(d actionRow) any { return d.Lock }},
			{name: "last_triggered", show: func(d actionRow) any { return d.lastTriggered() },
				never:   func(d actionRow) bool { return d.triggered.IsZero() },
				compare: func(a, b actionRow) int { return a.triggered.Compare(b.triggered) }},
			{name: "created_at", show: func(d actionRow) any { return stamp(d.Created) },
				compare: func(a, b actionRow) int { return a.Created.Compare(b.Created) }},
			{name: "updated_at", show: func(d actionRow) any { return stamp(d.Updated) },
				compare: func(a, b actionRow) int { return a.Updated.Compare(b.Updated) }},
		},
	}
}

func (a *API) listActions(r *http.Request, _ access.Principal) (any, error) {
	spec := actionList()
	q, err := parseList(r, spec)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	rows, err := vault.actionRows(r.Context())
	if err != nil {
		return nil, err
	}
	return spec.page(q, rows), nil
}

func (v *Vault) actionRows(ctx context.Context) ([]actionRow, error) {
	all, err := v.Definitions.List(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(all))
	for i, d := range all {
		ids[i] = d.ID
	}
	times, err := v.Definitions.LastTriggered(ctx, ids...)
	if err != nil {
		return nil, err
	}
	rows := make([]actionRow, len(all))
	for i, d := range all {
		rows[i] = actionRow{d, times[i]}
	}
	return rows, nil
}

func (a *API) showAction(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	d, err := vault.Definitions.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	times, err := vault.Definitions.LastTriggered(r.Context(), d.ID)
	if err != nil {
		return nil, err
	}
	if who.Kind != access.Admin {
		if d.Action, err = withoutTokens(d.Action); err != nil {
			return nil, err
		}
	}
	row := actionRow{d, times[0]}
	return actionView{
		ID: d.ID, Profile: profileID, Name: d.Name, Description: orNull(d.Description), Active: d.Active, Type: d.Type,
		Trigger: notNil(d.Trigger), Action: d.Action, Tags: notNil(d.Tags), Lock: d.Lock, TriggerWhenUnlock: d.TriggerWhenUnlock,
		LastTriggered: row.lastTriggered(), CreatedAt: stamp(d.Created), UpdatedAt: stamp(d.Updated),
	}, nil
}

// withoutTokens hides the fields of an action that often hold a token.
func withoutTokens(action json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(action, &fields); err != nil {
		return nil, errors.New("a stored action is no JSON object")
	}
	hidden := json.RawMessage(`"` + redact.Placeholder + `"`)
	for _, name := range []string{"url", "headers", "fallback_token"} {
		if _, ok := fields[name]; ok {
			fields[name] = hidden
		}
	}
	return json.Marshal(fields)
}

func (a *API) createAction(r *http.Request, who access.Principal) (any, error) {
	vault, change, err := a.readAction(r)
	if err != nil {
		return nil, err
	}
	made, err := vault.Definitions.Create(r.Context(), actor(who), change)
	if err != nil {
		return nil, err
	}
	return madeAction{made.ID}, nil
}

// madeAction names a new action.
type madeAction struct {
	ID string `json:"action"`
}

func (a *API) updateAction(r *http.Request, who access.Principal) (any, error) {
	vault, change, err := a.readAction(r)
	if err != nil {
		return nil, err
	}
	if _, err := vault.Definitions.Edit(r.Context(), actor(who), r.PathValue("id"), change); err != nil {
		return nil, err
	}
	return updated, nil
}

func (a *API) deleteAction(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if err := vault.Definitions.Delete(r.Context(), actor(who), r.PathValue("id")); err != nil {
		return nil, err
	}
	return removed, nil
}

// readAction reads the body of a create or an edit, and looks up what it names.
func (a *API) readAction(r *http.Request) (*Vault, actions.DefinitionChange, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, actions.DefinitionChange{}, err
	}
	if body == nil {
		return nil, actions.DefinitionChange{}, refuse(http.StatusBadRequest, "A JSON body is required")
	}
	change, err := a.actions.DecodeDefinition(body)
	if err != nil {
		return nil, actions.DefinitionChange{}, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, actions.DefinitionChange{}, err
	}
	// An action that names what is not there could never end well.
	wrong, err := vault.lookUp(r.Context(), change.References(), map[string]secrets.Type{})
	if wrong != nil {
		err = refuse(http.StatusBadRequest, "%s", wrong)
	}
	return vault, change, err
}

// triggerAction sends a job of the action, with data or without.
func (a *API) triggerAction(r *http.Request, who access.Principal) (any, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	data, err := triggerData(body)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	d, err := vault.Definitions.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if !d.Active {
		return nil, refuse(http.StatusConflict, "The action is not active; set \"active\" to true first")
	}
	job, err := json.Marshal(map[string]any{"action_id": d.ID, "data": data})
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "data: Invalid JSON")
	}
	views, err := a.enqueue(r.Context(), who, job)
	if invalid, ok := errors.AsType[*queue.InvalidJobError](err); ok {
		return nil, refuse(http.StatusConflict, "%s", ownText(invalid.Err))
	}
	if err != nil {
		return nil, err
	}
	return views[0], vault.Definitions.MarkTriggered(r.Context(), d.ID, time.Now())
}

// triggerData reads {"data": [...]} by the rules of a run.
func triggerData(body []byte) (json.RawMessage, error) {
	var trigger struct {
		Data json.RawMessage `json:"data"`
	}
	if body != nil && json.Unmarshal(body, &trigger) != nil {
		return nil, refuse(http.StatusBadRequest, "A JSON object with data is required")
	}
	if len(trigger.Data) == 0 {
		return runData(nil)
	}
	scope, err := json.Marshal(map[string]json.RawMessage{"scope": trigger.Data})
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "data: Invalid JSON")
	}
	return runData(scope)
}
