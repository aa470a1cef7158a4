package peers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

const (
	password = "right-Pa55word"
	within   = 20 * time.Second
	note     = "Subject: hello\r\nTo: b@example.test\r\n\r\nbody\r\n"
)

func TestRedisKeepsWhatItHadWhenKilled(t *testing.T) {
	r := peers.NewRedis(t)
	c := r.Client()
	defer c.Close()
	if err := c.Set(t.Context(), "k", "kept value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server still answers")
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "k").Result(); got != "kept value" || err != nil {
		t.Errorf("after the restart got %q, %v, want the kept value", got, err)
	}
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprintf("%s", files), "kept value") {
		t.Error("the value is in none of the files of the server")
	}
}

func TestPostfixTakesMailAfterALogin(t *testing.T) {
	p := peers.NewPostfix(t, password, peers.PostfixOptions{})
	trust := trusting(t, p.CA)
	if err := submit(p.Submission, password, trust, note); err != nil {
		t.Fatalf("over STARTTLS: %v", err)
	}
	if err := submitImplicit(p.Implicit, password, trust, note); err != nil {
		t.Fatalf("over implicit TLS: %v", err)
	}
	peers.Eventually(t, within, "two mails in the maildir", func() error {
		mails, err := p.Mails()
		if err != nil || len(mails) != 2 {
			return fmt.Errorf("got %d mails, %v", len(mails), err)
		}
		if got := mails[0].Header.Get("Subject"); got != "hello" {
			return fmt.Errorf("got the subject %q", got)
		}
		return nil
	})
}

func TestPostfixCountsLogins(t *testing.T) {
	p := peers.NewPostfix(t, password, peers.PostfixOptions{})
	trust := trusting(t, p.CA)
	if err := submit(p.Submission, "wrong", trust, note); err == nil || !strings.Contains(err.Error(), "535") {
		t.Errorf("a wrong password got %v, want 535", err)
	}
	if err := p.SetPassword("changed-Pa55word"); err != nil {
		t.Fatal(err)
	}
	if err := submit(p.Submission, "changed-Pa55word", trust, note); err != nil {
		t.Errorf("after the change of the password: %v", err)
	}
	peers.Eventually(t, within, "two logins, one refused", func() error {
		if p.Logins() != 2 || p.LoginsRefused() != 1 {
			return fmt.Errorf("got %d logins, %d refused\n%s", p.Logins(), p.LoginsRefused(), p.Log())
		}
		return nil
	})
}

func TestPostfixWithoutTLSOffersNone(t *testing.T) {
	p := peers.NewPostfix(t, password, peers.PostfixOptions{NoTLS: true})
	err := submit(p.Submission, password, trusting(t, p.CA), note)
	if !errors.Is(err, errNoSTARTTLS) {
		t.Errorf("got %v, want no STARTTLS on offer", err)
	}
}

func TestPostfixShowsTheOtherCertificate(t *testing.T) {
	p := peers.NewPostfix(t, password, peers.PostfixOptions{CertificateFor: []string{"elsewhere.test"}})
	err := submit(p.Submission, password, trusting(t, p.CA), note)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("got %v, want a certificate that does not fit", err)
	}
}

func TestTapHearsTheClient(t *testing.T) {
	p := peers.NewPostfix(t, password, peers.PostfixOptions{NoTLS: true})
	tap := peers.NewTap(t, p.Submission)
	c, err := smtp.Dial(tap.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(smtp.PlainAuth("", peers.MailUser, password, "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if got := string(tap.Said()); !strings.Contains(got, "AUTH PLAIN ") || tap.Connections() != 1 {
		t.Errorf("heard %q on %d connections, want AUTH PLAIN on one", got, tap.Connections())
	}
}

func TestFauxqsGivesBackWhatItTook(t *testing.T) {
	cache, err := filepath.Abs("../../.cache/fauxqs")
	if err != nil {
		t.Fatal(err)
	}
	f := peers.NewFauxqs(t, cache)
	for _, name := range []string{"plain", "ordered.fifo"} {
		url, err := f.CreateQueue(t.Context(), name)
		if err != nil || !strings.HasSuffix(url, "/"+name) {
			t.Errorf("CreateQueue(%s) = %q, %v", name, url, err)
		}
		if got, err := f.Receive(t.Context(), url); len(got) != 0 || err != nil {
			t.Errorf("a new queue gave %v, %v", got, err)
		}
	}
}

func TestWaitGivesTheLastReason(t *testing.T) {
	tries := 0
	err := peers.Wait(100*time.Millisecond, "the moon", func() error {
		tries++
		return fmt.Errorf("try %d", tries)
	})
	if err == nil || tries < 2 || !strings.Contains(err.Error(), fmt.Sprintf("try %d", tries)) {
		t.Errorf("after %d tries got %v", tries, err)
	}
}

var errNoSTARTTLS = errors.New("no STARTTLS on offer")

// trusting is a TLS configuration for 127.0.0.1 with one authority.
func trusting(t *testing.T, ca []byte) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("the authority is no PEM")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// submit sends a mail over STARTTLS.
func submit(addr, pw string, trust *tls.Config, text string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if ok, _ := c.Extension("STARTTLS"); !ok {
		return errNoSTARTTLS
	}
	if err := c.StartTLS(trust); err != nil {
		return err
	}
	return deliver(c, pw, text)
}

// submitImplicit sends a mail over a line that is TLS from the start.
func submitImplicit(addr, pw string, trust *tls.Config, text string) error {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: within}, Config: trust}
	line, err := d.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(line, "127.0.0.1")
	if err != nil {
		return err
	}
	defer c.Close()
	return deliver(c, pw, text)
}

// deliver logs in and sends one mail.
func deliver(c *smtp.Client, pw, text string) error {
	if err := c.Auth(smtp.PlainAuth("", peers.MailUser, pw, "127.0.0.1")); err != nil {
		return err
	}
	if err := c.Mail("a@example.test"); err != nil {
		return err
	}
	if err := c.Rcpt("b@example.test"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

func TestWaitStopsWhenItIsHopeless(t *testing.T) {
	err := peers.Wait(time.Hour, "the moon", func() error { return fmt.Errorf("blown up: %w", peers.ErrHopeless) })
	if !errors.Is(err, peers.ErrHopeless) {
		t.Errorf("got %v, want ErrHopeless", err)
	}
}
