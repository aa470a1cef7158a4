package webclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
)

// Stages of an exchange, as [queue.Reply] has them.
const (
	stageParams = "params"
	StageDial   = "dial"  // name and connection
	StageTLS    = "tls"   // handshake and certificate
	StageSend   = "send"  // the request is on its way, or was answered
	StageReply  = "reply" // the request is out, the answer is not in
	StageDone   = "done"
)

// Status of exchanges without an answer.
const (
	statusRequest     = "request"
	statusClaim       = "claim"
	statusTimeout     = "net.timeout"
	statusCancelled   = "net.cancelled"
	statusDNS         = "net.dns"
	statusRefused     = "net.refused"
	statusClosed      = "net.closed"
	statusBlocked     = "net.blocked"
	statusFlood       = "net.flood"
	statusProtocol    = "net.protocol"
	statusCertificate = "tls.certificate"
	statusVersion     = "tls.version"
	statusPlaintext   = "tls.plaintext"
)

// words say in fixed words what each status means: the errors of net, tls and
// http repeat URLs and what the other side sent.
var words = map[string]string{
	statusClaim:       "the claim on the job could not be confirmed, so nothing was sent",
	statusTimeout:     "no answer in time",
	statusCancelled:   "cancelled",
	statusDNS:         "the host's name could not be resolved",
	statusRefused:     "connection refused",
	statusClosed:      "the connection was closed",
	statusFlood:       "the other side sends more headers than are allowed",
	statusProtocol:    "the other side does not speak HTTP",
	statusCertificate: "the certificate is not signed by an authority that this system trusts",
	statusVersion:     "the TLS handshake failed: no common version or cipher",
	statusPlaintext:   "the other side does not speak TLS",
}

// Failure is an exchange without an answer.
type Failure struct {
	Stage  string
	Status string // "net.timeout", "tls.certificate"...; see Network
	// Sent says that the request was written to its end: the other side may have
	// acted on it.
	Sent bool
	// Err is what callers look for: queue.ErrLeaseLost or another error of begin,
	// netguard.ErrBlocked, the cause of a context's end; else nil.
	Err error

	text string // fixed words, but for an address that the guard refused
}

// Error is in fixed words. It never holds the URL, headers or a body.
func (f *Failure) Error() string { return fmt.Sprintf("http %s: %s", f.Stage, f.text) }

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// Text is the text for an attempt's record.
func (f *Failure) Text() string { return f.text }

// Answer is the failure in the terms of a table.
func (f *Failure) Answer() actions.Answer {
	return actions.Answer{Stage: f.Stage, Status: f.Status, Text: f.text}
}

// newFailure says why err ended an exchange.
func newFailure(ctx context.Context, p *progress, err error) *Failure {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // its own text holds the URL
	}
	f := &Failure{Stage: StageDial, Sent: p.sent()}
	p.mu.Lock()
	claim, dialled, connected := p.claim, p.dialled, p.connected
	p.mu.Unlock()
	switch {
	case f.Sent:
		f.Stage = StageReply
	case connected:
		f.Stage = StageSend
	case dialled:
		f.Stage = StageTLS
	}
	f.Status, f.Err = statusClaim, claim
	if claim == nil {
		f.Status = statusOf(ctx, err, connected)
		f.Err = cause(ctx, err)
	}
	f.text = words[f.Status]
	switch f.Status {
	case statusBlocked:
		f.text = blockedText(err)
	case statusCertificate:
		f.Stage, f.text = StageTLS, certificateText(err)
	case statusVersion, statusPlaintext:
		f.Stage = StageTLS
	}
	return f
}

// cause keeps of an error only what callers look for.
func cause(ctx context.Context, err error) error {
	for _, known := range []error{queue.ErrLeaseLost, netguard.ErrBlocked} {
		if errors.Is(err, known) {
			return known
		}
	}
	return context.Cause(ctx)
}

// statusOf names an error without an answer. connected says that there was a
// connection, TLS included.
func statusOf(ctx context.Context, err error, connected bool) string {
	switch {
	case errors.Is(err, netguard.ErrBlocked):
		return statusBlocked
	case errors.Is(err, errFlood), strings.Contains(err.Error(), "response headers exceeded"), strings.Contains(err.Error(), "header list larger"):
		return statusFlood // neither has a type (net/http, Go 1.26)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return statusTimeout
	case ctx.Err() != nil: // a cancelled exchange shows as a closed connection
		return statusCancelled
	}
	if !connected {
		if status := tlsStatus(err); status != "" {
			return status
		}
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return statusDNS
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return statusTimeout
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return statusRefused
	}
	if !connected || isClosed(err) {
		return statusClosed
	}
	return statusProtocol
}

// isClosed reports an end of the line, in order or not.
func isClosed(err error) bool {
	for _, is := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, is) {
			return true
		}
	}
	text := err.Error() // these have no types
	return strings.Contains(text, "server closed idle connection") || strings.Contains(text, "GOAWAY") ||
		strings.Contains(text, "connection lost") || strings.Contains(text, "stream error") || strings.Contains(text, "unexpected EOF")
}

// tlsStatus names the errors of a handshake, "" for all others.
func tlsStatus(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return statusCertificate
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return statusPlaintext
	}
	if strings.Contains(err.Error(), "tls: ") { // crypto/tls keeps the types of its other errors to itself
		return statusVersion
	}
	return ""
}

// certificateText says what is wrong with a certificate.
func certificateText(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another name"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return "the certificate has expired or is not yet valid"
	}
	return words[statusCertificate]
}

// blockedText is the guard's text, which says what an operator can do.
func blockedText(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil && errors.Is(op.Err, netguard.ErrBlocked) {
		err = op.Err
	}
	return strings.TrimPrefix(err.Error(), "netguard: ")
}

// Network are the rows of every sender's table for exchanges without an answer.
// A request that was never written to its end is repeated without doubt; after
// that nobody knows whether the other side has acted. A bad certificate may be
// mended there, so it is waited for.
var Network = actions.Table{
	{Name: "request", Status: statusRequest, Reason: actions.Payload},
	{Name: "claim", Status: statusClaim, Reason: actions.Transient},
	{Name: "blocked-address", Status: statusBlocked, Reason: actions.Policy},
	{Name: "certificate", Status: statusCertificate, Reason: actions.Transient, After: 5 * time.Minute, Advice: adviseTLS},
	{Name: "tls", Status: "tls.*", Reason: actions.Transient, After: 5 * time.Minute, Advice: adviseTLS},
	{Name: "no-answer", Stages: []string{StageReply}, Status: "net.*", Reason: actions.Ambiguous},
	{Name: "dns", Status: statusDNS, Reason: actions.Transient, After: 30 * time.Second},
	{Name: "network", Status: "net.*", Reason: actions.Transient},
}

const adviseTLS = "only TLS 1.2 or better with a verified certificate is used; mend it there, or have this system trust its authority (SSL_CERT_FILE)"
