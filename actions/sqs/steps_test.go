package sqs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestTestSaysHowFarItCame(t *testing.T) {
	answer := func(status int, code string) func(*world) {
		return func(w *world) {
			w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault { return &sink.SQSFault{Status: status, Code: code} })
		}
	}
	tests := []struct {
		name  string
		world func(w *world)
		want  string
	}{
		{"all well", func(*world) {}, "secret dial auth queue"},
		{"no such secret", func(w *world) { w.vault.err = secrets.ErrNotFound }, "!secret"},
		{"bad endpoint", func(w *world) { w.vault.secret.Endpoint = "" }, "secret !endpoint"},
		{"nobody listens", func(w *world) { _ = w.sink.Close() }, "secret !dial"},
		{"private address", func(w *world) { w.action.config.Guard = nil }, "secret !dial"},
		{"no TLS", func(w *world) { w.vault.secret.Endpoint = "https" + w.vault.secret.Endpoint[4:] }, "secret dial !tls"},
		{"wrong key", func(w *world) { w.vault.secret.SecretAccessKey = redact.New("wrong") }, "secret dial !auth"},
		{"no queue", func(w *world) { w.vault.secret.QueueURL += "x" }, "secret dial auth !queue"},
		{"attributes may not be read", answer(403, "AccessDenied"), "secret dial auth queue"},
		{"service is down", answer(500, "InternalError"), "secret dial !queue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, "orders")
			tt.world(w)
			var names []string
			for _, s := range w.action.Test(t.Context(), w.vault.secret.Ref) {
				if s.OK {
					names = append(names, s.Name)
				} else {
					names = append(names, "!"+s.Name)
				}
				if !s.OK && s.Text == "" {
					t.Errorf("step %s: no text says why", s.Name)
				}
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("steps: got %s, want %s", got, tt.want)
			}
			if got := w.sink.Calls("SendMessageBatch") + w.sink.Calls("SendMessage"); got != 0 {
				t.Errorf("messages sent by the test: got %d, want 0", got)
			}
		})
	}
}

func TestASecretThatPassesItsTestIsTriedAgain(t *testing.T) {
	w := start(t, "orders")
	id, key := w.sink.Keys()
	w.sink.SetKeys(id, "other", "")
	if _, err := w.do(t.Context(), t, job("j", plainAction, `{}`)); outcomeOf(err) != "parked" {
		t.Fatalf("Do: got %v, want parked", err)
	}
	w.sink.SetKeys(id, key, "")
	if _, err := w.do(t.Context(), t, job("j", plainAction, `{}`)); outcomeOf(err) != "parked" {
		t.Fatalf("Do while the refusal is remembered: got %v, want parked", err)
	}
	steps := w.action.Test(t.Context(), w.vault.secret.Ref)
	if last := steps[len(steps)-1]; !last.OK {
		t.Fatalf("Test: got %s", fmt.Sprint(steps))
	}
	if _, err := w.do(t.Context(), t, job("j", plainAction, `{}`)); err != nil {
		t.Errorf("Do after the test: %v", err)
	}
}
