package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/sink"
)

// destination is a peer of a type of action, with its secret stored.
type destination struct {
	action  func(text string) map[string]any // that sends the text and $VALUE$
	arrived func() []string                  // all that came, oldest first
}

// destinations are the types of actions and who receives what they send.
func destinations() map[string]func(*site) destination {
	return map[string]func(*site) destination{
		"email-smtp": mailReceiver,
		"queue-sqs":  queueReceiver,
		"post":       postReceiver,
	}
}

func mailReceiver(s *site) destination {
	mails := s.mailSink()
	return destination{
		action: func(text string) map[string]any {
			return mailAction(map[string]any{"subject": text + " $VALUE$"})
		},
		arrived: func() []string {
			var list []string
			for _, m := range mails.Messages() {
				list = append(list, string(m.Raw))
			}
			return list
		},
	}
}

// sqsSink starts the SQS sink and stores the keys to its queue under QUEUE.
func (s *site) sqsSink(name string) *sink.SQS {
	s.t.Helper()
	q, err := sink.StartSQS(sink.SQSConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = q.Close() })
	id, key := q.Keys()
	s.put("QUEUE", map[string]any{
		"aws_region": q.Region(), "queue_url": q.CreateQueue(name), "endpoint": q.URL(),
		"access_key_id": id, "secret_access_key": key,
	})
	return q
}

// bodies are the bodies of all messages in the queue.
func bodies(q *sink.SQS, name string) []string {
	var list []string
	for _, m := range q.Messages(name) {
		list = append(list, m.Body)
	}
	return list
}

func queueReceiver(s *site) destination {
	q := s.sqsSink("stored")
	return destination{
		action: func(text string) map[string]any {
			return map[string]any{"type": "queue-sqs", "sqs_secret": "QUEUE", "message": text + " $VALUE$"}
		},
		arrived: func() []string { return bodies(q, "stored") },
	}
}

func postReceiver(s *site) destination {
	web, err := sink.StartHTTP(sink.HTTPConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = web.Close() })
	return destination{
		action: func(text string) map[string]any {
			return map[string]any{"type": "post", "url": web.URL() + "/in", "headers": map[string]string{"X-Text": text + " $VALUE$"}}
		},
		arrived: func() []string {
			var list []string
			for _, r := range web.Requests() {
				list = append(list, r.Header.Get("X-Text"))
			}
			return list
		},
	}
}

// file writes v as JSON and returns the path.
func (s *site) file(name string, v any) string {
	s.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// must runs a command that has to work and returns what it printed.
func (s *site) must(args ...string) string {
	s.t.Helper()
	r := s.Run("", args...)
	if err := r.Err(); err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(r.Stdout)
}

// trigger sends a job of the stored action with the data and waits for its end.
func (s *site) trigger(name, data string) {
	s.t.Helper()
	s.must("action", "trigger", name, "--data", data, "--wait", "20s")
}

func TestAStoredActionOfEachTypeSends(t *testing.T) {
	s := newSite(t)
	s.serve()
	for kind, start := range destinations() {
		t.Run(kind, func(t *testing.T) {
			to := start(s)
			name := "stored " + kind
			id := s.must("action", "create", s.file("new.json", map[string]any{"name": name, "type": "condition",
				"trigger": []any{map[string]any{"device": "0123456789abcdef01234567", "variable": "v", "is": "*"}}, "action": to.action("first text")}))
			s.trigger(name, s.file("data.json", []any{map[string]any{"variable": "v", "value": 11}}))
			s.must("action", "edit", id, "--from-file", s.file("edit.json", map[string]any{"action": to.action("second text")}))
			s.trigger(name, s.file("data.json", []any{map[string]any{"variable": "v", "value": 22}}))

			got := to.arrived()
			if len(got) != 2 {
				t.Fatalf("%d arrived, want 2: %.2000q", len(got), got)
			}
			for i, want := range []string{"first text 11", "second text 22"} {
				if !strings.Contains(got[i], want) {
					t.Errorf("trigger %d: got %.2000q, want %q in it", i+1, got[i], want)
				}
			}
			if r := s.Run("", "action", "edit", id, "--active=false"); r.Code != 0 {
				t.Fatal(r.Err())
			}
			if r := s.Run("", "action", "trigger", name, "--wait", "20s"); r.Code == 0 {
				t.Errorf("an inactive action was triggered: %s", r.Stdout)
			}
			if n := len(to.arrived()); n != 2 {
				t.Errorf("%d arrived after the action was made inactive, want 2", n)
			}
		})
	}
}

func TestBatchesOfAStoredAction(t *testing.T) {
	s := newSite(t)
	s.serve()
	q := s.sqsSink("batches")
	var data []any
	for i := range 4 {
		data = append(data, map[string]any{"variable": "v", "value": i})
	}
	path := s.file("data.json", data)
	calls := func() int { return q.Calls("SendMessage") + q.Calls("SendMessageBatch") }
	for _, tt := range []struct {
		enabled bool
		want    int // requests
	}{{true, 1}, {false, 4}} {
		t.Run(fmt.Sprint(tt.enabled), func(t *testing.T) {
			name := fmt.Sprintf("batch %v", tt.enabled)
			s.must("action", "create", s.file("new.json", map[string]any{"name": name, "type": "condition",
				"trigger": []any{map[string]any{"device": "0123456789abcdef01234567", "variable": "v", "is": "*"}},
				"action":  map[string]any{"type": "queue-sqs", "sqs_secret": "QUEUE", "batch_enabled": tt.enabled}}))
			before, had := calls(), len(bodies(q, "batches"))
			s.trigger(name, path)
			if got := calls() - before; got != tt.want {
				t.Errorf("%d requests, want %d", got, tt.want)
			}
			if got := len(bodies(q, "batches")) - had; got != len(data) {
				t.Errorf("%d messages, want %d", got, len(data))
			}
		})
	}
}
