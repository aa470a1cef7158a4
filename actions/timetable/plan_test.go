package timetable

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sealpost/sealpost/actions"
)

// anchor is a moment for all plans of these tests.
var anchor = time.Date(2026, time.January, 31, 10, 0, 0, 0, time.UTC)

// tb is a test or a property.
type tb interface {
	Helper()
	Fatal(args ...any)
}

func plan(t tb, typ string, triggers ...string) Plan {
	t.Helper()
	d := actions.Definition{ID: "5f5a8f3351d4db99c40dea9e", Type: typ, Anchor: anchor}
	for _, text := range triggers {
		d.Trigger = append(d.Trigger, json.RawMessage(text))
	}
	p, err := NewPlan(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlanJoinsItsTriggers(t *testing.T) {
	p := plan(t, actions.TypeSchedule, `{"cron":"0 12 * * *"}`, `{"cron":"0 13 * * *","timezone":"Europe/Berlin"}`, `{"cron":"30 12 * * *"}`)
	var got []string
	for at := p.Next(time.Time{}); len(got) < 4; at = p.Next(at) {
		got = append(got, at.Format(time.RFC3339))
	}
	want := []string{"2026-01-31T12:00:00Z", "2026-01-31T12:30:00Z", "2026-02-01T12:00:00Z", "2026-02-01T12:30:00Z"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("12:00 in UTC is 13:00 in Berlin, and is due once; -got +want:\n%s", d)
	}
}

func TestPlanWithoutTriggersIsNeverDue(t *testing.T) {
	p := plan(t, actions.TypeInterval)
	if due := p.Next(anchor); !due.IsZero() {
		t.Errorf("due %v", due)
	}
	if o := p.owed(anchor, anchor.Add(time.Hour)); !o.upTo.IsZero() {
		t.Errorf("owed %+v", o)
	}
}

func TestPlanRefusesWhatOlderReleasesStored(t *testing.T) {
	for _, tt := range []struct{ typ, trigger string }{
		{actions.TypeSchedule, `{"cron":"0 0 31 2 *"}`}, {actions.TypeSchedule, `{"cron":"0 0 1 1 *","timezone":"canary"}`},
		{actions.TypeInterval, `{"interval":"canary"}`}, {actions.TypeInterval, `{"interval":["canary"]}`},
	} {
		_, err := NewPlan(actions.Definition{ID: "x", Type: tt.typ, Trigger: []json.RawMessage{[]byte(tt.trigger)}})
		if err == nil || !strings.Contains(err.Error(), "trigger[0] of action x") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want an error that names the trigger and not its value", tt.trigger, err)
		}
	}
}

func TestOwed(t *testing.T) {
	at := func(d time.Duration) time.Time { return anchor.Add(d) }
	for _, tt := range []struct {
		name, interval string
		cursor         time.Duration // after the anchor; 0: none yet
		now            time.Duration
		fire           []time.Duration
		skipped        int
	}{
		{"nothing yet", "1 minute", 0, 59 * time.Second, nil, 0},
		{"the first", "1 minute", 0, time.Minute, []time.Duration{time.Minute}, 0},
		{"done already", "1 minute", time.Minute, time.Minute + time.Second, nil, 0},
		{"seconds, each one of a late look", "1 second", 5 * time.Second, 8 * time.Second, []time.Duration{6 * time.Second, 7 * time.Second, 8 * time.Second}, 0},
		{"one a little later than that", "1 minute", 0, 90 * time.Second, []time.Duration{time.Minute}, 0},
		{"away for hours: one run for the latest", "1 hour", time.Hour, 5*time.Hour + 30*time.Minute, []time.Duration{5 * time.Hour}, 3},
		{"away for hours, back at a due time: no other", "1 hour", time.Hour, 5 * time.Hour, []time.Duration{5 * time.Hour}, 3},
		{"away for a day less a second", "1 week", 0, 8*24*time.Hour - time.Minute - time.Second, []time.Duration{7 * 24 * time.Hour}, 0},
		{"away for a day", "1 week", 0, 8 * 24 * time.Hour, nil, 1},
		{"away for weeks", "1 week", 0, 30 * 24 * time.Hour, nil, 4},
		{"the clock was set back", "1 minute", time.Hour, 30 * time.Minute, nil, 0},
		{"seconds, away for a month", "1 second", 0, 30 * 24 * time.Hour, func() []time.Duration {
			var last []time.Duration
			for s := 10 * time.Second; s >= 0; s -= time.Second {
				last = append(last, 30*24*time.Hour-s)
			}
			return last
		}(), maxMissed + 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cursor time.Time
			if tt.cursor > 0 {
				cursor = at(tt.cursor)
			}
			o := plan(t, actions.TypeInterval, fmt.Sprintf(`{"interval":%q}`, tt.interval)).owed(cursor, at(tt.now))
			var got []time.Duration
			for _, due := range o.fire {
				got = append(got, due.Sub(anchor))
			}
			if d := cmp.Diff(got, tt.fire); d != "" {
				t.Errorf("fires, -got +want:\n%s", d)
			}
			if o.skipped != tt.skipped {
				t.Errorf("skips %d, want %d", o.skipped, tt.skipped)
			}
			if len(o.fire) > 0 && !o.upTo.Equal(o.fire[len(o.fire)-1]) {
				t.Errorf("the cursor goes to %v, want to the last due time fired", o.upTo)
			}
			if len(o.fire) == 0 && o.skipped > 0 && o.upTo.IsZero() {
				t.Error("the cursor stays, so the same would be skipped again")
			}
		})
	}
}

