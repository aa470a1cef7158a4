package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Stages of an attempt, as [queue.Reply] has them.
const (
	stageParams = "params"
	stageDial   = "dial" // connection, greeting and EHLO
	stageTLS    = "tls"
	stageAuth   = "auth"
	stageMail   = "mail"
	stageRcpt   = "rcpt"
	stageData   = "data"
	stageDot    = "dot" // the mail is out, the reply is not in
	stageDone   = "done"
)

// Answer.Status of failures for which the server had no code.
const (
	statusTimeout     = "net.timeout"
	statusCancelled   = "net.cancelled"
	statusDNS         = "net.dns"
	statusRefused     = "net.refused"
	statusClosed      = "net.closed"
	statusBlocked     = "net.blocked"
	statusFlood       = "net.flood"
	statusProtocol    = "net.protocol"
	statusCertificate = "tls.certificate"
	statusNoSTARTTLS  = "tls.missing"
	statusVersion     = "tls.version"
	statusPlaintext   = "tls.plaintext"
	statusNoMechanism = "auth.missing"
	statusMechanism   = "auth.protocol"
	statusTooLarge    = "size.limit"
	statusNoUTF8      = "utf8.missing"
	statusParams      = "params"
	statusClaim       = "claim"
)

// Errors of our own side of the exchange.
var (
	errNoSTARTTLS  = errors.New("the server does not offer STARTTLS")
	errNotVerified = errors.New("the line is not encrypted") // a bug if it ever shows
	errNoMechanism = errors.New("the server offers no kind of login that the secret allows")
	errMechanism   = errors.New("the login could not be carried out: the password has characters that it does not take, or the server broke its rules")
	errTooLarge    = errors.New("the mail is larger than the server takes")
	errNoUTF8      = errors.New("an address has letters outside ASCII before the @, and the server does not offer SMTPUTF8")
	errClaim       = errors.New("the claim on the job could not be confirmed")
)

// failure is an exchange that did not end well: what was answered, judged by
// the table, with words that are safe to show.
type failure struct {
	ref     secrets.Ref
	answer  actions.Answer
	verdict actions.Verdict
	text    string // scrubbed, at most 200 characters
	err     error  // for errors.Is; its text is not shown
	broken  bool   // the connection cannot be used again
	count   int    // mails that a connection took before its limit
	stale   bool   // a kept connection was closed by the server before it took anything
}

// Error names the stage and the code, with the words scrubbed.
func (f *failure) Error() string {
	if f.answer.Code == 0 {
		return fmt.Sprintf("smtp %s: %s", f.answer.Stage, f.text)
	}
	return fmt.Sprintf("smtp %s: code %s: %s", f.answer.Stage, f.code(), f.text)
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

// code returns "535 5.7.8", "535", or "" when there was none.
func (f *failure) code() string {
	switch {
	case f.answer.Code == 0:
		return ""
	case f.answer.Status == "":
		return fmt.Sprint(f.answer.Code)
	}
	return fmt.Sprintf("%d %s", f.answer.Code, f.answer.Status)
}

// newFailure judges err, which ended the exchange at stage. hide are the values
// that must not show.
func newFailure(ctx context.Context, ref secrets.Ref, stage string, err error, hide []redact.String) *failure {
	f := &failure{ref: ref, err: cause(ctx, err)}
	f.answer = answerOf(ctx, stage, err)
	verdict, ok := replies.Classify(f.answer)
	if !ok { // the table ends with a row for everything; a test proves it
		verdict = actions.Verdict{Reason: actions.Transient, Rule: "none"}
	}
	f.verdict = verdict
	f.text = redact.Clean(f.answer.Text, hide...)
	// 421 announces a close (RFC 5321, section 3.8). What is no refusal came out of
	// order, and so will what comes next.
	f.broken = f.answer.Code < 400 || f.answer.Code > 599 || f.answer.Code == 421
	return f
}

// cause keeps of an error only what callers look for, so that the words of the
// other side do not travel in an error chain.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, queue.ErrLeaseLost) {
		return queue.ErrLeaseLost
	}
	if errors.Is(err, netguard.ErrBlocked) {
		return netguard.ErrBlocked
	}
	return context.Cause(ctx)
}

