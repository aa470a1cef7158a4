package integration_test

import (
	"fmt"
	"testing"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/integration/peers"
)

// The server's password changes while 10,000 mails go out through four worker
// processes. Each new login is refused from then on; the jobs wait, and few
// logins are tried, so no account is locked.
func TestAPasswordThatChangesAtTheServerCostsFewLoginsAndNoJob(t *testing.T) {
	const jobs, workers = 10_000, 4
	const maxConnections = 4 // of an account, the default
	s := newSite(t)
	s.serve("SEALPOST_ROLES=api")
	mails := s.mailSink()
	for range workers {
		s.serve("SEALPOST_ROLES=worker", lease)
	}
	s.send(mailJobs(jobs)...)
	peers.Eventually(t, later, "some mails", func() error {
		if n := mails.Counts().Messages; n < 500 {
			return fmt.Errorf("%d mails so far", n)
		}
		return nil
	})
	mails.SetLogin("sink", "changed-at-the-server")
	before := mails.Counts().Messages
	// Kept connections would go on for a thousand mails. The server ends each at its
	// next mail, as one does that is restarted; then a new login is needed.
	mails.Inject(sink.Fault{Stage: "mail", Times: workers * maxConnections, Cut: true})
	peers.Eventually(t, later, "the rest of the jobs to be parked", func() error {
		states, err := s.States()
		if err != nil {
			return err
		}
		left := states["ready"] + states["running"] + states["delayed"]
		if left > 0 {
			return fmt.Errorf("%d jobs are still on their way, %d mails since", left, mails.Counts().Messages-before)
		}
		return nil
	})
	parked := jobs - mails.Counts().Distinct
	s.counts("parked", parked)
	refused := mails.Counts().Refusals
	if refused == 0 || refused > 5 {
		t.Errorf("%d logins were refused in %d processes, want 1 to 5", refused, workers)
	}
	t.Logf("%d jobs parked after %d refused logins", parked, refused)

	s.put("MAIL", smtpSecret(mails.Addr(), "sink", "changed-at-the-server", mails.CAPEM(), "starttls"))
	s.drained()
	onceEach(t, mails, jobs, 0)
	s.counts("dead", 0)
	if n := mails.Counts().Refusals; n != refused {
		t.Errorf("%d more logins were refused after the new password", n-refused)
	}
}
