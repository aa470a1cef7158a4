package integration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

func TestSIGTERMUnderLoadUsesNoAttempt(t *testing.T) {
	const jobs = 1000
	s := newSite(t)
	s.serve("SEALPOST_ROLES=api")
	worker := s.serve("SEALPOST_ROLES=worker", lease)
	mails := s.mailSink()
	slowDown(mails, 30*time.Millisecond)
	ids := s.send(mailJobs(jobs)...)

	for round := int64(1); round <= 4; round++ {
		peers.Eventually(t, later, "the load to run", func() error {
			if n := mails.Counts().Messages; n < 150*round {
				return fmt.Errorf("%d mails so far", n)
			}
			return nil
		})
		next := s.serve("SEALPOST_ROLES=worker", lease)
		if err := worker.Stop(soon); err != nil {
			t.Fatalf("round %d: the worker ended with %v after SIGTERM, want exit code 0\n%s", round, err, worker.LogTail())
		}
		worker = next
	}
	mails.ClearFaults()
	s.drained()
	onceEach(t, mails, jobs, 0)
	wantOneAttempt(t, s, ids)
}

func TestSIGTERMCutsWhatTakesTooLong(t *testing.T) {
	s := newSite(t)
	s.serve("SEALPOST_ROLES=api")
	worker := s.serve("SEALPOST_ROLES=worker", lease, "SEALPOST_GRACE=1s")
	mails := s.mailSink()
	slowDown(mails, time.Hour)
	id := s.send(mailJobs(1)...)[0]
	peers.Eventually(t, soon, "a login", func() error {
		if mails.Counts().Logins == 0 {
			return fmt.Errorf("none so far")
		}
		return s.Is(id, "running")()
	})
	began := time.Now()
	if err := worker.Stop(soon); err != nil {
		t.Errorf("the worker ended with %v, want exit code 0", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the worker took %v to end, want about the grace of 1s", took)
	}
	mails.ClearFaults()
	s.serve("SEALPOST_ROLES=worker", lease)
	s.becomes(id, "done")
}

// wantOneAttempt checks the records of all jobs: done by the first attempt,
// and no worker lost one.
func wantOneAttempt(t *testing.T, s *site, ids []string) {
	t.Helper()
	for i := 0; i < len(ids); i += 25 { // each is a process; 40 of them show a habit
		st, err := s.Show(ids[i])
		if err != nil {
			t.Fatal(err)
		}
		want := program.Status{State: "done", AttemptCount: 1}
		got := program.Status{State: st.State, AttemptCount: st.AttemptCount, CrashCount: st.CrashCount}
		if got.State != want.State || got.AttemptCount != want.AttemptCount || got.CrashCount != 0 {
			t.Errorf("job %s is %+v, want done with one attempt and no crash", ids[i], st)
		}
	}
}
