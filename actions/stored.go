package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Stored finds the stored actions that jobs name.
type Stored interface {
	// Peek returns the action as it was last read. It does no I/O and may not
	// know the newest state, or anything yet.
	Peek(id string) (Definition, bool)
	// Get returns the action as it is after the call began. Error ErrNotFound.
	Get(ctx context.Context, id string) (Definition, error)
}

// UseStored makes jobs with an action_id find their action. It is called once,
// before the first Prepare.
func (r *Registry) UseStored(s Stored) { r.stored = s }

// rereadDelay is when a job comes back whose action was not the one that was
// last read.
const rereadDelay = time.Millisecond

// prepareStored prepares what the job's stored action says. Prepare may not do
// I/O, so it goes by the last state that this process read, and Do makes sure
// that it is still the state; otherwise the job is handed back and prepared
// again, without using an attempt.
func (r *Registry) prepareStored(job *queue.Job) (queue.Work, error) {
	if r.stored == nil {
		return nil, queue.Permanent(errors.New("action_id: there are no stored actions here; send the action itself as \"action\""))
	}
	d, ok := r.stored.Peek(job.ActionID)
	if !ok {
		return &unread{stored: r.stored, id: job.ActionID}, nil
	}
	work, err := r.PrepareDefinition(d, job)
	if err != nil {
		return &unread{stored: r.stored, id: d.ID, version: d.Version, err: err}, nil
	}
	return &storedWork{Work: work, stored: r.stored, id: d.ID, version: d.Version}, nil
}

// PrepareDefinition prepares the job as if it held what the definition says.
func (r *Registry) PrepareDefinition(d Definition, job *queue.Job) (queue.Work, error) {
	a := r.byKind[d.Kind]
	if a == nil {
		return nil, queue.Permanent(fmt.Errorf("action %s: actions of type %s are kept for clients, nothing here does them (%s)", d.ID, d.Kind, r.known()))
	}
	filled := *job
	filled.Action, filled.ActionID, filled.Locked = d.Action, job.ActionID, d.Lock
	work, err := a.Prepare(&filled)
	if err != nil {
		return nil, fmt.Errorf("action %s: %w", d.ID, err)
	}
	return work, nil
}

// storedWork does what a stored action said at version.
type storedWork struct {
	queue.Work
	stored  Stored
	id      string
	version int64
}

// Do makes sure that the action is as it was prepared, and does it.
func (w *storedWork) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	if reply, err := current(ctx, w.stored, w.id, w.version); err != nil {
		return reply, err
	}
	return w.Work.Do(ctx, c)
}

// MaxAttempts is the limit of the kind.
func (w *storedWork) MaxAttempts() int {
	if l, ok := w.Work.(queue.Limited); ok {
		return l.MaxAttempts()
	}
	return 0
}

// SecretRefs are those of what the action does.
func (w *storedWork) SecretRefs() []string {
	if r, ok := w.Work.(Reach); ok {
		return r.SecretRefs()
	}
	return nil
}

// Recipients are those of what the action does.
func (w *storedWork) Recipients() []string {
	if r, ok := w.Work.(Reach); ok {
		return r.Recipients()
	}
	return nil
}

// Actions are the action itself, and those that it may start.
func (w *storedWork) Actions() []string {
	if r, ok := w.Work.(Reach); ok {
		return append([]string{w.id}, r.Actions()...)
	}
	return []string{w.id}
}

// unread is a job whose action this process has not read yet, or could not
// prepare as it read it.
type unread struct {
	stored  Stored
	id      string
	version int64 // 0: not read yet
	err     error // of the preparation at this version
}

// Kind returns "stored": which kind it is will be known when it is read.
func (w *unread) Kind() string { return "stored" }

// Lane is the action's own.
func (w *unread) Lane() string { return "stored/" + w.id }

// Do reads the action. It hands the job back to be prepared by what was read,
// unless that was tried.
func (w *unread) Do(ctx context.Context, _ *queue.Claim) (queue.Reply, error) {
	reply, err := current(ctx, w.stored, w.id, w.version)
	if err != nil {
		return reply, err
	}
	return queue.Reply{Stage: "params", Reason: string(Payload), Rule: "action-invalid"}, w.err
}

// current returns an outcome unless the action is active and at this version.
func current(ctx context.Context, stored Stored, id string, version int64) (queue.Reply, error) {
	reply := queue.Reply{Stage: "action", Certainty: queue.Rejected}
	d, err := stored.Get(ctx, id)
	v := Verdict{}
	switch {
	case errors.Is(err, ErrNotFound):
		v = Verdict{Reason: Config, Rule: "action-missing", Advice: "create it again and send the job again, or remove the dead letter"}
		err = fmt.Errorf("no stored action has the id %s", id)
	case errors.Is(err, secrets.ErrSealBroken):
		v = Verdict{Reason: Config, Rule: "action-seal-broken", Advice: "its record was changed in Redis; restore a backup or store the action again"}
		err = fmt.Errorf("stored action %s does not verify", id)
	case err != nil:
		v = Verdict{Reason: Transient, Rule: "action-store"}
		err = fmt.Errorf("read stored action %s: %w", id, plain(err))
	case !d.Active:
		v = Verdict{Reason: Config, Rule: "action-inactive", Advice: "activate it and retry the job"}
		err = fmt.Errorf("the stored action %s is not active", id)
	case d.Version != version:
		return reply, &queue.HandbackError{After: rereadDelay, Err: fmt.Errorf("stored action %s was changed", id)}
	default:
		return reply, nil
	}
	reply.Rule, reply.Reason = v.Rule, string(v.Reason)
	return reply, Outcome(v, "", 0, err)
}
