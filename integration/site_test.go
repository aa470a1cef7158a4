package integration_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

const (
	soon     = 30 * time.Second // for what takes a second on a quiet machine
	later    = 2 * time.Minute  // for what waits for leases and retries
	lease    = "SEALPOST_LEASE=5s"
	mailbox  = "box@example.test"
	password = "sEcret.pa55-W0rd"
	stream   = "sealpost:{q0}:jobs" // of the public contract: where anybody may XADD
)

// binary builds the program once for all tests, into the cache of the checkout;
// or it is the one that SEALPOST_TEST_BINARY names, to test a release.
var binary = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("SEALPOST_TEST_BINARY"); given != "" {
		return given, nil
	}
	root, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "integration")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return program.Build(root, dir)
})

// site is an installation of the built program with a redis-server of its own.
type site struct {
	*program.Site
	t     *testing.T
	redis *peers.Redis
	db    *redis.Client
}

// newSite makes a site with a keyring and an admin token.
func newSite(t *testing.T) *site {
	t.Helper()
	r := peers.NewRedis(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p, err := program.New(path, peers.Dir(t), r.URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Init(); err != nil {
		t.Fatal(err)
	}
	db := r.Client()
	t.Cleanup(func() { _ = db.Close() })
	return &site{Site: p, t: t, redis: r, db: db}
}

// serve starts a process that is stopped with the test, and waits until it is
// ready for work.
func (s *site) serve(env ...string) *program.Server {
	s.t.Helper()
	srv := s.serveAlive(env...)
	peers.Eventually(s.t, soon, "a server that is ready", srv.Ready)
	return srv
}

// serveAlive is serve for a process that need not become ready.
func (s *site) serveAlive(env ...string) *program.Server {
	s.t.Helper()
	srv, err := s.Serve(env...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := srv.Kill(); err != nil {
			s.t.Log(err)
		}
		if s.t.Failed() {
			s.t.Logf("the end of a server's log:\n%s", srv.LogTail())
		}
	})
	return srv
}

// put stores a secret or a new version of it.
func (s *site) put(key string, value any) {
	s.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.PutSecret(key, string(text)); err != nil {
		s.t.Fatal(err)
	}
}

// send enqueues jobs over the API and returns their ids.
func (s *site) send(jobs ...string) []string {
	s.t.Helper()
	ids, err := s.Send(jobs...)
	if err != nil {
		s.t.Fatal(err)
	}
	return ids
}

// xadd enqueues a job as a producer without any client does, and returns its id.
func (s *site) xadd(job string) string {
	s.t.Helper()
	entry, err := s.db.XAdd(s.t.Context(), &redis.XAddArgs{Stream: stream, Values: []string{"job", job}}).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return "q0-" + entry
}

// becomes waits until the job is in the state and returns its record.
func (s *site) becomes(id, state string) program.Status {
	s.t.Helper()
	peers.Eventually(s.t, later, "job "+id+" to be "+state, s.Is(id, state))
	st, err := s.Show(id)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// counts waits until so many jobs are in the state.
func (s *site) counts(state string, want int64) {
	s.t.Helper()
	peers.Eventually(s.t, later, fmt.Sprintf("%d jobs to be %s", want, state), func() error {
		states, err := s.States()
		if err == nil && states[state] != want {
			err = fmt.Errorf("got %v", states)
		}
		return err
	})
}

// drained waits until no job is left to be done.
func (s *site) drained() {
	s.t.Helper()
	peers.Eventually(s.t, later, "an empty queue", func() error {
		states, err := s.States()
		if left := states["ready"] + states["running"] + states["delayed"] + states["parked"]; err == nil && left > 0 {
			err = fmt.Errorf("got %v", states)
		}
		return err
	})
}

// smtpSecret is the value of an smtp secret for a server at addr.
func smtpSecret(addr, user, pw, ca, mode string) map[string]any {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // the address is one of a peer
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		panic(err)
	}
	return map[string]any{
		"smtp_server": host, "smtp_port": number, "username": user, "password": pw,
		"ca_pem": ca, "tls": mode,
	}
}

// mailSink starts the STARTTLS sink and stores the login to it under MAIL.
func (s *site) mailSink() *sink.SMTP {
	s.t.Helper()
	mails, err := sink.StartSMTP(sink.SMTPConfig{Username: "sink", Password: password, Keep: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = mails.Close() })
	s.put("MAIL", smtpSecret(mails.Addr(), "sink", password, mails.CAPEM(), "starttls"))
	return mails
}

// job is the JSON of a job with an action and further fields.
func job(action map[string]any, more map[string]any) string {
	all := map[string]any{"action": action}
	maps.Copy(all, more)
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // of maps with strings
	}
	return string(text)
}

// mailAction is a mail through the secret MAIL with some fields replaced; a
// nil value takes the field away.
func mailAction(change map[string]any) map[string]any {
	action := map[string]any{
		"type": "email-smtp", "smtp_secret": "MAIL", "from": "sealpost@example.test",
		"to": mailbox, "subject": "hello", "message": "the body",
	}
	for field, value := range change {
		if value == nil {
			delete(action, field)
		} else {
			action[field] = value
		}
	}
	return action
}

// mailJobs are n mails with the subjects "mail 0" to "mail n-1".
func mailJobs(n int) []string {
	jobs := make([]string, n)
	for i := range jobs {
		jobs[i] = job(mailAction(map[string]any{"subject": fmt.Sprintf("mail %d", i)}), nil)
	}
	return jobs
}

// logs is what all servers of the site have written.
func (s *site) logs() string {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Dir, "serve-*.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// holds fails the test if check fails at any time within limit: for what must
// not happen.
func holds(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	broken := errors.New("it held")
	err := peers.Wait(limit, what, func() error {
		if err := check(); err != nil {
			return nil // ends the wait early: it did happen
		}
		return broken
	})
	if err == nil {
		t.Fatalf("%s: %v", what, check())
	}
}
