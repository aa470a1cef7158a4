package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// dialer makes connections that are encrypted, verified and logged in.
type dialer struct {
	guard *netguard.Guard
	hello string // our name for EHLO
}

// dialing is a connection in the making.
type dialing struct {
	*dialer
	login secrets.SMTP
	tls   *tls.Config
	raw   *budgetConn
	sc    *smtp.Client
}

// step is one step of making a connection.
type step struct {
	name   string // as a test of a secret shows it
	stage  string // as an attempt records it
	budget int64
	do     func(ctx context.Context) error
}

// steps returns what leads to a connection that can send.
func (d *dialing) steps() []step {
	if d.login.TLS == "implicit" {
		return []step{
			{"dial", stageDial, replyBudget, d.connect},
			{"certificate", stageTLS, handshakeBudget, d.handshake},
			{"ehlo", stageDial, replyBudget, d.greet},
			{"auth", stageAuth, replyBudget, d.authenticate},
		}
	}
	return []step{
		{"dial", stageDial, replyBudget, d.connect},
		{"ehlo", stageDial, replyBudget, d.greet},
		{"starttls", stageTLS, replyBudget, d.offersTLS},
		{"certificate", stageTLS, handshakeBudget, d.upgrade},
		{"auth", stageAuth, replyBudget, d.authenticate},
	}
}

// dial makes a connection. seen is told of each step and may be nil. The error
// is a *failure. The end of ctx closes the socket, which ends any step.
func (d *dialer) dial(ctx context.Context, login secrets.SMTP, cache tls.ClientSessionCache, seen func(step string, f *failure)) (*conn, error) {
	hide := []redact.String{login.Password, redact.New(login.Username)}
	if seen == nil {
		seen = func(string, *failure) {}
	}
	config, err := tlsConfig(login, cache)
	if err != nil {
		return nil, newFailure(ctx, login.Ref, stageTLS, err, hide)
	}
	in := &dialing{dialer: d, login: login, tls: config}
	for _, s := range in.steps() {
		if in.raw != nil {
			in.raw.grant(s.budget)
		}
		if err := in.run(ctx, s); err != nil {
			in.close()
			f := newFailure(ctx, login.Ref, s.stage, err, hide)
			seen(s.name, f)
			return nil, f
		}
		seen(s.name, nil)
	}
	now := time.Now()
	c := &conn{raw: in.raw, sc: in.sc, hide: hide, clean: redact.Cleaner(hide...), ref: login.Ref, born: now, used: now}
	c.learn()
	return c, nil
}

// run does one step under ctx.
func (d *dialing) run(ctx context.Context, s step) error {
	if d.raw != nil {
		stop := context.AfterFunc(ctx, func() { _ = d.raw.Close() })
		defer stop()
	}
	return s.do(ctx)
}

// close drops a connection that was not finished. smtp.Client leaves the socket
// open on most errors.
func (d *dialing) close() {
	if d.raw != nil {
		_ = d.raw.Close()
	}
}

// tlsConfig trusts the system's authorities and those of the secret.
func tlsConfig(login secrets.SMTP, cache tls.ClientSessionCache) (*tls.Config, error) {
	config := &tls.Config{
		ServerName: login.ServerName, MinVersion: tls.VersionTLS12,
		// RSA servers save 1.5 ms of CPU for each connection by a resumed session.
		ClientSessionCache: cache,
		// Mails go out whole, not in records of 1.4 KB with a write each.
		DynamicRecordSizingDisabled: true,
	}
	if config.ServerName == "" {
		config.ServerName = login.Server
	}
	if login.CAPEM == "" {
		return config, nil // nil RootCAs are the system's
	}
	roots, err := x509.SystemCertPool()
	if err != nil { // a minimal container has none
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM([]byte(login.CAPEM)) {
		return nil, x509.UnknownAuthorityError{}
	}
	config.RootCAs = roots
	return config, nil
}

// connect opens the socket, through the guard.
func (d *dialing) connect(ctx context.Context) error {
	address := net.JoinHostPort(d.login.Server, strconv.Itoa(d.login.Port))
	c, err := d.guard.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	d.raw = &budgetConn{Conn: c}
	crashpoint.Point("dial-after")
	return nil
}

// greet reads the greeting and says EHLO.
func (d *dialing) greet(context.Context) error {
	if d.sc == nil {
		if err := d.client(d.raw); err != nil {
			return err
		}
	}
	return d.sc.Hello(d.hello)
}

// client reads the greeting on c.
func (d *dialing) client(c net.Conn) error {
	sc, err := smtp.NewClient(c, d.tls.ServerName)
	if err != nil {
		return err
	}
	d.sc = sc
	return nil
}

// offersTLS refuses a server, or somebody on the line, that hides STARTTLS.
func (d *dialing) offersTLS(context.Context) error {
	if ok, _ := d.sc.Extension("STARTTLS"); !ok {
		return errNoSTARTTLS
	}
	return nil
}

// upgrade does STARTTLS, the handshake with its check of the certificate, and
// EHLO again. smtp.Client drops what was read before the handshake, so that
// commands injected in plaintext have no effect.
func (d *dialing) upgrade(context.Context) error { return d.sc.StartTLS(d.tls) }

// handshake encrypts a line with implicit TLS and reads the greeting.
func (d *dialing) handshake(ctx context.Context) error {
	c := tls.Client(d.raw, d.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	// From here on the TLS connection is the line: smtp.Client looks at its type
	// to know that the line is encrypted.
	return d.client(c)
}

// authenticate logs in. No byte of the login leaves before the handshake is
// over and the certificate verified.
func (d *dialing) authenticate(context.Context) error {
	state, ok := d.sc.TLSConnectionState()
	if !ok || !state.HandshakeComplete || len(state.VerifiedChains) == 0 {
		return errNotVerified
	}
	_, offered := d.sc.Extension("AUTH")
	auth, err := mechanism(d.login, d.tls.ServerName, offered)
	if err != nil {
		return err
	}
	err = authError(d.sc.Auth(auth))
	crashpoint.Point("auth-after")
	return err
}

// authError tells replies and broken lines from a login that went astray: the
// latter's text can hold what the server sent.
func authError(err error) error {
	if err == nil || as[*textproto.Error](err) || as[textproto.ProtocolError](err) || as[net.Error](err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errBudget) {
		return err
	}
	return fmt.Errorf("log in: %w", errMechanism)
}
