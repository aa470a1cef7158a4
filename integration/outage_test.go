package integration_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/integration/peers"
)

// outage is how long Redis is gone: 30 s as promised when there is time.
func outage() time.Duration {
	if os.Getenv("SEALPOST_TEST_LONG") != "" {
		return 30 * time.Second
	}
	return 4 * time.Second
}

// slowDown makes each mail take a while, so that there is a load to disturb.
func slowDown(mails *sink.SMTP, each time.Duration) {
	mails.Inject(sink.Fault{Stage: "dot", Stall: each})
}

// onceEach fails the test unless every mail of mailJobs(n) came, and no more
// than extra copies in all.
func onceEach(t *testing.T, mails *sink.SMTP, n, extra int64) {
	t.Helper()
	c := mails.Counts()
	if c.Distinct != n {
		t.Errorf("%d different mails arrived, want %d: %d are lost", c.Distinct, n, n-c.Distinct)
	}
	if c.Messages > n+extra {
		t.Errorf("%d mails arrived for %d jobs, want at most %d copies", c.Messages, n, extra)
	}
}

func TestRedisIsGoneAndComesBack(t *testing.T) {
	const jobs = 600
	s := newSite(t)
	workers := []interface{ Running() bool }{s.serve(lease), s.serve(lease)}
	mails := s.mailSink()
	slowDown(mails, 100*time.Millisecond)
	s.send(mailJobs(jobs)...)
	peers.Eventually(t, soon, "the load to run", func() error {
		if n := mails.Counts().Messages; n < 50 {
			return fmt.Errorf("%d mails so far", n)
		}
		return nil
	})

	if err := s.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(s.logs(), "\n")
	holds(t, outage(), "no worker ends because Redis is gone", func() error {
		for i, w := range workers {
			if !w.Running() {
				return fmt.Errorf("worker %d has ended", i)
			}
		}
		return nil
	})
	// A line or two a second from each is news; a hot loop writes thousands.
	if got, limit := strings.Count(s.logs(), "\n")-lines, int(20*outage().Seconds()); got > limit {
		t.Errorf("%d lines were logged in %v without Redis, want at most %d", got, outage(), limit)
	}
	if err := s.redis.Start(); err != nil {
		t.Fatal(err)
	}

	mails.ClearFaults()
	s.drained()
	// A mail whose settlement could not be written in time may be sent again,
	// and at most the jobs in flight were in that place: two workers' lanes.
	onceEach(t, mails, jobs, 2*32)
	if states, err := s.States(); err != nil || states["dead"] != 0 {
		t.Errorf("states in the end: %v, %v, want no dead letter", states, err)
	}
}

func TestAWorkerStartsBeforeRedis(t *testing.T) {
	s := newSite(t)
	if err := s.redis.Stop(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		srv, err := s.Serve()
		if err == nil {
			err = peers.Wait(soon, "a server that is ready", srv.Ready)
			_ = srv.Kill()
		}
		done <- err
	}()
	// Long enough for a few of its tries.
	holds(t, 2*time.Second, "the worker waits for Redis", func() error {
		select {
		case err := <-done:
			return fmt.Errorf("it is ready or has ended: %w", err)
		default:
			return nil
		}
	})
	if err := s.redis.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
