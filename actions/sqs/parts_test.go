package sqs

import (
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

func TestALaterAttemptSendsOnlyWhatWasNotAccepted(t *testing.T) {
	w := start(t, "orders")
	work, err := w.action.Prepare(job("j", plainAction, `{"n":0}`, `{"n":1}`, `{"n":2}`))
	if err != nil {
		t.Fatal(err)
	}
	claim := queue.NewClaim(job("j", plainAction), 2, nil)
	claim.Parts = []queue.Part{{ID: "1", State: queue.PartAccepted}, {ID: "2", State: queue.PartRefused}}
	reply, err := work.Do(t.Context(), claim)
	if err != nil || reply.Certainty != queue.Accepted {
		t.Fatalf("Do: got %+v, %v, want done", reply, err)
	}
	if diff := cmp.Diff(w.bodies(), []string{`{"n":1}`, `{"n":2}`}); diff != "" {
		t.Errorf("bodies: got - want +\n%s", diff)
	}
	claim.Parts = []queue.Part{{ID: "1", State: "accepted"}, {ID: "2", State: "accepted"}, {ID: "3", State: "accepted"}}
	if reply, err := work.Do(t.Context(), claim); err != nil || reply.Certainty != queue.Accepted || len(w.bodies()) != 2 {
		t.Errorf("all accepted before: got %+v, %v, %d bodies", reply, err, len(w.bodies()))
	}
}

func TestALaterAttemptResendsTheRightMessage(t *testing.T) {
	w := start(t, "orders")
	var failed atomic.Bool
	w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
		return &sink.SQSFault{Entry: func(_ int, body string) *sink.SQSEntryError {
			if body == `{"n":2}` && !failed.Swap(true) {
				return &sink.SQSEntryError{Code: "RequestThrottled", Message: "slow", SenderFault: true}
			}
			return nil
		}}
	})
	work, err := w.action.Prepare(job("j", plainAction, `{"n":0}`, `{"n":1}`, `{"n":2}`))
	if err != nil {
		t.Fatal(err)
	}
	claim := queue.NewClaim(job("j", plainAction), 2, nil)
	claim.Parts = []queue.Part{{ID: "1", State: queue.PartAccepted}}
	if reply, err := work.Do(t.Context(), claim); err != nil || reply.Certainty != queue.Accepted {
		t.Fatalf("Do: got %+v, %v, want done", reply, err)
	}
	if diff := cmp.Diff(w.bodies(), []string{`{"n":1}`, `{"n":2}`}); diff != "" {
		t.Errorf("bodies: got - want +\n%s", diff)
	}
}
