package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// Errors of Trigger.
var (
	// ErrNobodyListens says that no listener of the analysis has taken a run.
	ErrNobodyListens = errors.New("access: nobody listens to this analysis")
	// ErrPerhapsTaken says that a run was sent and that nobody knows its fate.
	ErrPerhapsTaken = errors.New("access: a listener may have taken the run")
)

// takenTime is how long Trigger waits for a listener to say that it has the
// run. A listener asks Redis twice and opens the environment before it does:
// milliseconds, unless its process is overloaded. Number: ours.
const takenTime = 5 * time.Second

// Fact is an entry of a run's environment that is no secret, such as the id of
// the action that started it.
type Fact struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Start is what a job gives to the analysis it starts.
type Start struct {
	Facts []Fact          // beside the environment; they win over its keys
	Data  json.RawMessage // array; nil is none
}

// Run tells the listeners of an analysis to run it with data, a JSON array, in
// all processes. It writes the audit entry first and notes the time. Nobody may
// be listening: a run is not kept. Errors: ErrAnalysisNotFound, ErrInactive.
func (d *Directory) Run(ctx context.Context, use secrets.Use, id string, data json.RawMessage) error {
	payload, err := d.admitRun(ctx, use, Event{Kind: EventRun, Analysis: id, Data: data})
	if err != nil {
		return err
	}
	if err := d.MarkRun(ctx, id, d.now()); err != nil {
		return err
	}
	return d.tell(ctx, payload, id)
}

// Trigger is Run for one who must know that the run was not lost: it returns
// nil once a listener has written the event to its client, and
// ErrNobodyListens when none did so within takenTime. The count that PUBLISH
// returns would not do: it counts processes, whatever they listen to, and in a
// Redis Cluster those of one node. Errors: those of Run, ErrPerhapsTaken.
func (d *Directory) Trigger(ctx context.Context, use secrets.Use, id string, start Start) error {
	run := newRecordID()
	answers, err := d.Listen(ctx, Topic{EventTaken, run}) // before anybody can answer
	if err != nil {
		return err
	}
	defer answers.Close()
	payload, err := d.admitRun(ctx, use,
		Event{Kind: EventRun, Analysis: id, Data: start.Data, Facts: start.Facts, Why: use.Why, Run: run})
	if err != nil {
		return err
	}
	if err := d.tell(ctx, payload, id); err != nil {
		return fmt.Errorf("%w: %w", ErrPerhapsTaken, err)
	}
	wait := time.NewTimer(takenTime)
	defer wait.Stop()
	select {
	case <-answers.Events():
	case <-wait.C:
		return fmt.Errorf("%w: %s", ErrNobodyListens, id)
	case <-ctx.Done():
		return fmt.Errorf("%w: wait for a listener of analysis %s: %w", ErrPerhapsTaken, id, context.Cause(ctx))
	}
	// It runs: an error here must not start it again.
	_ = d.MarkRun(ctx, id, d.now())
	return nil
}

// Taken says that the event has been written to a client. It does nothing for
// events that nobody waits for.
func (d *Directory) Taken(ctx context.Context, ev Event) error {
	if ev.Run == "" {
		return nil
	}
	payload, err := d.events.payload(Event{Kind: EventTaken, Analysis: ev.Run})
	if err != nil {
		return err
	}
	return d.tell(ctx, payload, ev.Analysis)
}

// admitRun checks that the analysis may run, writes the audit entry, and
// returns the event as a message.
func (d *Directory) admitRun(ctx context.Context, use secrets.Use, ev Event) (string, error) {
	r, err := d.resolve(ctx, ev.Analysis)
	if err != nil {
		return "", err
	}
	if !r.body.Active {
		return "", fmt.Errorf("%w: %s", ErrInactive, ev.Analysis)
	}
	payload, err := d.events.payload(ev)
	if err != nil {
		return "", err
	}
	entry := analysisEntry(r.body.shown(), use.Actor, "analysis run")
	entry.Why = use.Why
	return payload, d.rev.Note(ctx, entry)
}

func (d *Directory) tell(ctx context.Context, payload, id string) error {
	if err := d.set.rdb.Publish(ctx, d.events.channel, payload).Err(); err != nil {
		return fmt.Errorf("tell the listeners of analysis %s: %w", id, err)
	}
	return nil
}
