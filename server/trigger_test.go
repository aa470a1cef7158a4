package server

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

func TestATriggeredRunHasItsFactsAndIsConfirmed(t *testing.T) {
	s := newSite(t)
	other := s.process()
	s.grantSecret("DB_URL", "canary-secret-value")
	s.setVariables("_action_id", "of the analysis itself")
	id := s.tokenID[analysisKind]
	l := other.listen(analysisKind, "channels=analysis_trigger")
	start := access.Start{Data: json.RawMessage(`[{"variable":"t"}]`), Facts: []access.Fact{
		{Key: "_action_id", Value: "5f5a8f3351d4db99c40dea9e"}, {Key: "_device_id", Value: ""}}}
	err := s.directory.Trigger(t.Context(), secrets.Use{Actor: "worker w", Why: "job j-1"}, id, start)
	if err != nil {
		t.Fatalf("Trigger: %v", err)
	}
	_, payload := l.next()
	want := map[string]any{"analysis_id": id, "token": s.token[analysisKind], "data": []any{map[string]any{"variable": "t"}},
		"environment": []any{map[string]any{"key": "DB_URL", "value": "canary-secret-value"},
			map[string]any{"key": "_action_id", "value": "5f5a8f3351d4db99c40dea9e"}, map[string]any{"key": "_device_id", "value": ""}}}
	if diff := cmp.Diff(payload, want); diff != "" {
		t.Errorf("payload (-got +want):\n%s", diff)
	}
	entries, err := s.store.Audit(t.Context(), 20)
	if err != nil {
		t.Fatal(err)
	}
	opened := false
	for _, e := range entries {
		opened = opened || e.Op == "environment" && e.Why == "job j-1" && e.ID == id
	}
	if !opened {
		t.Errorf("audit: got %+v, want the environment opened for the job", entries)
	}
}

func TestARunThatReachesNoClientIsNotConfirmed(t *testing.T) {
	s := newSite(t)
	id := s.tokenID[analysisKind]
	gone := s.listen(analysisKind, "channels=analysis_trigger")
	gone.cancel()
	<-gone.ended
	console := s.listen(analysisKind, "channels=analysis_console."+id)
	if err := s.directory.Trigger(t.Context(), secrets.Use{Actor: "worker w"}, id, access.Start{}); !errors.Is(err, access.ErrNobodyListens) {
		t.Errorf("Trigger: got %v, want ErrNobodyListens", err)
	}
	if len(console.blocks) != 0 {
		t.Errorf("a listener to the console was told: %s", <-console.blocks)
	}
}
