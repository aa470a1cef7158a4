package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// Timed says that an action is triggered by time.
func (d Definition) Timed() bool { return d.Type == TypeInterval || d.Type == TypeSchedule }

// anchored moves the anchor of an action that was edited if its triggers are
// others now or it is active again. Intervals are counted from the anchor and no
// time before it is due, so an action that was off for a month does not make up
// for it. Other edits, and the same triggers sent again, leave the rhythm as it is.
func (d *Definition) anchored(was Definition) {
	same := d.Type == was.Type && slices.EqualFunc(d.Trigger, was.Trigger,
		func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
	if !same || d.Active && !was.Active {
		d.Anchor = d.Updated
	}
}

// checkSchedule adds faults for what the forms of a schedule's texts let through:
// an hour 25, a 31st of February, a zone that is none.
func (o object) checkSchedule() {
	var expression, zone string
	_ = json.Unmarshal(o.raw["cron"], &expression) // what is no text has a fault already
	_ = json.Unmarshal(o.raw["timezone"], &zone)
	if cronText.MatchString(expression) {
		if _, err := parseFields(expression); err != nil {
			o.faults.add(o.at("cron"), "Invalid cron: %s", err)
		}
	}
	if zoneText.MatchString(zone) {
		if _, err := parseZone(zone); err != nil {
			o.faults.add(o.at("timezone"), "Invalid timezone: %s", err)
		}
	}
}

// Timed returns the active actions that are triggered by time, without what they
// do and in no order; nil if no action changed since the state seen. The first
// call says 0; each returns the state for the next. Asking costs one short
// question to Redis.
func (s *Store) Timed(ctx context.Context, seen int64) (timed []Definition, state int64, err error) {
	err = s.view(ctx, func() {
		if state = s.gen; state == seen {
			return
		}
		timed = []Definition{}
		for _, b := range s.byID {
			if d := b.shown(); d.Active && d.Timed() {
				timed = append(timed, d)
			}
		}
	})
	return timed, state, err
}

// Cursors returns the time of Redis and how far the triggers by time of each
// action have been carried out, zero for never, in the order of the ids.
func (s *Store) Cursors(ctx context.Context, ids ...string) (now time.Time, cursors []secrets.Cursor, err error) {
	return s.set.Cursors(ctx, ids...)
}

// Advance moves the cursors of actions and returns for each if it moved. The base
// of a cursor is its action's anchor: with the same one it never moves back.
func (s *Store) Advance(ctx context.Context, steps ...secrets.CursorStep) ([]bool, error) {
	return s.set.Advance(ctx, steps...)
}