// answerOf says in the terms of the table what err is.
func answerOf(ctx context.Context, stage string, err error) actions.Answer {
	a := actions.Answer{Stage: stage}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		a.Code = reply.Code
		a.Status, a.Text = splitStatus(reply.Msg)
		return a
	}
	a.Status, a.Text = statusOf(ctx, stage, err), err.Error()
	switch a.Status {
	case statusTimeout:
		a.Text = "no answer in time"
	case statusCancelled:
		a.Text = "cancelled"
	case statusClaim:
		a.Text = errClaim.Error()
	case statusProtocol:
		a.Text = "the server does not speak SMTP" // the error repeats what it said
	}
	return a
}

// statusOf names an error that is not a reply.
func statusOf(ctx context.Context, stage string, err error) string {
	for _, own := range []struct {
		is     error
		status string
	}{
		{netguard.ErrBlocked, statusBlocked}, {errBudget, statusFlood}, {errNoSTARTTLS, statusNoSTARTTLS},
		{errNoMechanism, statusNoMechanism}, {errMechanism, statusMechanism}, {errTooLarge, statusTooLarge},
		{errNoUTF8, statusNoUTF8}, {errClaim, statusClaim},
	} {
		if errors.Is(err, own.is) {
			return own.status
		}
	}
	// A cancelled exchange shows as a closed connection: ctx knows better.
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return statusTimeout
	case ctx.Err() != nil:
		return statusCancelled
	}
	if status := tlsStatus(err); status != "" {
		return status
	}
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok {
		return statusProtocol
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return statusDNS
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return statusTimeout
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return statusRefused
	}
	if stage == stageParams {
		return statusParams
	}
	return statusClosed
}

// tlsStatus names the errors of a TLS handshake that a person must mend, and
// "" for all others.
func tlsStatus(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return statusCertificate
	}
	for _, is := range []func(error) bool{
		as[x509.UnknownAuthorityError], as[x509.HostnameError], as[x509.CertificateInvalidError],
	} {
		if is(err) {
			return statusCertificate
		}
	}
	if as[tls.RecordHeaderError](err) {
		return statusPlaintext
	}
	// crypto/tls has no type for it (handshake_client.go, pickTLSVersion; alert.go).
	if strings.Contains(err.Error(), "protocol version") {
		return statusVersion
	}
	return ""
}

// as reports whether err or a cause of it is a T.
func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// enhanced is an enhanced status code (RFC 3463) at the start of a line.
var enhanced = regexp.MustCompile(`(?m)^([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)`)

// splitStatus takes the enhanced codes off the lines of a reply.
func splitStatus(msg string) (status, text string) {
	if !strings.Contains(msg, "\n") { // the usual one, at a tenth of the cost
		if word, rest, _ := strings.Cut(msg, " "); isStatus(word) {
			status, msg = word, rest
		} else if strings.ContainsAny(word, "\t\f\r") {
			return splitLines(msg)
		}
		return status, strings.Join(strings.Fields(msg), " ")
	}
	return splitLines(msg)
}

// isStatus reports whether word is an enhanced code.
func isStatus(word string) bool {
	class, rest, _ := strings.Cut(word, ".")
	subject, detail, _ := strings.Cut(rest, ".")
	return (class == "2" || class == "4" || class == "5") && isNumber(subject) && isNumber(detail)
}

// isNumber reports whether s has one to three digits.
func isNumber(s string) bool {
	return len(s) >= 1 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// splitLines is splitStatus for a reply of several lines.
func splitLines(msg string) (status, text string) {
	if m := enhanced.FindStringSubmatch(msg); m != nil {
		status = m[1]
	}
	text = enhanced.ReplaceAllString(msg, "")
	return status, strings.Join(strings.Fields(text), " ")
}
