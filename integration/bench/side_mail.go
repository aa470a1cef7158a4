package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/sealpost/sealpost/actions/email"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// What every mail has: 2 KB of text, as an alert with a table has.
const (
	mailFrom    = "alerts@example.test"
	mailTo      = "a@receiver.test"
	mailSubject = "The device has left its range"
)

func mailText() string { return strings.Repeat("All work and no play makes Jack a dull boy.\n", 46) }

// peerMail is the mail as the peers get it, in the names of Nodemailer.
func peerMail() string {
	return encoded(map[string]string{"from": mailFrom, "to": mailTo, "subject": mailSubject, "text": mailText()})
}

// ourMail is the mail as a job.
func ourMail() string {
	return encoded(map[string]any{"action": map[string]string{
		"type": email.Kind, "smtp_secret": "MAIL", "from": mailFrom, "to": mailTo, "subject": mailSubject, "message": mailText(),
	}})
}

// encoded is JSON of maps with texts, which cannot fail.
func encoded(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// busy calls do n times from so many goroutines; i is the goroutine.
func busy(ctx context.Context, goroutines, n int, do func(ctx context.Context, i, job int) error) error {
	var taken atomic.Int64
	errs := make(chan error, goroutines)
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			for job := int(taken.Add(1)); job <= n; job = int(taken.Add(1)) {
				if err := do(ctx, i, job); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs // nil when none
}

// mailAction is our sender alone, with the login in its hands instead of a store.
type mailAction struct {
	action *email.Action
	to     mailbox
	at     int
}

func (m *mailAction) ops() map[string]op { return map[string]op{"mails": m.mails} }

// mails sends mails with twice as many at once as there are connections, so that
// the next is always there.
func (m *mailAction) mails(ctx context.Context, r request) (answer, error) {
	if m.action == nil || m.to != *r.Mail || m.at != r.Concurrency {
		guard, err := netguard.Parse("127.0.0.0/8")
		if err != nil {
			return answer{}, err
		}
		if m.action != nil {
			_ = m.action.Close()
		}
		m.to, m.at = *r.Mail, r.Concurrency
		m.action = email.New(email.Config{Vault: login{*r.Mail, r.Concurrency}, Guard: guard})
	}
	var text struct{ Action json.RawMessage }
	if err := json.Unmarshal([]byte(ourMail()), &text); err != nil {
		return answer{}, fmt.Errorf("decode the mail: %w", err)
	}
	return answer{}, busy(ctx, 2*r.Concurrency, r.Jobs, func(ctx context.Context, _, n int) error {
		jid := fmt.Sprintf("1700000000000-%d", n)
		job := &queue.Job{JID: jid, ID: "q0-" + jid, Action: text.Action}
		w, err := m.action.Prepare(job)
		if err != nil {
			return err
		}
		_, err = w.Do(ctx, queue.NewClaim(job, 1, nil))
		return err
	})
}

// login is a vault that holds one login.
type login struct {
	to          mailbox
	connections int
}

func (l login) ref() secrets.Ref { return secrets.Ref{ID: "bench", Version: 1, Type: secrets.TypeSMTP} }

// Lookup knows one secret, whatever it is called.
func (l login) Lookup(context.Context, string) (secrets.Ref, error) { return l.ref(), nil }

// OpenSMTP returns it.
func (l login) OpenSMTP(context.Context, secrets.Ref, secrets.Use) (secrets.SMTP, error) {
	return secrets.SMTP{
		Ref: l.ref(), Server: l.to.Host, Port: l.to.Port, Username: l.to.User, Password: redact.New(l.to.Password),
		TLS: "starttls", Auth: "plain", CAPEM: l.to.CA, From: mailFrom, MaxConnections: l.connections,
	}, nil
}

// OpenText is for signatures, of which there are none.
func (l login) OpenText(context.Context, secrets.Ref, secrets.Use) (secrets.Text, error) {
	return secrets.Text{}, secrets.ErrNotFound
}

// goMail is go-mail alone.
type goMail struct {
	keep    bool
	clients []*gomail.Client // of the last request, connected if keep
	to      mailbox
	used    time.Time
}

func (m *goMail) ops() map[string]op { return map[string]op{"mails": m.mails} }

// mails sends from so many goroutines, each with a connection of its own: a new
// one for every mail (DialAndSend), or one that is kept.
func (m *goMail) mails(ctx context.Context, r request) (answer, error) {
	if err := m.connect(ctx, r); err != nil {
		return answer{}, err
	}
	text := mailText()
	defer func() { m.used = time.Now() }()
	return answer{}, busy(ctx, r.Concurrency, r.Jobs, func(ctx context.Context, i, _ int) error {
		msg, err := mailMessage(mailFrom, mailTo, mailSubject, text)
		if err != nil {
			return err
		}
		if m.keep {
			return m.clients[i].Send(msg)
		}
		return m.clients[i].DialAndSendWithContext(ctx, msg)
	})
}

// keepFor is how long a connection of go-mail may rest: after 15 s it runs into the
// deadline of its last command.
const keepFor = 5 * time.Second

// connect makes the clients, unless they are there.
func (m *goMail) connect(ctx context.Context, r request) error {
	rested := time.Since(m.used)
	m.used = time.Now()
	if len(m.clients) == r.Concurrency && m.to == *r.Mail && rested < keepFor {
		return nil
	}
	for _, c := range m.clients {
		if m.keep {
			_ = c.Close() // it may have run out already
		}
	}
	m.clients, m.to = make([]*gomail.Client, r.Concurrency), *r.Mail
	return busy(ctx, r.Concurrency, r.Concurrency, func(ctx context.Context, _, n int) error {
		c, err := mailClient(*r.Mail)
		if err == nil && m.keep {
			err = c.DialWithContext(ctx)
		}
		m.clients[n-1] = c
		return err
	})
}

// mailClient is a client as go-mail's documentation shows it.
func mailClient(to mailbox) (*gomail.Client, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(to.CA))
	return gomail.NewClient(to.Host, gomail.WithPort(to.Port), gomail.WithTLSPolicy(gomail.TLSMandatory),
		gomail.WithTLSConfig(&tls.Config{ServerName: to.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}),
		gomail.WithSMTPAuth(gomail.SMTPAuthPlain), gomail.WithUsername(to.User), gomail.WithPassword(to.Password))
}

func mailMessage(from, to, subject, text string) (*gomail.Msg, error) {
	m := gomail.NewMsg()
	if err := errors.Join(m.From(from), m.To(to)); err != nil {
		return nil, err
	}
	m.Subject(subject)
	m.SetBodyString(gomail.TypeTextPlain, text)
	return m, nil
}