// triggers draws one to three triggers of a type.
func triggers(t *rapid.T) Plan {
	schedules := []string{`{"cron":"*/5 * * * *"}`, `{"cron":"15,45 10 3 * * *","timezone":"Australia/Lord_Howe"}`,
		`{"cron":"30 1,2 * * *","timezone":"America/New_York"}`, `{"cron":"0 0 29 2 *"}`, `{"cron":"0 */6 * * 1-5","timezone":"Europe/Berlin"}`,
		`{"cron":"59 59 23 31 * *","timezone":"Asia/Kathmandu"}`, `{"cron":"* * * * * *"}`}
	intervals := []string{`{"interval":"1 second"}`, `{"interval":"7 minutes"}`, `{"interval":"1 month"}`, `{"interval":"3 quarters"}`,
		`{"interval":"36 hours"}`, `{"interval":"2 weeks"}`}
	if rapid.Bool().Draw(t, "schedule") {
		return plan(t, actions.TypeSchedule, rapid.SliceOfN(rapid.SampledFrom(schedules), 1, 3).Draw(t, "triggers")...)
	}
	return plan(t, actions.TypeInterval, rapid.SliceOfN(rapid.SampledFrom(intervals), 1, 3).Draw(t, "triggers")...)
}

func TestLatestAgreesWithNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := triggers(t)
		after := anchor.Add(time.Duration(rapid.Int64Range(-1e6, 1e8).Draw(t, "after")) * time.Second)
		now := after.Add(time.Duration(rapid.Int64Range(0, 15_000_000).Draw(t, "for")) * time.Millisecond)
		if rapid.Bool().Draw(t, "long") {
			now = after.Add(time.Duration(rapid.Int64Range(0, 50*86400).Draw(t, "for")) * time.Second)
		}
		latest, missed := p.Latest(after, now)
		var want time.Time
		count := -1
		for due := p.Next(after); !due.IsZero() && !due.After(now) && count < 60_000; due = p.Next(due) {
			if !due.After(want) {
				t.Fatalf("%v is not after %v", due, want)
			}
			want = due
			count++
		}
		if count == 60_000 { // of a second, for days: too long to go through
			want = now.Truncate(time.Second)
		}
		if !latest.Equal(want) || missed != min(max(count, 0), maxMissed) {
			t.Fatalf("from %v to %v: got %v after %d, want %v after %d", after, now, latest, missed, want, count)
		}
	})
}
