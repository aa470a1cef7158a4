package email

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestMailArrives(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*secrets.SMTP, *sink.SMTP)
	}{
		{"over STARTTLS", func(*secrets.SMTP, *sink.SMTP) {}},
		{"over implicit TLS", func(l *secrets.SMTP, s *sink.SMTP) {
			l.TLS = "implicit"
			l.Port = vaultFor(t, s.ImplicitAddr(), "").login.Port
		}},
		{"with PLAIN", func(l *secrets.SMTP, _ *sink.SMTP) { l.Auth = "plain" }},
		{"with LOGIN", func(l *secrets.SMTP, _ *sink.SMTP) { l.Auth = "login" }},
		{"under the name in the certificate", func(l *secrets.SMTP, _ *sink.SMTP) { l.ServerName = "localhost" }},
		{"to a host name", func(l *secrets.SMTP, _ *sink.SMTP) { l.Server = "localhost" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, v := startSink(t, nil)
			tt.change(&v.login, s)
			a := action(t, v, 0)
			j := job(t, "order-1", fields{"to": "b@receiver.test; C <c@receiver.test>", "cc": "d@receiver.test", "bcc": "e@receiver.test,b@receiver.test"})
			reply, err := do(t, a, j)
			if err != nil {
				t.Fatal(err)
			}
			if reply.Stage != "done" || reply.Code != "250" || reply.Certainty != queue.Accepted || reply.SecretVersion != 1 || reply.Secret != v.login.Ref.ID {
				t.Errorf("reply %+v", reply)
			}
			got := s.Messages()
			if len(got) != 1 || got[0].From != "mailer@sender.test" || got[0].MessageID != MessageID(j, "mailer@sender.test") {
				t.Fatalf("got %+v", got)
			}
			if d := cmp.Diff(got[0].To, []string{"b@receiver.test", "c@receiver.test", "d@receiver.test", "e@receiver.test"}); d != "" {
				t.Error(d)
			}
			if strings.Contains(string(got[0].Raw), "e@receiver.test") {
				t.Error("the mail shows its bcc")
			}
			if s := a.Stats(); s != (Stats{Idle: 1}) {
				t.Errorf("connections %+v, want one idle", s)
			}
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 0)
	for i := range 20 {
		if _, err := do(t, a, job(t, fmt.Sprint(i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if c := s.Counts(); c.Connections != 1 || c.Logins != 1 || c.Messages != 20 || c.Distinct != 20 {
		t.Errorf("%+v, want 20 mails on one connection", c)
	}
	if v.opened() != 1 {
		t.Errorf("the secret was opened %d times, want once", v.opened())
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	s, v := startSink(t, nil)
	v.login.MaxConnections = 3
	a := action(t, v, 0)
	s.Inject(sink.Fault{Stage: "dot", Stall: 20 * time.Millisecond})
	together(40, func(i int) {
		if _, err := do(t, a, job(t, fmt.Sprint(i), nil)); err != nil {
			t.Error(err)
		}
	})
	if c := s.Counts(); c.Connections > 3 || c.Messages != 40 {
		t.Errorf("%+v, want 40 mails on at most 3 connections", c)
	}
}

// together calls f(0) to f(n-1) at the same time and waits.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

func TestAWrongLoginIsTriedOnce(t *testing.T) {
	s, v := startSink(t, func(c *sink.SMTPConfig) { c.Password = "another" })
	a := action(t, v, 0)
	together(200, func(i int) {
		reply, err := do(t, a, job(t, fmt.Sprint(i), nil))
		parked, ok := errors.AsType[*queue.ParkedError](err)
		if !ok || parked.Secret != v.login.Ref.ID || parked.Version != 1 || !strings.Contains(err.Error(), "sealpost secret put") {
			t.Errorf("got %v, want parked with advice", err)
		}
		if reply.Code != "535 5.7.8" || reply.Reason != "credential" || reply.Rule != "login-wrong" || reply.Stage != "auth" || reply.SecretVersion != 1 {
			t.Errorf("reply %+v", reply)
		}
	})
	if c := s.Counts(); c.Refusals != 1 || c.Connections != 1 {
		t.Fatalf("%+v, want one login", c)
	}
	// A new version is tried at once, and the old refusal does not count for it.
	v.change(func(l *secrets.SMTP) { l.Password = redact.New("another") })
	if reply, err := do(t, a, job(t, "again", nil)); err != nil || reply.SecretVersion != 2 {
		t.Errorf("got %+v %v", reply, err)
	}
}

func TestARefusalIsForgottenWhenATestWorks(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 0)
	s.Inject(sink.Fault{Stage: "auth", Code: 535, Times: 1})
	if _, err := do(t, a, job(t, "1", nil)); outcome(err) != "parked" {
		t.Fatalf("got %v", err)
	}
	if _, err := do(t, a, job(t, "2", nil)); outcome(err) != "parked" || s.Counts().Connections != 1 {
		t.Fatalf("got %v after %+v", err, s.Counts())
	}
	steps := a.Test(t.Context(), v.login.Ref)
	if last := steps[len(steps)-1]; !last.OK || last.Name != "quit" {
		t.Fatalf("steps %+v", steps)
	}
	if _, err := do(t, a, job(t, "3", nil)); err != nil {
		t.Error(err)
	}
}

func TestANewVersionReplacesTheConnections(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 0)
	if _, err := do(t, a, job(t, "1", nil)); err != nil {
		t.Fatal(err)
	}
	old := a.pool.accounts[v.login.Ref.ID].idle[0]
	v.change(func(l *secrets.SMTP) { l.From = "Shop <shop@sender.test>" })
	if reply, err := do(t, a, job(t, "2", nil)); err != nil || reply.SecretVersion != 2 {
		t.Fatalf("%+v %v", reply, err)
	}
	if c := s.Counts(); c.Connections != 2 {
		t.Errorf("%+v, want a second connection", c)
	}
	if got := s.Messages()[1].From; got != "shop@sender.test" {
		t.Errorf("from %s", got)
	}
	if err := old.raw.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the old connection is not closed: %v", err)
	}
	if st := a.Stats(); st != (Stats{Idle: 1}) {
		t.Errorf("connections %+v, want one idle", st)
	}
}

func TestAClosedKeptConnectionCostsNoAttempt(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 0)
	for _, f := range []sink.Fault{
		{Stage: "mail", Cut: true, Times: 1},
		{Stage: "mail", Code: 421, Text: "4.4.2 timeout exceeded", Times: 1},
	} {
		if _, err := do(t, a, job(t, "before", nil)); err != nil {
			t.Fatal(err)
		}
		before := s.Counts()
		s.Inject(f)
		if _, err := do(t, a, job(t, "after", nil)); err != nil {
			t.Errorf("%+v: %v", f, err)
		}
		if after := s.Counts(); after.Connections != before.Connections+1 || after.Messages != before.Messages+1 {
			t.Errorf("%+v: %+v, then %+v", f, before, after)
		}
	}
	// A server that always closes is not asked for ever.
	s.Inject(sink.Fault{Stage: "mail", Cut: true})
	before := s.Counts().Connections
	if _, err := do(t, a, job(t, "never", nil)); outcome(err) != "retry" {
		t.Errorf("got %v", err)
	}
	if n := s.Counts().Connections - before; n > maxRedials {
		t.Errorf("%d connections for one mail", n)
	}
}

func TestFaultsBecomeOutcomes(t *testing.T) {
	for _, tt := range []struct {
		fault           sink.Fault
		outcome, reason string
		certainty       queue.Certainty
	}{
		{sink.Fault{Stage: "connect", Code: 421, Text: "4.7.0 too many connections"}, "throttled", "throttled", queue.Rejected},
		{sink.Fault{Stage: "connect", Code: 554, Text: "go away"}, "retry after", "transient", queue.Rejected},
		{sink.Fault{Stage: "connect", Cut: true}, "retry", "transient", queue.Rejected},
		{sink.Fault{Stage: "ehlo", Cut: true}, "retry", "transient", queue.Rejected},
		{sink.Fault{Stage: "auth", Cut: true}, "retry", "transient", queue.Rejected},
		{sink.Fault{Stage: "auth", Code: 454, Text: "4.7.0 Temporary authentication failure"}, "retry", "transient", queue.Rejected},
		{sink.Fault{Stage: "auth", Code: 535}, "parked", "credential", queue.Rejected},
		{sink.Fault{Stage: "mail", Code: 550, Text: "5.7.1 Sender address rejected: not owned by user"}, "dead", "policy", queue.Rejected},
		{sink.Fault{Stage: "rcpt", Code: 550, Text: "5.1.1 no such user"}, "dead", "recipient", queue.Rejected},
		{sink.Fault{Stage: "rcpt", Code: 450, Text: "4.2.0 Greylisted"}, "retry after", "greylisted", queue.Rejected},
		{sink.Fault{Stage: "rcpt", Code: 451, Text: "4.3.0 local error"}, "retry", "transient", queue.Rejected},
		{sink.Fault{Stage: "rcpt", Cut: true}, "retry", "transient", queue.Rejected},
		{sink.Fault{Stage: "dot", Code: 554, Text: "5.7.1 Spam"}, "dead", "policy", queue.Rejected},
		{sink.Fault{Stage: "dot", Code: 552, Text: "5.3.4 too big"}, "dead", "payload", queue.Rejected},
		{sink.Fault{Stage: "dot", Code: 451, Text: "4.3.0 try later"}, "retry", "transient", queue.Rejected},
		{sink.Fault{Stage: "dot", Cut: true}, "retry", "unknown", queue.Unknown},
		{sink.Fault{Stage: "dot", Cut: true, Keep: true}, "retry", "unknown", queue.Unknown},
	} {
		t.Run(fmt.Sprintf("%s %d cut %v", tt.fault.Stage, tt.fault.Code, tt.fault.Cut), func(t *testing.T) {
			s, v := startSink(t, nil)
			a := action(t, v, 0)
			s.Inject(tt.fault)
			reply, err := do(t, a, job(t, "1", nil))
			if got := outcome(err); got != tt.outcome || reply.Reason != tt.reason || reply.Certainty != tt.certainty {
				t.Errorf("got %s %s %s (%v), want %s %s %s", got, reply.Reason, reply.Certainty, err, tt.outcome, tt.reason, tt.certainty)
			}
			if st := a.Stats(); st.Busy != 0 || st.Dialing != 0 {
				t.Errorf("connections %+v", st)
			}
			s.ClearFaults()
			if outcome(err) == "parked" {
				return // remembered for this version
			}
			if _, err := do(t, a, job(t, "2", nil)); err != nil {
				t.Errorf("the next mail: %v", err)
			}
		})
	}
}

func TestMailsOverTheServersLimitAreNotSent(t *testing.T) {
	s, v := startSink(t, func(c *sink.SMTPConfig) { c.MaxBytes = 2000 })
	a := action(t, v, 0)
	reply, err := do(t, a, job(t, "1", fields{"message": strings.Repeat("long ", 1000)}))
	if outcome(err) != "dead" || reply.Rule != "mail-too-large" || !strings.Contains(err.Error(), "limit 2000") {
		t.Errorf("got %+v %v", reply, err)
	}
	if _, err := do(t, a, job(t, "2", nil)); err != nil || s.Counts().Connections != 1 {
		t.Errorf("the connection was not kept: %v", err)
	}
}

func TestServersThatAskAreToldTheSize(t *testing.T) {
	for offered, told := range map[string]bool{"": false, "250-SIZE\r\n": true, "250-SIZE 0\r\n": true, "250-SIZE 100000\r\n": true, "250-SIZE lots\r\n": true} {
		f := goodFake(t, map[string]string{"ehlo2": "250-fake\r\n" + offered + "250 AUTH PLAIN"})
		a := action(t, vaultFor(t, f.ln.Addr().String(), f.ca.PEM()), 0)
		if _, err := do(t, a, job(t, "1", nil)); err != nil {
			t.Fatal(err)
		}
		_, inner := f.heard()
		_, after, _ := strings.Cut(inner, "\r\nDATA\r\n")
		text, _, _ := strings.Cut(after, "\r\n.\r\n")
		want := fmt.Sprintf("MAIL FROM:<mailer@sender.test> SIZE=%d\r\n", len(text)+2)
		if got := strings.Contains(inner, want); got != told {
			t.Errorf("offered %q: %q is in it: %v, want %v\n%s", offered, want, got, told, inner)
		}
	}
}

func TestOwnPaceHandsJobsBack(t *testing.T) {
	_, v := startSink(t, nil)
	v.login.MessagesPerSecond = 0.01
	a := action(t, v, 0)
	if _, err := do(t, a, job(t, "1", nil)); err != nil {
		t.Fatal(err)
	}
	_, err := do(t, a, job(t, "2", nil))
	throttled, ok := errors.AsType[*queue.ThrottledError](err)
	if !ok || throttled.After < 90*time.Second || throttled.After > 100*time.Second {
		t.Errorf("got %T %v", err, err)
	}
}

func TestALostClaimSendsNothing(t *testing.T) {
	for name, at := range map[string]int{"before MAIL": 1, "before the text": 2} {
		t.Run(name, func(t *testing.T) {
			s, v := startSink(t, nil)
			a := action(t, v, 0)
			j := job(t, "1", fields{"message": strings.Repeat("much text\n", 5000)})
			w, err := a.Prepare(j)
			if err != nil {
				t.Fatal(err)
			}
			calls := 0
			_, err = w.Do(t.Context(), queue.NewClaim(j, 1, func(context.Context) error {
				if calls++; calls == at {
					return queue.ErrLeaseLost
				}
				return nil
			}))
			if !errors.Is(err, queue.ErrLeaseLost) {
				t.Errorf("got %v", err)
			}
			if st := a.Stats(); st != (Stats{}) {
				t.Errorf("connections %+v, want none", st)
			}
			if _, err := do(t, a, job(t, "2", nil)); err != nil {
				t.Error(err)
			}
			if got := s.Messages(); len(got) != 1 || !strings.HasPrefix(got[0].MessageID, "2.") {
				t.Errorf("got %d mails, want the second only", len(got))
			}
		})
	}
}

func TestSecretsThatCannotBeOpened(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*vault)
		outcome string
	}{
		{"not there", func(v *vault) { v.login.Ref.Key = "OTHER" }, "dead"},
		{"another type", func(v *vault) { v.login.Ref.Type = secrets.TypeSQS }, "dead"},
		{"seal broken", func(v *vault) { v.err = secrets.ErrSealBroken }, "dead"},
		{"sealed", func(v *vault) { v.err = secrets.ErrSealed }, "retry"},
		{"no sender", func(v *vault) { v.login.Username = "apikey" }, "dead"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, v := startSink(t, func(c *sink.SMTPConfig) { c.Username = "apikey" })
			v.login.Username = "apikey"
			v.login.From = "a@sender.test"
			if tt.name == "no sender" {
				v.login.From = ""
			}
			tt.change(v)
			reply, err := do(t, action(t, v, 0), job(t, "1", nil))
			if got := outcome(err); got != tt.outcome || reply.Rule == "" || reply.Reason == string(actions.Credential) {
				t.Errorf("got %s %v %+v, want %s", got, err, reply, tt.outcome)
			}
			if s.Counts().Messages != 0 {
				t.Error("a mail was sent")
			}
		})
	}
}
