package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sender is an action that only counts.
type sender struct {
	kind     string
	prepared int
	closeErr error
}

func (s *sender) Kind() string                                  { return s.kind }
func (s *sender) Spec() Spec                                    { return Spec{Kind: s.kind} }
func (s *sender) Prepare(*queue.Job) (queue.Work, error)        { s.prepared++; return nil, nil }
func (s *sender) Close() error                                  { return s.closeErr }
func (s *sender) SecretType() secrets.Type                      { return secrets.Type("secret of " + s.kind) }
func (s *sender) Test(context.Context, secrets.Ref) (st []Step) { return nil }

func TestRegistryFindsTheAction(t *testing.T) {
	a, b := &sender{kind: "a"}, &sender{kind: "b"}
	r := NewRegistry(b, a)
	if d := cmp.Diff(r.Kinds(), []string{"a", "b"}); d != "" {
		t.Error(d)
	}
	if _, err := r.Prepare(&queue.Job{Action: json.RawMessage(`{"to":"x","type":"b"}`)}); err != nil || b.prepared != 1 || a.prepared != 0 {
		t.Errorf("got %v, a %d, b %d", err, a.prepared, b.prepared)
	}
	if got, ok := r.Tester("secret of a"); !ok || got != Tester(a) {
		t.Errorf("got %v %v", got, ok)
	}
	if _, ok := r.Tester("other"); ok {
		t.Error("a tester for an unknown type")
	}
}

func TestRegistryBuriesJobsItCannotDo(t *testing.T) {
	r := NewRegistry(&sender{kind: "a"}, &sender{kind: "b"})
	for _, tt := range []struct {
		name string
		job  queue.Job
		want string
	}{
		{"no action", queue.Job{}, "neither"},
		{"a stored action", queue.Job{ActionID: "0123456789abcdef01234567"}, "stored actions"},
		{"an unknown type", queue.Job{Action: json.RawMessage(`{"type":"fax"}`)}, `no type "fax" (known types: a, b)`},
		{"a missing type", queue.Job{Action: json.RawMessage(`{"to":"canary"}`)}, `known types: a, b`},
		{"an empty type", queue.Job{Action: json.RawMessage(`{"type":""}`)}, `"type" is missing`},
		{"a type that is no text", queue.Job{Action: json.RawMessage(`{"type":{"canary":1}}`)}, `"type" is missing or not a text`},
		{"an array", queue.Job{Action: json.RawMessage(`["canary"]`)}, `want a JSON object`},
		{"not JSON", queue.Job{Action: json.RawMessage(`{"type":"a",canary`)}, `want a JSON object`},
		{"a very long type", queue.Job{Action: json.RawMessage(`{"type":"` + strings.Repeat("é", 5000) + `"}`)}, `no type "éé`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Prepare(&tt.job)
			if _, ok := errors.AsType[*queue.PermanentError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %T %v, want permanent %q", err, err, tt.want)
			}
			if strings.Contains(err.Error(), "canary") || len(err.Error()) > 300 {
				t.Errorf("the error repeats the job: %v", err)
			}
		})
	}
}

func TestRegistryPanicsOnTwoOfAKind(t *testing.T) {
	for name, list := range map[string][]Action{
		"two of a kind": {&sender{kind: "a"}, &sender{kind: "a"}},
		"no kind":       {&sender{}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			NewRegistry(list...)
		}()
	}
}

func TestRegistryClosesAllAndJoinsErrors(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	err := NewRegistry(&sender{kind: "a", closeErr: one}, &sender{kind: "b"}, &sender{kind: "c", closeErr: two}).Close()
	if !errors.Is(err, one) || !errors.Is(err, two) {
		t.Errorf("got %v", err)
	}
}

