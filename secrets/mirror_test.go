package secrets

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestMirrorIsReadToTheEnd(t *testing.T) {
	m := NewMirror()
	ctx, cancel := context.WithCancel(t.Context())
	err := m.View(ctx, "r1", func(reading context.Context) (func(), error) {
		cancel()
		return func() {}, reading.Err()
	}, func() {})
	if err != nil {
		t.Fatalf("a reading whose caller gave up: %v, want it finished", err)
	}
	looked := false
	if err := m.View(t.Context(), "r1", nil, func() { looked = true }); err != nil || !looked {
		t.Errorf("the next caller looks: %v, %v, want true without reading", looked, err)
	}
}

func TestMirrorReadsOncePerRevision(t *testing.T) {
	m := NewMirror()
	reads, copied := 0, ""
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := m.View(t.Context(), "r1", func(context.Context) (func(), error) {
				reads++ // alone, so no race
				return func() { copied = "r1" }, nil
			}, func() {
				if copied != "r1" {
					t.Errorf("copy = %q, want r1", copied)
				}
			})
			if err != nil {
				t.Errorf("View: %v", err)
			}
		})
	}
	wg.Wait()
	if reads != 1 {
		t.Errorf("%d readings, want 1", reads)
	}
}

func TestMirrorShowsNothingAfterAFailedReading(t *testing.T) {
	m := NewMirror()
	broken := errors.New("broken")
	fail := func(context.Context) (func(), error) { return nil, broken }
	if err := m.View(t.Context(), "r1", fail, func() { t.Error("looked") }); !errors.Is(err, broken) {
		t.Errorf("View = %v, want the reading's error", err)
	}
	if err := m.View(t.Context(), "r1", func(context.Context) (func(), error) { return func() {}, nil }, func() {}); err != nil {
		t.Errorf("the next reading: %v", err)
	}
	if err := m.Alone(t.Context(), func() error { m.Change(func() {}); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := m.View(t.Context(), "r1", fail, func() {}); !errors.Is(err, broken) {
		t.Errorf("View after Change = %v, want a new reading", err)
	}
}

func TestMirrorWaitsNoLongerThanItsCaller(t *testing.T) {
	m := NewMirror()
	_ = m.Alone(t.Context(), func() error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.View(ctx, "r1", nil, func() {}); !errors.Is(err, context.Canceled) {
			t.Errorf("View = %v, want Canceled", err)
		}
		return nil
	})
}
