package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// secretField ends the name of every field of an action that names a secret;
// what stands before it is the secret's type: smtp_secret, sqs_secret.
const secretField = "_secret"

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
		work, err := a.actions.Prepare(&queue.Job{JID: "0-0", ID: "check", Action: job.Action, ActionID: job.ActionID, Data: job.Data})
		if err != nil {
			return &queue.InvalidJobError{Index: i, Err: err}
		}
		if err := vault.inScope(ctx, scopes, i, work); err != nil {
			return err
		}
		wrong, err := checkSecrets(ctx, vault.Secrets, job.Action, known)
		if err != nil {
			return err
		}
		if wrong != nil {
			return &queue.InvalidJobError{Index: i, Err: wrong}
		}
	}
	return nil
}

// checkSecrets looks up the secrets that an action names. wrong says which of
// them cannot be used; err that they could not be looked up.
func checkSecrets(ctx context.Context, store *secrets.Store, action json.RawMessage, known map[string]secrets.Type) (wrong, err error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(action, &fields) != nil {
		return nil, nil // Prepare has taken it, so it names no secret
	}
	for name, value := range fields {
		want, ok := strings.CutSuffix(name, secretField)
		var ref string
		if !ok || json.Unmarshal(value, &ref) != nil {
			continue
		}
		if _, ok := known[ref]; !ok {
			found, err := store.Lookup(ctx, ref)
			if errors.Is(err, secrets.ErrNotFound) {
				return fmt.Errorf("field %q: no such secret; `sealpost secret put` makes it", name), nil
			}
			if err != nil {
				return nil, err
			}
			known[ref] = found.Type
		}
		if got := known[ref]; got != secrets.Type(want) {
			return fmt.Errorf("field %q: the secret is of type %s, not %s", name, got, want), nil
		}
	}
	return nil, nil
}