func TestTheFirstRuleThatMatchesWins(t *testing.T) {
	table := Table{
		{Name: "word", Stages: []string{"auth", "mail"}, Min: 400, Max: 499, Text: regexp.MustCompile("(?i)rate"), Reason: Throttled, After: time.Minute},
		{Name: "status", Status: "4.7.*", Reason: Greylisted},
		{Name: "one code", Min: 535, Reason: Credential, Advice: "store a new version"},
		{Name: "rest", Reason: Transient},
	}
	for _, tt := range []struct {
		in   Answer
		want string
	}{
		{Answer{Stage: "mail", Code: 421, Text: "Rate limit"}, "word"},
		{Answer{Stage: "rcpt", Code: 421, Text: "Rate limit"}, "rest"},
		{Answer{Stage: "mail", Code: 500, Text: "rate"}, "rest"},
		{Answer{Stage: "rcpt", Code: 450, Status: "4.7.1"}, "status"},
		{Answer{Stage: "rcpt", Code: 450, Status: "4.7"}, "rest"},
		{Answer{Code: 535}, "one code"},
		{Answer{Code: 536}, "rest"},
		{Answer{}, "rest"},
	} {
		v, ok := table.Classify(tt.in)
		if !ok || v.Rule != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.in, v.Rule, tt.want)
		}
	}
	if v, _ := table.Classify(Answer{Code: 535}); v.Reason != Credential || v.Advice == "" {
		t.Errorf("got %+v", v)
	}
	if _, ok := (Table{}).Classify(Answer{}); ok {
		t.Error("an empty table matched")
	}
}

// outcome names what the queue does with an error.
func outcome(err error) string {
	switch err.(type) {
	case nil:
		return "done"
	case *queue.RetryAfterError:
		return "retry after"
	case *queue.ThrottledError:
		return "throttled"
	case *queue.HandbackError:
		return "handback"
	case *queue.ParkedError:
		return "parked"
	case *queue.PermanentError:
		return "dead"
	}
	return "retry"
}

func TestEveryReasonHasItsOutcome(t *testing.T) {
	for _, tt := range []struct {
		verdict Verdict
		want    string
	}{
		{Verdict{Reason: Transient}, "retry"},
		{Verdict{Reason: Transient, After: time.Second}, "retry after"},
		{Verdict{Reason: Greylisted}, "retry after"},
		{Verdict{Reason: Throttled}, "throttled"},
		{Verdict{Reason: Credential}, "parked"},
		{Verdict{Reason: Destination}, "handback"},
		{Verdict{Reason: Recipient}, "dead"},
		{Verdict{Reason: Payload}, "dead"},
		{Verdict{Reason: Policy}, "dead"},
		{Verdict{Reason: Config}, "dead"},
		{Verdict{Reason: Ambiguous}, "retry"},
	} {
		tt.verdict.Advice = "do this"
		err := Outcome(tt.verdict, "id", 7, errors.New("cause"))
		if got := outcome(err); got != tt.want || err.Error() != "cause: do this" {
			t.Errorf("%s: got %s %q, want %s", tt.verdict.Reason, got, err, tt.want)
		}
		if p, ok := errors.AsType[*queue.ParkedError](err); ok && (p.Secret != "id" || p.Version != 7) {
			t.Errorf("parked on %s %d", p.Secret, p.Version)
		}
	}
}

func TestSecretErrorsBecomeOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		want   string
		reason Reason
		text   string
	}{
		{"not there", fmt.Errorf("x: %w", secrets.ErrNotFound), "dead", Config, `"sealpost secret put MAIL"`},
		{"another type", secrets.ErrWrongType, "dead", Config, "needs a secret of type smtp"},
		{"changed in Redis", secrets.ErrSealBroken, "dead", Config, "sealpost fsck"},
		{"sealed", secrets.ErrSealed, "retry", Transient, "master key"},
		{"Redis away", errors.New("dial redis://:canary@x"), "retry", Transient, "did not answer"},
		{"out of time", context.DeadlineExceeded, "retry", Transient, "deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := SecretError("MAIL", secrets.TypeSMTP, tt.err)
			if got := outcome(err); got != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %s %v, want %s with %q", got, err, tt.want, tt.text)
			}
			if reply.Reason != string(tt.reason) || reply.Stage != "secret" || reply.Rule == "" {
				t.Errorf("reply %+v", reply)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error repeats what the store said: %v", err)
			}
		})
	}
}
