package sink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mailSink starts a sink that ends with the test.
func mailSink(t *testing.T, cfg SMTPConfig) *SMTP {
	t.Helper()
	s, err := StartSMTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// trust is the TLS configuration of a client of the sink.
func trust(t *testing.T, s *SMTP) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(s.CAPEM())) {
		t.Fatal("CAPEM is no PEM")
	}
	return &tls.Config{ServerName: "127.0.0.1", RootCAs: roots}
}

// dial connects with the standard library's client and encrypts.
func dial(t *testing.T, s *SMTP) (*smtp.Client, error) {
	t.Helper()
	c, err := smtp.Dial(s.Addr())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.StartTLS(trust(t, s))
}

// login returns a client that is ready to send.
func login(t *testing.T, s *SMTP) *smtp.Client {
	t.Helper()
	c, err := dial(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", "sink", "sink-password", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends one mail.
func send(c *smtp.Client, id, to string) error {
	if err := c.Mail("a@x.test"); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "Message-ID: <%s>\r\nSubject: x\r\n\r\n.dot\r\n", id); err != nil {
		return err
	}
	return w.Close()
}

// code returns the SMTP code of an error, 0 if it has none.
func code(err error) int {
	if e, ok := errors.AsType[*textproto.Error](err); ok {
		return e.Code
	}
	return 0
}

func TestSinkKeepsAndCounts(t *testing.T) {
	told := 0
	s := mailSink(t, SMTPConfig{Keep: 2, OnMessage: func(Message) { told++ }})
	c := login(t, s)
	for _, id := range []string{"1@x", "2@x", "2@x", "3@x"} {
		if err := send(c, id, "b@x.test"); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Messages()
	if len(got) != 2 || got[0].MessageID != "2@x" || got[1].MessageID != "3@x" || got[1].From != "a@x.test" || got[1].To[0] != "b@x.test" {
		t.Errorf("kept %+v", got)
	}
	if raw := string(got[1].Raw); !strings.HasSuffix(raw, "\r\n\r\n.dot\r\n") {
		t.Errorf("raw %q", raw)
	}
	if d := cmp.Diff(s.Received(), map[string]int{"1@x": 1, "2@x": 2, "3@x": 1}); d != "" {
		t.Error(d)
	}
	if n := s.Counts(); n != (SMTPCounts{Connections: 1, Logins: 1, Messages: 4, Distinct: 3}) || told != 4 {
		t.Errorf("%+v, told %d", n, told)
	}
	s.Clear()
	if n := s.Counts(); n.Messages != 0 || len(s.Messages()) != 0 {
		t.Errorf("after Clear %+v", n)
	}
}

func TestSinkTakesNothingWithoutTLSAndLogin(t *testing.T) {
	s := mailSink(t, SMTPConfig{})
	c, err := smtp.Dial(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ok, _ := c.Extension("AUTH"); ok {
		t.Error("AUTH is offered without TLS")
	}
	if err := c.Mail("a@x.test"); code(err) != 530 {
		t.Errorf("MAIL without TLS: %v", err)
	}
	c, err = dial(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("a@x.test"); code(err) != 502 {
		t.Errorf("MAIL without login: %v", err)
	}
	if err := c.Auth(smtp.PlainAuth("", "sink", "wrong", "127.0.0.1")); code(err) != 535 {
		t.Errorf("wrong login: %v", err)
	}
	s.SetLogin("sink", "changed")
	c, err = dial(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(smtp.PlainAuth("", "sink", "changed", "127.0.0.1")); err != nil {
		t.Errorf("changed login: %v", err)
	}
	if n := s.Counts(); n.Logins != 1 || n.Refusals != 1 {
		t.Errorf("%+v", n)
	}
}

func TestSinkSpeaksImplicitTLS(t *testing.T) {
	s := mailSink(t, SMTPConfig{})
	conn, err := tls.Dial("tcp", s.ImplicitAddr(), trust(t, s))
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(smtp.PlainAuth("", "sink", "sink-password", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if err := send(c, "1@x", "b@x.test"); err != nil {
		t.Error(err)
	}
}

func TestSinkFailsAsAsked(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault Fault
		code  int  // of the failed mail; 0: the line broke
		kept  bool // the message all the same
	}{
		{"a code at MAIL", Fault{Stage: "mail", Code: 450}, 450, false},
		{"a code at RCPT", Fault{Stage: "rcpt", Code: 550, Text: "5.1.1 no such user"}, 550, false},
		{"a code for one recipient", Fault{Stage: "rcpt", Code: 551, To: "B@x.test"}, 551, false},
		{"a code after the text", Fault{Stage: "dot", Code: 552}, 552, false},
		{"a bad reply to a mail that was taken", Fault{Stage: "dot", Code: 451, Keep: true}, 451, true},
		{"a cut at RCPT", Fault{Stage: "rcpt", Cut: true}, 0, false},
		{"a cut after the text", Fault{Stage: "dot", Cut: true}, 0, false},
		{"a cut after a mail that was taken", Fault{Stage: "dot", Cut: true, Keep: true}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mailSink(t, SMTPConfig{})
			tt.fault.Times = 1
			s.Inject(tt.fault)
			err := send(login(t, s), "1@x", "b@x.test")
			if err == nil || code(err) != tt.code {
				t.Errorf("got %v, want code %d", err, tt.code)
			}
			if got := len(s.Messages()) == 1; got != tt.kept {
				t.Errorf("kept %v, want %v", got, tt.kept)
			}
			if err := send(login(t, s), "2@x", "b@x.test"); err != nil {
				t.Errorf("the fault stayed: %v", err)
			}
		})
	}
}

func TestSinkFailsAtTheDoor(t *testing.T) {
	s := mailSink(t, SMTPConfig{})
	for _, tt := range []struct {
		fault Fault
		code  int
	}{
		{Fault{Stage: "connect", Code: 421, Text: "busy"}, 421},
		{Fault{Stage: "connect", Cut: true}, 0},
		{Fault{Stage: "ehlo", Cut: true}, 0},
		{Fault{Stage: "auth", Code: 454, Text: "4.7.0 later"}, 454},
	} {
		s.Inject(tt.fault)
		c, err := dial(t, s)
		if err == nil {
			err = c.Auth(smtp.PlainAuth("", "sink", "sink-password", "127.0.0.1"))
		}
		if err == nil || code(err) != tt.code {
			t.Errorf("%+v: got %v", tt.fault, err)
		}
		s.ClearFaults()
	}
	if err := send(login(t, s), "1@x", "b@x.test"); err != nil {
		t.Error(err)
	}
}

func TestSinkStallsUntilFaultsAreCleared(t *testing.T) {
	s := mailSink(t, SMTPConfig{})
	s.Inject(Fault{Stage: "dot", Stall: time.Hour})
	c := login(t, s)
	done := make(chan error, 1)
	go func() { done <- send(c, "1@x", "b@x.test") }()
	select {
	case err := <-done:
		t.Fatalf("did not stall: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	// The stall may not have begun; clear until it is over.
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		s.ClearFaults()
		select {
		case err := <-done:
			if err != nil || len(s.Messages()) != 1 {
				t.Errorf("got %v, %d messages", err, len(s.Messages()))
			}
			return
		default:
		}
	}
}

func TestFaultsCanComeByChance(t *testing.T) {
	var l faults
	l.add(Fault{Stage: "dot", Code: 451, Share: 0.3})
	hits := 0
	for range 10000 {
		if _, ok := l.take("dot", ""); ok {
			hits++
		}
	}
	if hits < 2700 || hits > 3300 { // six standard deviations
		t.Errorf("%d of 10000, want about 3000", hits)
	}
}

func TestCertificatesEnd(t *testing.T) {
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca.PEM()))
	for end, want := range map[time.Duration]bool{time.Hour: true, -time.Hour: false} {
		cert, err := ca.IssueUntil(time.Now().Add(end), "mail.test", "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mail.test", "127.0.0.1"} {
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); (err == nil) != want {
				t.Errorf("%v, %s: %v", end, name, err)
			}
		}
		if leaf.VerifyHostname("other.test") == nil {
			t.Error("the certificate is good for any name")
		}
	}
}
