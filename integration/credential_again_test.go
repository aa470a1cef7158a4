package integration_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/sealpost/sealpost/integration/peers"
)

// A new password that is wrong as well must not be tried by all the jobs that wait
// for it: a mail server locks an account after a few refusals. Each process may have
// one login on its way when the first is refused.
func TestANewPasswordThatIsWrongTooIsTriedOnceAProcess(t *testing.T) {
	const processes = 2
	jobs := 2000
	if os.Getenv("SEALPOST_TEST_LONG") != "" {
		jobs = 10_000
	}
	s := newSite(t)
	postfix := peers.NewPostfix(t, password, peers.PostfixOptions{})
	for range processes {
		s.serve()
	}
	put := func(pw string) {
		s.put("MAIL", smtpSecret(postfix.Submission, peers.MailUser, pw, string(postfix.CA), "starttls"))
	}
	put("wrong-Pa55word")
	s.send(mailJobs(jobs)...)
	before, first := s.parkedOn(":1", jobs), postfix.LoginsRefused()
	if first > processes {
		t.Errorf("%d jobs made %d logins that were refused, want at most %d", jobs, first, processes)
	}

	put("wrong-again-Pa55word")
	after := s.parkedOn(":2", jobs)
	if got := postfix.LoginsRefused() - first; got < 1 || got > processes {
		t.Errorf("%d jobs made %d logins that were refused, want at most one for each of %d processes", jobs, got, processes)
	}
	if !slices.Equal(before, after) {
		t.Errorf("the jobs are parked in another order than before")
	}
	if states, err := s.States(); err != nil || states["dead"] != 0 {
		t.Errorf("got %v, %v, want nothing dead", states, err)
	}
}

// parkedOn waits until so many jobs are parked on the version, and returns them in the
// order in which they will go on.
func (s *site) parkedOn(version string, jobs int) (order []string) {
	s.t.Helper()
	peers.Eventually(s.t, later, "all jobs to be parked", func() error {
		sets, err := s.db.Keys(s.t.Context(), "sealpost:{q0}:parked:*"+version).Result()
		if err != nil || len(sets) != 1 {
			return fmt.Errorf("sets %v, %w", sets, err)
		}
		order, err = s.db.ZRange(s.t.Context(), sets[0], 0, -1).Result()
		if err == nil && len(order) != jobs {
			err = fmt.Errorf("%d of %d", len(order), jobs)
		}
		return err
	})
	return order
}
