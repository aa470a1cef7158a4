package script

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Keys of the entries that a job adds to an environment. Those of an action are
// the ones that public clients know; the job's id is ours.
const (
	factJob    = "_job_id"
	factAction = "_action_id"
	factType   = "_action_type"
	factState  = "_action_state"
	factDevice = "_device_id"
)

// facts returns the entries that the job adds: its id, the same in all
// attempts, and what started it if that was a stored action. The registry has
// just read the action; if it was deleted since, its type is "".
func (w *work) facts(id string) []Fact {
	facts := []Fact{{factJob, id}}
	if w.job.ActionID == "" {
		return facts
	}
	d, _ := w.action.config.Stored.Peek(w.job.ActionID)
	return append(facts, Fact{factAction, w.job.ActionID}, Fact{factType, d.Type}, Fact{factState, w.state}, Fact{factDevice, w.device})
}

// prepareFacts reads what of the facts is in the job: the state of its stored
// action, and the device of the first datum, "" if it has none.
func (w *work) prepareFacts() error {
	vars, err := actions.JobVariables(w.job)
	if err != nil {
		return queue.Permanent(fmt.Errorf(Kind+": %w", err))
	}
	if w.device, err = vars.Fill("$DEVICE$", actions.Plain); err == nil {
		w.state, err = vars.Fill("$ACTION.STATE$", actions.Plain)
	}
	if err != nil {
		return queue.Permanent(fmt.Errorf(Kind+": %w", err))
	}
	return nil
}

// withFacts returns the environment with the facts, sorted, each key once.
func withFacts(env []child.Entry, facts []Fact) []child.Entry {
	all := slices.Clone(env)
	for _, f := range facts {
		all = slices.DeleteFunc(all, func(e child.Entry) bool { return e.Key == f.Key })
		all = append(all, child.Entry{Key: f.Key, Value: redact.New(f.Value)})
	}
	slices.SortFunc(all, func(a, b child.Entry) int { return strings.Compare(a.Key, b.Key) })
	return all
}
