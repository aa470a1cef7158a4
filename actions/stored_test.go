package actions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// noter does actions of kind "note": it keeps their text.
type noter struct{ seen chan string }

func (n *noter) Kind() string { return "note" }
func (n *noter) Close() error { return nil }
func (n *noter) Spec() Spec {
	return Spec{Kind: "note", Fields: []Field{{Name: "text", Form: TextForm, Need: true, Vars: true}}}
}

func (n *noter) Prepare(job *queue.Job) (queue.Work, error) {
	var p struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := Decode("note", job.Action, &p); err != nil {
		return nil, err
	}
	if p.Text == "bad" {
		return nil, queue.Permanent(errors.New("note: field \"text\": is bad"))
	}
	vars, err := JobVariables(job)
	if err != nil {
		return nil, queue.Permanent(err)
	}
	text, err := vars.Fill(p.Text, Plain)
	return &noting{n, text}, err
}

type noting struct {
	n    *noter
	text string
}

func (*noting) Kind() string     { return "note" }
func (*noting) Lane() string     { return "note/pad" }
func (*noting) MaxAttempts() int { return 3 }
func (w *noting) Do(context.Context, *queue.Claim) (queue.Reply, error) {
	w.n.seen <- w.text
	return queue.Reply{Stage: "done"}, nil
}

// storedSite is a pool that does jobs of stored actions.
type storedSite struct {
	shelf
	t        *testing.T
	client   *queue.Client
	registry *Registry
	noter    *noter
}

func newStoredSite(t *testing.T) *storedSite {
	s := &storedSite{t: t, noter: &noter{seen: make(chan string, 10)}}
	s.registry = NewRegistry(s.noter)
	s.shelf = newShelf(t)
	s.Store.catalog = s.registry.Catalog()
	worker := s.another(t) // its copy is older than ours, as in another process
	worker.catalog = s.registry.Catalog()
	s.registry.UseStored(worker)
	s.client = queue.NewClient(s.rdb, queue.ClientOptions{Prefix: s.keyring.Prefix()})
	queuetest.Run(t, queue.PoolConfig{Redis: s.rdb, Prefix: s.keyring.Prefix(), Slots: 4, LaneSlots: 4, Lease: queue.MinLease}, s.registry)
	return s
}

func (s *storedSite) store(body string) Definition {
	s.t.Helper()
	c, err := s.registry.DecodeDefinition([]byte(body))
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := s.Create(s.t.Context(), "test", c)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// send sends a job of the action and returns how it ended.
func (s *storedSite) send(id string) queue.Status {
	s.t.Helper()
	receipts, err := s.client.Enqueue(s.t.Context(), json.RawMessage(`{"action_id":"`+id+`","data":[{"variable":"t","value":73}]}`))
	if err != nil {
		s.t.Fatal(err)
	}
	var status queue.Status
	queuetest.Eventually(s.t, "the job ends", func() bool {
		status, err = s.client.Show(s.t.Context(), receipts[0].ID)
		return err == nil && (status.State == queue.Done || status.State == queue.Dead)
	})
	return status
}

func TestAJobDoesWhatItsStoredActionSaysNow(t *testing.T) {
	s := newStoredSite(t)
	d := s.store(`{"name":"n","action":{"type":"note","text":"$VARIABLE$ is $VALUE$, $ACTION.STATE$"}}`)
	for _, tt := range []struct{ edit, want string }{
		{"", "t is 73, unlocked"},
		{`{"lock":true}`, "t is 73, locked"},
		{`{"action":{"type":"note","text":"changed"}}`, "changed"},
	} {
		if tt.edit != "" {
			c, err := s.registry.DecodeDefinition([]byte(tt.edit))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Edit(t.Context(), "test", d.ID, c); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.send(d.ID); got.State != queue.Done || got.Kind != "note" || got.Used != 1 {
			t.Errorf("after %q: got %+v", tt.edit, got)
		}
		if got := <-s.noter.seen; got != tt.want {
			t.Errorf("after %q: got %q, want %q", tt.edit, got, tt.want)
		}
	}
}

func TestAJobOfAStoredActionThatCannotBeDoneIsDeadAndSaysWhy(t *testing.T) {
	s := newStoredSite(t)
	off := s.store(`{"name":"n","active":false,"action":{"type":"note","text":"x"}}`)
	kept := s.store(`{"name":"n","action":{"type":"sms","to":"1","message":"m"}}`)
	gone := s.store(`{"name":"n","action":{"type":"note","text":"x"}}`)
	if got := s.send(gone.ID); got.State != queue.Done {
		t.Fatalf("got %+v", got)
	}
	if err := s.Delete(t.Context(), "test", gone.ID); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, id, text string }{
		{"inactive", off.ID, "is not active: activate it"},
		{"of a type that nothing does", kept.ID, "kept for clients"},
		{"deleted", gone.ID, "no stored action has the id"},
		{"never there", "0123456789abcdef01234567", "no stored action has the id"},
	} {
		got := s.send(tt.id)
		if got.State != queue.Dead || !strings.Contains(got.Text, tt.text) {
			t.Errorf("%s: got %s %q, want dead with %q", tt.name, got.State, got.Text, tt.text)
		}
	}
}

func TestWhatCannotBePreparedIsNotStored(t *testing.T) {
	r := NewRegistry(&noter{})
	_, err := r.DecodeDefinition([]byte(`{"name":"n","action":{"type":"note","text":"bad"}}`))
	if err == nil || err.Error() != `action: field "text": is bad` {
		t.Errorf("got %v", err)
	}
}
