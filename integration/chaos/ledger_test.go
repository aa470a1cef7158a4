package chaos

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions/sink"
)

func TestTheLedgerTellsLossFromRepetition(t *testing.T) {
	l := newLedger()
	l.accept(0, 5)
	l.bury(4)
	for _, subject := range []string{"0", "1", "1", "1", "3", "9", "hello"} {
		l.arrived(sink.Message{Raw: fmt.Appendf(nil, "Subject: %s\r\n\r\nbody\r\n", subject)})
	}
	l.arrived(sink.Message{Raw: []byte("no mail at all")})
	want := Result{Accepted: 5, Delivered: 3, Dead: 1, Lost: 1, Duplicated: 2, Unknown: 3}
	got := l.result()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if l.missing() != 2 || l.total() != 8 {
		t.Errorf("missing %d of %d arrivals, want 2 of 8", l.missing(), l.total())
	}
	if got.Err() == nil {
		t.Error("a lost job is no error")
	}
	if err := (Result{Accepted: 4, Delivered: 4, Duplicated: 2}).Err(); err != nil {
		t.Errorf("a repeated mail got %v, want no error: at least once is what was promised", err)
	}
}
