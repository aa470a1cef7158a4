package access

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
)

// takes answers every run that comes to a listener.
func takes(t *testing.T, d *Directory, l *Listener) *sync.WaitGroup {
	t.Helper()
	var all sync.WaitGroup
	all.Go(func() {
		for ev := range l.Events() {
			if err := d.Taken(context.WithoutCancel(t.Context()), ev); err != nil {
				t.Errorf("Taken: %v", err)
			}
		}
	})
	return &all
}

func TestATriggerKnowsThatItWasTaken(t *testing.T) {
	b := first(t, realRedis(t))
	other := another(t, b)
	a, _ := b.analysis(t, AnalysisChange{})
	watch := listen(t, b.dir, Topic{EventRun, a.ID})
	taker := listen(t, other.dir, Topic{EventRun, a.ID})
	done := takes(t, other.dir, taker)
	facts := []Fact{{"_action_id", "5f5a8f3351d4db99c40dea9e"}}
	start := Start{Facts: facts, Data: json.RawMessage(`[{"variable":"t"}]`)}
	if err := b.dir.Trigger(t.Context(), secrets.Use{Actor: "worker w", Why: "job j"}, a.ID, start); err != nil {
		t.Fatalf("Trigger: %v", err)
	}
	got := next(t, watch)
	if got.Run == "" || got.Why != "job j" || string(got.Data) != `[{"variable":"t"}]` || cmp.Diff(got.Facts, facts) != "" {
		t.Errorf("event: got %+v, want the job's data and facts", got)
	}
	runs, err := b.dir.LastRuns(t.Context(), a.ID)
	if err != nil || runs[0].IsZero() {
		t.Errorf("last run: got %v, %v, want it noted", runs, err)
	}
	entries, err := b.store.Audit(t.Context(), 1)
	if err != nil || entries[0].Op != "analysis run" || entries[0].Actor != "worker w" || entries[0].Why != "job j" {
		t.Errorf("audit: got %+v, %v, want the run", entries, err)
	}
	taker.Close()
	done.Wait()
}

func TestATriggerThatNobodyTakesIsNotLost(t *testing.T) {
	b := first(t, realRedis(t))
	other := another(t, b)
	a, _ := b.analysis(t, AnalysisChange{})
	stranger, _ := b.analysis(t, AnalysisChange{})
	off, _ := b.analysis(t, AnalysisChange{Active: new(false)})
	// Listeners to other things, in both processes: PUBLISH counts them.
	l := listen(t, other.dir, Topic{EventRun, stranger.ID}, Topic{EventConsole, a.ID})
	listen(t, b.dir, Topic{EventRun, stranger.ID})
	start := time.Now()
	if err := b.dir.Trigger(t.Context(), secrets.Use{Actor: "x"}, a.ID, Start{}); !errors.Is(err, ErrNobodyListens) {
		t.Errorf("Trigger: got %v, want ErrNobodyListens", err)
	}
	if took := time.Since(start); took < takenTime || took > takenTime+10*time.Second {
		t.Errorf("Trigger took %v, want %v", took, takenTime)
	}
	if len(l.Events()) != 0 {
		t.Error("a listener of another analysis was told")
	}
	if runs, err := b.dir.LastRuns(t.Context(), a.ID); err != nil || !runs[0].IsZero() {
		t.Errorf("last run: got %v, %v, want none", runs, err)
	}
	for id, want := range map[string]error{off.ID: ErrInactive, "0123456789abcdef01234567": ErrAnalysisNotFound} {
		if err := b.dir.Trigger(t.Context(), secrets.Use{}, id, Start{}); !errors.Is(err, want) {
			t.Errorf("Trigger: got %v, want %v", err, want)
		}
	}
	stopped, stop := context.WithCancelCause(t.Context())
	cause := errors.New("stop")
	time.AfterFunc(50*time.Millisecond, func() { stop(cause) })
	if err := b.dir.Trigger(stopped, secrets.Use{Actor: "x"}, a.ID, Start{}); !errors.Is(err, cause) || !errors.Is(err, ErrPerhapsTaken) {
		t.Errorf("stopped: got %v, want its cause and ErrPerhapsTaken", err)
	}
}
