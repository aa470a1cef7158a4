package actions

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sealpost/sealpost/secrets/redact"
)

func TestRefusalsAreRememberedForAWhileAndNotWithoutEnd(t *testing.T) {
	now := time.Unix(1, 0)
	r := NewRefusals(DirectRefusal)
	r.now = func() time.Time { return now }
	refused, one := errors.New("login refused"), redact.New("credential one")
	r.Note(one, refused)
	if got := r.Last(one); got != refused {
		t.Errorf("at once: got %v, want the refusal", got)
	}
	if got := r.Last(redact.New("credential two")); got != nil {
		t.Errorf("another credential: got %v, want nil", got)
	}
	now = now.Add(DirectRefusal + time.Second)
	if got := r.Last(one); got != nil {
		t.Errorf("later: got %v, want nil", got)
	}
	for i := range 3 * maxRefusals {
		r.Note(redact.New(fmt.Sprint("made up ", i)), refused)
	}
	if got := len(r.list); got > maxRefusals {
		t.Errorf("remembered: got %d, want at most %d", got, maxRefusals)
	}
}

func TestDirectJobsHaveIDsOfTheirOwn(t *testing.T) {
	a, b := NewDirectJob(), NewDirectJob()
	if a.ID == b.ID || a.ID == "" || a.JID == "" {
		t.Errorf("got %q and %q, want two ids", a.ID, b.ID)
	}
}
