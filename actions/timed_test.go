package actions

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
)

func TestTriggersByTimeAreCheckedWhenTheyAreStored(t *testing.T) {
	s := newShelf(t)
	for _, tt := range []struct{ name, typ, trigger, want string }{
		{"a day that never comes", "schedule", `{"cron":"0 0 31 2 *"}`, "trigger[0].cron: Invalid cron: it names a day that never comes"},
		{"an hour too many", "schedule", `{"cron":"0 24 * * *"}`, "trigger[0].cron: Invalid cron: want 5 fields, or 6 with the seconds first"},
		{"not the form of one", "schedule", `{"cron":"daily"}`, "trigger[0].cron: Invalid cron"},
		{"an unknown zone", "schedule", `{"cron":"0 0 * * *","timezone":"Mars/Olympus"}`,
			"trigger[0].timezone: Invalid timezone: want the name of an IANA time zone, such as Europe/Berlin"},
		{"the machine's zone", "schedule", `{"cron":"0 0 * * *","timezone":"Local"}`, "trigger[0].timezone: Invalid timezone: want"},
		{"a number as a zone", "schedule", `{"cron":"0 0 * * *","timezone":1}`, "trigger[0].timezone: Expected string, received number"},
		{"no interval", "interval", `{"interval":"0 days"}`, "trigger[0].interval: Invalid interval"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := decoded(t, `{"name":"n","type":"`+tt.typ+`","trigger":[`+tt.trigger+`],"action":{"type":"sms","to":"+1","message":"m"}}`)
			_, err := s.Create(t.Context(), "test", c)
			var invalid *InvalidError
			if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want only %s", err, tt.want)
			}
		})
	}
}

func TestAnchorMovesWithTheRhythmOnly(t *testing.T) {
	s := newShelf(t)
	clock := time.UnixMilli(1_800_000_000_000).UTC()
	s.now = func() time.Time { clock = clock.Add(time.Minute); return clock }
	d := s.create(t, `{"name":"n","type":"interval","trigger":[{"interval":"3 minutes"}],"action":{"type":"sms","to":"+1","message":"m"}}`)
	if !d.Anchor.Equal(d.Created) {
		t.Errorf("anchor of a new action is %v, want when it was created, %v", d.Anchor, d.Created)
	}
	for _, tt := range []struct {
		name, body string
		moves      bool
	}{
		{"another name", `{"name":"m"}`, false},
		{"the same trigger again", `{"trigger":[{"interval":"3 minutes","unknown":1}]}`, false},
		{"another trigger", `{"trigger":[{"interval":"4 minutes"}]}`, true},
		{"off", `{"active":false}`, false},
		{"on", `{"active":true}`, true},
		{"still on", `{"active":true}`, false},
		{"locked", `{"lock":true}`, false},
		{"another type", `{"type":"schedule","trigger":[{"cron":"0 5 * * *"}]}`, true},
	} {
		before := d.Anchor
		if _, err := s.Edit(t.Context(), "test", d.ID, decoded(t, tt.body)); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var err error
		if d, err = s.another(t).Get(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
		if moved := d.Anchor.After(before); moved != tt.moves || moved && !d.Anchor.Equal(d.Updated) {
			t.Errorf("%s: anchor %v, before %v, updated %v; want moved: %v", tt.name, d.Anchor, before, d.Updated, tt.moves)
		}
	}
}

func TestTimedTellsOnlyChanges(t *testing.T) {
	s := newShelf(t)
	other := s.another(t)
	timed := func(seen int64) ([]string, int64) {
		t.Helper()
		list, state, err := other.Timed(t.Context(), seen)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, d := range list {
			ids = append(ids, d.ID)
		}
		if list == nil {
			ids = []string{"unchanged"}
		}
		return ids, state
	}
	ids, state := timed(0)
	if ids != nil {
		t.Errorf("of an empty store: %v", ids)
	}
	s.create(t, postBody)
	d := s.create(t, `{"name":"n","type":"interval","trigger":[{"interval":"3 minutes"}],"action":{"type":"sms","to":"+1","message":"m"}}`)
	ids, state = timed(state)
	if diff := cmp.Diff(ids, []string{d.ID}); diff != "" {
		t.Errorf("with one interval, -got +want:\n%s", diff)
	}
	if ids, _ = timed(state); ids[0] != "unchanged" {
		t.Errorf("asked again: %v", ids)
	}
	if _, err := s.Edit(t.Context(), "test", d.ID, decoded(t, `{"active":false}`)); err != nil {
		t.Fatal(err)
	}
	if ids, _ = timed(state); ids != nil {
		t.Errorf("switched off: %v", ids)
	}
}

func TestCursorsOnlyMoveForward(t *testing.T) {
	s := newShelf(t)
	d := s.create(t, postBody)
	cursor := func(base, sec int64) secrets.Cursor {
		return secrets.Cursor{Base: time.UnixMilli(base).UTC(), At: time.Unix(sec, 0).UTC()}
	}
	for _, tt := range []struct {
		name    string
		to      secrets.Cursor
		run     int64 // s; 0 for none
		moved   bool
		want    secrets.Cursor
		wantRun int64
	}{
		{"the first", cursor(7, 100), 101, true, cursor(7, 100), 101},
		{"further", cursor(7, 200), 201, true, cursor(7, 200), 201},
		{"the same", cursor(7, 200), 999, false, cursor(7, 200), 201},
		{"back", cursor(7, 150), 999, false, cursor(7, 200), 201},
		{"without a run", cursor(7, 300), 0, true, cursor(7, 300), 201},
		{"from an earlier anchor", cursor(6, 400), 999, false, cursor(7, 300), 201},
		{"from a later anchor", cursor(8, 50), 301, true, cursor(8, 50), 301},
	} {
		step := secrets.CursorStep{Field: d.ID, To: tt.to}
		if tt.run > 0 {
			step.Run = time.Unix(tt.run, 0)
		}
		moved, err := s.Advance(t.Context(), step)
		if err != nil || len(moved) != 1 || moved[0] != tt.moved {
			t.Errorf("%s: moved %v, %v, want %v", tt.name, moved, err, tt.moved)
		}
		now, cursors, err := s.Cursors(t.Context(), "000000000000000000000000", d.ID)
		if err != nil || now.IsZero() {
			t.Fatalf("%s: at %v: %v", tt.name, now, err)
		}
		if diff := cmp.Diff(cursors, []secrets.Cursor{{}, tt.want}); diff != "" {
			t.Errorf("%s: -got +want:\n%s", tt.name, diff)
		}
		if last, err := s.LastTriggered(t.Context(), d.ID); err != nil || last[0].Unix() != tt.wantRun {
			t.Errorf("%s: last triggered %v, %v, want %d", tt.name, last, err, tt.wantRun)
		}
	}
	if err := s.Delete(t.Context(), "test", d.ID); err != nil {
		t.Fatal(err)
	}
	if moved, err := s.Advance(t.Context(), secrets.CursorStep{Field: d.ID, To: cursor(9, 400)}); err != nil || moved[0] {
		t.Errorf("of a deleted action: moved %v, %v", moved, err)
	}
	if n := s.rdb.HLen(t.Context(), s.base+"actions:cursor").Val(); n != 0 {
		t.Errorf("%d cursors are left of a deleted action", n)
	}
}
