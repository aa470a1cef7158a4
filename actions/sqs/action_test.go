package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestSendsOneMessageForEachDatum(t *testing.T) {
	w := start(t, "orders")
	reply, err := w.do(t.Context(), t, job("j1", plainAction, `{"a":1}`, `{"b":2}`))
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	if diff := cmp.Diff(w.bodies(), []string{`{"a":1}`, `{"b":2}`}); diff != "" {
		t.Errorf("bodies: got - want +\n%s", diff)
	}
	m := w.sink.Messages("orders")[1]
	if diff := cmp.Diff(m.Attributes, map[string]string{attrJob: "j1", attrPart: "2"}); diff != "" {
		t.Errorf("attributes: got - want +\n%s", diff)
	}
	if m.Group != "" || m.DedupID != "" {
		t.Errorf("standard queue: got group %q and dedup id %q, want none", m.Group, m.DedupID)
	}
	reply.Text, _, _ = strings.Cut(reply.Text, ",")
	want := queue.Reply{Secret: secretID, SecretVersion: 1, Stage: "done", Code: "200", Text: "2 messages", Certainty: queue.Accepted}
	if diff := cmp.Diff(reply, want); diff != "" {
		t.Errorf("reply: got - want +\n%s", diff)
	}
}

func TestFIFOTakesARepeatedAttemptOnce(t *testing.T) {
	w := start(t, "orders.fifo")
	j := job("j1", `{"type":"queue-sqs","sqs_secret":"`+secretID+`","group":"g1"}`, `{"a":1}`, `{"a":2}`, `{"a":1}`)
	w.sink.SetFault(func(c sink.SQSCall) *sink.SQSFault { return &sink.SQSFault{CutAfter: c.N == 1} })
	reply, err := w.do(t.Context(), t, j)
	if outcomeOf(err) != "retry" || reply.Certainty != queue.Unknown || reply.Reason != "unknown" {
		t.Fatalf("first attempt: got %+v, %v, want a retry with an unknown end", reply, err)
	}
	if _, err := w.do(t.Context(), t, j); err != nil {
		t.Fatalf("second attempt: %v", err)
	}
	if diff := cmp.Diff(w.bodies(), []string{`{"a":1}`, `{"a":2}`, `{"a":1}`}); diff != "" {
		t.Errorf("bodies: got - want +\n%s", diff)
	}
	if _, err := w.do(t.Context(), t, job("j2", plainAction, `{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	messages := w.sink.Messages("orders.fifo")
	if len(messages) != 4 || messages[0].Group != "g1" || messages[3].Group != defaultGroup {
		t.Errorf("messages: got %d with groups %q and %q, want 4, g1 and %s", len(messages), messages[0].Group, messages[len(messages)-1].Group, defaultGroup)
	}
	for _, m := range messages {
		if len(m.DedupID) == 0 || len(m.DedupID) > 128 {
			t.Errorf("dedup id: got %q", m.DedupID)
		}
	}
}

func TestOnlyTheMessagesThatFailedFail(t *testing.T) {
	w := start(t, "orders")
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
		return &sink.SQSFault{Entry: func(_ int, body string) *sink.SQSEntryError {
			switch body {
			case `{"n":3}`:
				return &sink.SQSEntryError{Code: "InvalidMessageContents", Message: "no", SenderFault: true}
			case `{"n":5}`:
				return &sink.SQSEntryError{Code: "InternalError", Message: "later"}
			}
			return nil
		}}
	})
	outcomes := make([]string, 20)
	var wait sync.WaitGroup
	for i := range outcomes {
		wait.Go(func() {
			_, err := w.do(t.Context(), t, job(fmt.Sprintf("j%d", i), plainAction, fmt.Sprintf(`{"n":%d}`, i)))
			outcomes[i] = outcomeOf(err)
		})
	}
	wait.Wait()
	want := slices.Repeat([]string{"done"}, 20)
	want[3], want[5] = "dead", "retry"
	if diff := cmp.Diff(outcomes, want); diff != "" {
		t.Errorf("outcomes: got - want +\n%s", diff)
	}
	if got := len(w.bodies()); got != 18 {
		t.Errorf("messages: got %d, want 18", got)
	}
}

func TestAPartOfAJobIsSentAgainWithinTheAttempt(t *testing.T) {
	w := start(t, "orders")
	var failed atomic.Bool
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
		return &sink.SQSFault{Entry: func(_ int, body string) *sink.SQSEntryError {
			if body == `{"n":1}` && !failed.Swap(true) {
				return &sink.SQSEntryError{Code: "RequestThrottled", Message: "slow", SenderFault: true}
			}
			return nil
		}}
	})
	reply, err := w.do(t.Context(), t, job("j", plainAction, `{"n":0}`, `{"n":1}`, `{"n":2}`))
	if err != nil || reply.Certainty != queue.Accepted {
		t.Fatalf("Do: got %+v, %v, want done", reply, err)
	}
	if diff := cmp.Diff(w.bodies(), []string{`{"n":0}`, `{"n":2}`, `{"n":1}`}); diff != "" {
		t.Errorf("bodies: got - want +, each once\n%s", diff)
	}
}

func TestAPartOfAJobThatStaysRefusedIsToldApart(t *testing.T) {
	w := start(t, "orders")
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
		return &sink.SQSFault{Entry: func(_ int, body string) *sink.SQSEntryError {
			if body == `{"n":1}` {
				return &sink.SQSEntryError{Code: "InvalidMessageContents", Message: "bad character", SenderFault: true}
			}
			return nil
		}}
	})
	reply, err := w.do(t.Context(), t, job("j", plainAction, `{"n":0}`, `{"n":1}`, `{"n":2}`))
	if outcomeOf(err) != "dead" || reply.Certainty != queue.Rejected || reply.Code != "InvalidMessageContents" {
		t.Fatalf("Do: got %+v, %v", reply, err)
	}
	if want := "2 of 3 messages were accepted; of the others: bad character"; reply.Text != want {
		t.Errorf("text: got %q, want %q", reply.Text, want)
	}
	want := []queue.Part{{ID: "1", State: queue.PartAccepted},
		{ID: "2", State: queue.PartRefused, Code: "InvalidMessageContents", Text: "bad character"}, {ID: "3", State: queue.PartAccepted}}
	if diff := cmp.Diff(reply.Parts, want); diff != "" {
		t.Errorf("parts: got - want +\n%s", diff)
	}
}

func TestWithoutBatchesEachMessageHasItsRequest(t *testing.T) {
	w := start(t, "orders")
	action := strings.TrimSuffix(plainAction, "}") + `,"batch_enabled":false}`
	if _, err := w.do(t.Context(), t, job("j", action, `{"n":0}`, `{"n":1}`, `{"n":2}`)); err != nil {
		t.Fatal(err)
	}
	if n := w.sink.Calls("SendMessageBatch"); n != 3 || len(w.bodies()) != 3 {
		t.Errorf("got %d requests for %d messages, want one for each of 3", n, len(w.bodies()))
	}
}

func TestAWrongKeyIsTriedOnceAndANewVersionWorks(t *testing.T) {
	w := start(t, "orders")
	_, right := w.sink.Keys()
	w.vault.put(func(s *secrets.SQS) { s.SecretAccessKey = redact.New("wrong-hunter2") })
	const jobs = 300
	var wait sync.WaitGroup
	outcomes := make([]error, jobs)
	for i := range jobs {
		wait.Go(func() { _, outcomes[i] = w.do(t.Context(), t, job(fmt.Sprint("j", i), plainAction, `{}`)) })
	}
	wait.Wait()
	for _, err := range outcomes {
		parked, ok := errors.AsType[*queue.ParkedError](err)
		if !ok || parked.Secret != secretID || parked.Version != 2 || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
			t.Fatalf("Do: got %v, want parked on version 2", err)
		}
	}
	if got := w.sink.Calls("SendMessageBatch"); got != 1 {
		t.Errorf("requests with the wrong key: got %d, want 1", got)
	}
	w.vault.put(func(s *secrets.SQS) { s.SecretAccessKey = redact.New(right) })
	if _, err := w.do(t.Context(), t, job("after", plainAction, `{}`)); err != nil {
		t.Errorf("with the new version: %v", err)
	}
	if w.vault.opens != 2 {
		t.Errorf("the secret was opened %d times, want once for each version", w.vault.opens)
	}
}

func TestOutcomes(t *testing.T) {
	blocked := func(w *world) { w.action.config.Guard = nil }
	answer := func(status int, code string) func(*world) {
		return func(w *world) {
			w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
				return &sink.SQSFault{Status: status, Code: code, Message: "words", Header: map[string]string{"Retry-After": "7"}}
			})
		}
	}
	tests := []struct {
		name      string
		world     func(w *world)
		outcome   string
		certainty queue.Certainty
		want      string
	}{
		{"unknown secret", func(w *world) { w.vault.err = secrets.ErrNotFound }, "dead", queue.Rejected, "no such secret"},
		{"secret of another type", func(w *world) { w.vault.secret.Ref.Type = secrets.TypeSMTP }, "dead", queue.Rejected, "another type"},
		{"store is sealed", func(w *world) { w.vault.err = secrets.ErrSealed }, "retry", queue.Rejected, "sealed"},
		{"private endpoint", blocked, "dead", queue.Rejected, "SEALPOST_ALLOW_NET"},
		{"queue without endpoint", func(w *world) { w.vault.secret.Endpoint = "" }, "parked", queue.Rejected, "is not of AWS"},
		{"nobody listens", func(w *world) { _ = w.sink.Close() }, "retry", queue.Rejected, "connection refused"},
		{"queue is gone", func(w *world) { w.vault.secret.QueueURL += "x" }, "parked", queue.Rejected, "QueueDoesNotExist"},
		{"key of another region", func(w *world) { w.vault.secret.Region = "eu-west-1" }, "parked", queue.Rejected, "SignatureDoesNotMatch"},
		{"throttled under 403", answer(403, "RequestThrottled"), "throttled", queue.Rejected, "RequestThrottled: words"},
		{"internal error", answer(500, "InternalError"), "retry", queue.Rejected, "InternalError"},
		{"a code that nobody knows", answer(400, "NewCode"), "dead", queue.Rejected, "NewCode"},
		{"the line breaks before the answer", func(w *world) {
			w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault { return &sink.SQSFault{CutAfter: true} })
		}, "retry", queue.Unknown, "closed"},
		{"TLS where none is spoken", func(w *world) {
			w.vault.secret.Endpoint = strings.Replace(w.vault.secret.Endpoint, "http:", "https:", 1)
		}, "parked", queue.Rejected, "does not speak TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, "orders")
			tt.world(w)
			reply, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
			if got := outcomeOf(err); got != tt.outcome {
				t.Errorf("outcome: got %s (%v), want %s", got, err, tt.outcome)
			}
			if reply.Certainty != tt.certainty || reply.Rule == "" || reply.Reason == "" {
				t.Errorf("reply: got %+v, want certainty %s, a rule and a reason", reply, tt.certainty)
			}
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error: got %q, want %q in it", err, tt.want)
			}
		})
	}
}

func TestThrottlingKeepsTheTimeThatTheServiceNamed(t *testing.T) {
	w := start(t, "orders")
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
		return &sink.SQSFault{Status: 503, Code: "ThrottlingException", Header: map[string]string{"Retry-After": "7"}}
	})
	_, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
	throttled, ok := errors.AsType[*queue.ThrottledError](err)
	if !ok || throttled.After != 7*time.Second {
		t.Errorf("Do: got %v, want throttled for 7s", err)
	}
}

func TestAStalledServiceEndsWithTheJob(t *testing.T) {
	w := start(t, "orders")
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault { return &sink.SQSFault{Wait: make(chan struct{})} })
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for w.sink.Calls("SendMessageBatch") == 0 {
			<-time.After(time.Millisecond)
		}
		cancel(queue.ErrDrainTimeout)
	}()
	begin := time.Now()
	reply, err := w.do(ctx, t, job("j", plainAction, `{}`))
	if reply.Certainty != queue.Unknown || !errors.Is(err, queue.ErrDrainTimeout) {
		t.Errorf("Do: got %+v, %v, want unknown and the cause", reply, err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("Do took %v after the end of its context", took)
	}
}

func TestAStalledServiceEndsWithTheTimeout(t *testing.T) {
	w := start(t, "orders")
	w.action.config.Timeout = 50 * time.Millisecond
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault { return &sink.SQSFault{Wait: make(chan struct{})} })
	reply, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
	if reply.Certainty != queue.Unknown || outcomeOf(err) != "retry" || reply.Text != "no answer in time" {
		t.Errorf("Do: got %+v, %v, want unknown", reply, err)
	}
}

func TestAnIdleSecretIsForgotten(t *testing.T) {
	w := start(t, "orders")
	if _, err := w.do(t.Context(), t, job("j", plainAction, `{}`)); err != nil {
		t.Fatal(err)
	}
	acc := w.action.accounts[secretID]
	w.action.expire(acc)
	if w.action.accounts[secretID] != acc {
		t.Fatal("forgotten right after its use")
	}
	acc.mu.Lock()
	acc.used = time.Now().Add(-2 * idleTime)
	acc.mu.Unlock()
	w.action.expire(acc)
	if w.action.accounts[secretID] != nil {
		t.Error("not forgotten after its idle time")
	}
	if _, err := w.do(t.Context(), t, job("j2", plainAction, `{}`)); err != nil || w.vault.opens != 2 {
		t.Errorf("afterwards: got %v after %d openings, want done after 2", err, w.vault.opens)
	}
}

// A hostile endpoint gives back all that it was sent, in every place that an
// error can come from.
func TestNothingOfTheCredentialComesBack(t *testing.T) {
	const key, secret, token = "AKIACANARY777", "canary/secret+key=", "CanaryToken777"
	echo := func(c sink.SQSCall) string {
		b, err := json.Marshal(map[string]string{"__type": key, "message": strings.Join([]string{
			key, secret, token, c.Header.Get("Authorization"), c.Header.Get("X-Amz-Security-Token"),
		}, " ")})
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	for _, status := range []int{200, 302, 400, 401, 403, 500} { // odd ones have the token as old code
		for _, whole := range []bool{true, false} {
			w := start(t, "orders")
			w.vault.put(withKeys(key, secret, token))
			w.sink.SetKeys(key, secret, token)
			w.sink.SetFault(func(c sink.SQSCall) *sink.SQSFault {
				if whole {
					return &sink.SQSFault{Status: status, Body: echo(c), Header: map[string]string{"X-Amzn-Query-Error": token[:status%2*len(token)] + ";Sender"}}
				}
				return &sink.SQSFault{Entry: func(int, string) *sink.SQSEntryError {
					return &sink.SQSEntryError{Code: token, Message: echo(c), SenderFault: status < 500}
				}}
			})
			reply, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
			if err == nil {
				t.Fatalf("status %d: got no error", status)
			}
			steps := w.action.Test(t.Context(), w.vault.secret.Ref)
			shown := fmt.Sprintf("%+v %v %+v %#v %+v", reply, err, err, steps, w.action)
			for _, value := range []string{key, secret, token, "canary"} {
				if strings.Contains(strings.ToLower(shown), strings.ToLower(value)) {
					t.Errorf("status %d, whole %v: %q is shown in %s", status, whole, value, shown)
				}
			}
			if len([]rune(reply.Text)) > 200 {
				t.Errorf("text has %d characters", len([]rune(reply.Text)))
			}
		}
	}
}

func TestAChecksumThatDiffersIsSaid(t *testing.T) {
	w := start(t, "orders")
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
		return &sink.SQSFault{Status: 200, Body: `{"Successful":[{"Id":"0","MessageId":"m1","MD5OfMessageBody":"00"}]}`}
	})
	reply, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
	if err != nil || reply.Certainty != queue.Accepted || !strings.Contains(reply.Text, "checksum") {
		t.Errorf("Do: got %+v, %v, want done with a word on the checksum", reply, err)
	}
}
