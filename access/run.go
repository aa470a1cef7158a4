package access

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sealpost/sealpost/secrets"
)

// Run tells the listeners of an analysis to run it with data, a JSON array, in
// all processes. It writes the audit entry first and notes the time. Nobody may
// be listening: a run is not kept. Errors: ErrAnalysisNotFound, ErrInactive.
func (d *Directory) Run(ctx context.Context, use secrets.Use, id string, data json.RawMessage) error {
	r, err := d.resolve(ctx, id)
	if err != nil {
		return err
	}
	if !r.body.Active {
		return fmt.Errorf("%w: %s", ErrInactive, id)
	}
	payload, err := d.events.payload(Event{Kind: EventRun, Analysis: id, Data: data})
	if err != nil {
		return err
	}
	entry := analysisEntry(r.body.shown(), use.Actor, "analysis run")
	entry.Why = use.Why
	if err := d.rev.Note(ctx, entry); err != nil {
		return err
	}
	if err := d.MarkRun(ctx, id, d.now()); err != nil {
		return err
	}
	if err := d.set.rdb.Publish(ctx, d.events.channel, payload).Err(); err != nil {
		return fmt.Errorf("tell the listeners of analysis %s: %w", id, err)
	}
	return nil
}
