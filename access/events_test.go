package access

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// next returns the listener's next event, or fails after a while.
func next(t *testing.T, l *Listener) Event {
	t.Helper()
	select {
	case ev, ok := <-l.Events():
		if !ok {
			t.Fatal("the listener was dropped")
		}
		return ev
	case <-time.After(5 * time.Second):
		t.Fatal("no event within 5 s")
	}
	return Event{}
}

func listen(t *testing.T, d *Directory, topics ...Topic) *Listener {
	t.Helper()
	l, err := d.Listen(t.Context(), topics...)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestARunReachesTheListenersOfAllProcesses(t *testing.T) {
	b := first(t, realRedis(t))
	other := another(t, b)
	a, _ := b.analysis(t, AnalysisChange{})
	stranger, _ := b.analysis(t, AnalysisChange{})
	here, there := listen(t, b.dir, Topic{EventRun, a.ID}), listen(t, other.dir, Topic{EventRun, a.ID})
	second := listen(t, other.dir, Topic{EventConsole, a.ID}, Topic{EventRun, a.ID})
	nobody := listen(t, other.dir, Topic{EventRun, stranger.ID})
	err := b.dir.Run(t.Context(), secrets.Use{Actor: "admin x", Why: "run"}, a.ID, json.RawMessage(`[{"variable":"t"}]`))
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	for name, l := range map[string]*Listener{"the same process": here, "another": there, "one with two topics": second} {
		if got := next(t, l); got.Analysis != a.ID || got.Kind != EventRun || string(got.Data) != `[{"variable":"t"}]` {
			t.Errorf("%s: got %+v, want the run with its data", name, got)
		}
	}
	if len(nobody.Events()) != 0 {
		t.Error("a listener of another analysis was told")
	}
	runs, err := b.dir.LastRuns(t.Context(), a.ID)
	if err != nil || runs[0].IsZero() {
		t.Errorf("last run: got %v, %v, want it noted", runs, err)
	}
	entries, err := b.store.Audit(t.Context(), 1)
	if err != nil || entries[0].Op != "analysis run" || entries[0].ID != a.ID || entries[0].Actor != "admin x" {
		t.Errorf("audit: got %+v, %v, want the run", entries, err)
	}
}

func TestWhatCannotRunIsToldToNobody(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{Active: new(false)})
	l := listen(t, b.dir, Topic{EventRun, a.ID})
	for id, want := range map[string]error{a.ID: ErrInactive, "0123456789abcdef01234567": ErrAnalysisNotFound} {
		if err := b.dir.Run(t.Context(), secrets.Use{}, id, nil); !errors.Is(err, want) {
			t.Errorf("Run: got %v, want %v", err, want)
		}
	}
	if len(l.Events()) != 0 {
		t.Error("the listener was told of a run that is none")
	}
}

func TestASlowListenerIsDroppedAndTheOthersAreServed(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	topic := Topic{EventRun, a.ID}
	slow, quick := listen(t, b.dir, topic), listen(t, b.dir, topic)
	for i := range 2 * eventBuffer {
		if err := b.dir.Run(t.Context(), secrets.Use{Actor: "x"}, a.ID, json.RawMessage(`[]`)); err != nil {
			t.Fatalf("Run %d: %v", i, err)
		}
		next(t, quick)
	}
	n := 0
	for range slow.Events() { // ends because the channel was closed
		n++
	}
	if n != eventBuffer {
		t.Errorf("slow listener: got %d events before it was dropped, want %d", n, eventBuffer)
	}
	slow.Close()
	slow.Close()
	quick.Close()
	b.dir.events.mu.Lock()
	defer b.dir.events.mu.Unlock()
	if b.dir.events.sub != nil || len(b.dir.events.open)+len(b.dir.events.byTopic) != 0 {
		t.Errorf("after the last: got %+v, want no subscription and nobody in it", b.dir.events)
	}
}

func TestListenersAreBounded(t *testing.T) {
	b := first(t, realRedis(t))
	topic := Topic{EventRun, "0123456789abcdef01234567"}
	for range maxTopic {
		listen(t, b.dir, topic)
	}
	if _, err := b.dir.Listen(t.Context(), topic); !errors.Is(err, ErrListeners) {
		t.Errorf("one more: got %v, want ErrListeners", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := another(t, b).dir.Listen(ended, topic); err == nil {
		t.Error("a caller who has gone listens")
	}
}

func TestTheConsoleIsMaskedKeptShortAndTold(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{Variables: vars("OWN", "shown as it is")})
	b.secret(t, "PLAIN", "canary-plain-value")
	b.secret(t, "MAIL", `{"smtp_server":"mail.example.org","username":"ann","password":"canary-password"}`)
	b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	l := listen(t, b.dir, Topic{EventConsole, a.ID})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range consoleLines + 5 {
		text := "got canary-plain-value and canary-password, shown as it is\nmail.example.org"
		if i == 0 {
			text = strings.Repeat("long ", maxLine)
		}
		if err := b.dir.WriteConsole(t.Context(), a.ID, ConsoleLine{At: at, Message: text}); err != nil {
			t.Fatalf("WriteConsole: %v", err)
		}
		next(t, l)
	}
	lines, err := b.dir.Console(t.Context(), a.ID)
	if err != nil || len(lines) != consoleLines {
		t.Fatalf("console: got %d lines, %v, want the last %d", len(lines), err, consoleLines)
	}
	want := ConsoleLine{At: at, Message: "got [redacted] and [redacted], shown as it is\nmail.example.org"}
	if lines[0] != want {
		t.Errorf("line: got %+v, want %+v", lines[0], want)
	}
	entries, err := b.store.Audit(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	masked := 0
	for _, e := range entries {
		if e.Why == "mask console" {
			masked++
		}
	}
	if masked != 1 {
		t.Errorf("audit: got %d entries of masking, want 1 for all lines", masked)
	}
	b.secret(t, "NEW", "canary-new-value")
	if err := b.dir.WriteConsole(t.Context(), a.ID, ConsoleLine{Message: "canary-new-value"}); err != nil {
		t.Fatal(err)
	}
	if ev := next(t, l); strings.Contains(string(ev.Data), "canary") {
		t.Errorf("a secret that came later: got %s, want it masked", ev.Data)
	}
}

func TestAnEventThatSomebodyElsePublishedIsIgnored(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	l := listen(t, b.dir, Topic{EventRun, a.ID})
	ours, err := b.dir.events.payload(Event{Kind: EventRun, Analysis: a.ID, Data: json.RawMessage(`["ours"]`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, forged := range []string{
		"", "x", `{"kind":"run","analysis":"` + a.ID + `","data":[]}`, ` {"kind":"run","analysis":"` + a.ID + `","data":[]}`,
		strings.Replace(ours, "ours", "thei", 1), strings.ToUpper(ours),
	} {
		if err := b.rdb.Publish(t.Context(), b.dir.events.channel, forged).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.rdb.Publish(t.Context(), b.dir.events.channel, ours).Err(); err != nil {
		t.Fatal(err)
	}
	if got := next(t, l); string(got.Data) != `["ours"]` {
		t.Errorf("got %s, want ours alone", got.Data)
	}
}

func TestAListenerHearsAgainWhenItsLineToRedisBroke(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	l := listen(t, b.dir, Topic{EventRun, a.ID})
	if err := b.rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatalf("CLIENT KILL: %v", err)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err := b.dir.Run(t.Context(), secrets.Use{Actor: "x"}, a.ID, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case _, ok := <-l.Events():
			if !ok {
				t.Error("the listener was dropped")
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("no event reaches the listener within 20 s")
}
