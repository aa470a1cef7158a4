package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/timetable"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// errReservedID keeps producers from taking the id of a due time before its time:
// its job would count as a duplicate and never be done.
var errReservedID = errors.New("id: must not begin with " + timetable.IDPrefix + ", which is for the due times of stored actions")

// check has each job's action decoded as a worker will do it, compared with the
// scopes of the token, and the secrets looked up that it names. What is wrong
// with the job around the action is left to the queue to say.
func (a *API) check(ctx context.Context, scopes access.Scopes, jobs []json.RawMessage) error {
	vault, err := a.vault()
	if err != nil {
		return err
	}
	known := map[string]secrets.Type{} // found in this request
	for i, raw := range jobs {
		var job struct {
			ID       string          `json:"id"`
			Action   json.RawMessage `json:"action"`
			ActionID string          `json:"action_id"`
			Data     json.RawMessage `json:"data"`
		}
		if len(raw) > queue.MaxJobBytes || json.Unmarshal(raw, &job) != nil || job.Action == nil && job.ActionID == "" {
			if !scopes.IsZero() { // what cannot be read cannot be in scope
				return &queue.InvalidJobError{Index: i, Err: errors.New("want a JSON object with an action, of no more than 256 KiB")}
			}
			continue
		}
		if strings.HasPrefix(job.ID, timetable.IDPrefix) {
			return &queue.InvalidJobError{Index: i, Err: errReservedID}
		}
		work, action, err := a.prepare(ctx, vault, job.ActionID, job.Action, job.Data)
		if wrong, ok := errors.AsType[*queue.PermanentError](err); ok {
			return &queue.InvalidJobError{Index: i, Err: wrong}
		}
		if err != nil {
			return err
		}
		if err := vault.inScope(ctx, scopes, i, work); err != nil {
			return err
		}
		wrong, err := vault.lookUp(ctx, a.actions.Catalog().References(action), known)
		if err != nil {
			return err
		}
		if wrong != nil {
			return &queue.InvalidJobError{Index: i, Err: wrong}
		}
	}
	return nil
}

// prepare decodes what a job does as a worker will, and returns that action. An
// error that is the job's own fault is permanent.
func (a *API) prepare(ctx context.Context, vault *Vault, id string, action, data json.RawMessage) (queue.Work, json.RawMessage, error) {
	job := &queue.Job{JID: "0-0", ID: "check", Action: action, ActionID: id, Data: data}
	if id == "" {
		work, err := a.actions.Prepare(job)
		return work, action, err
	}
	d, err := vault.Definitions.Get(ctx, id)
	switch {
	case errors.Is(err, actions.ErrNotFound):
		return nil, nil, queue.Permanent(errors.New("action_id: no stored action has this id"))
	case err != nil:
		return nil, nil, err
	case !d.Active:
		return nil, nil, queue.Permanent(errors.New("action_id: the action is not active"))
	}
	work, err := a.actions.PrepareDefinition(d, job)
	return work, d.Action, err
}

// lookUp looks up what an action names. wrong says which of it cannot be used;
// err that it could not be looked up. known has the types of secrets that were
// found before, and gets those found now.
func (v *Vault) lookUp(ctx context.Context, refs []actions.Reference, known map[string]secrets.Type) (wrong, err error) {
	for _, ref := range refs {
		switch ref.To {
		case actions.ToSecret:
			wrong, err = v.lookUpSecret(ctx, ref, known)
		case actions.ToAnalysis:
			_, err = v.Directory.Analysis(ctx, ref.ID)
			if errors.Is(err, access.ErrAnalysisNotFound) {
				wrong, err = fmt.Errorf("%s: no analysis has this id", ref.Field), nil
			}
		case actions.ToAction:
			_, err = v.Definitions.Get(ctx, ref.ID)
			if errors.Is(err, actions.ErrNotFound) {
				wrong, err = fmt.Errorf("%s: no stored action has this id", ref.Field), nil
			}
		}
		if wrong != nil || err != nil {
			return wrong, err
		}
	}
	return nil, nil
}

func (v *Vault) lookUpSecret(ctx context.Context, ref actions.Reference, known map[string]secrets.Type) (wrong, err error) {
	if _, ok := known[ref.ID]; !ok {
		found, err := v.Secrets.Lookup(ctx, ref.ID)
		if errors.Is(err, secrets.ErrNotFound) {
			return fmt.Errorf("%s: no such secret; `sealpost secret put` makes it", ref.Field), nil
		}
		if err != nil {
			return nil, err
		}
		known[ref.ID] = found.Type
	}
	if got := known[ref.ID]; got != ref.Secret {
		return fmt.Errorf("%s: want a secret of type %s; this one is of type %s", ref.Field, ref.Secret, got), nil
	}
	return nil, nil
}
