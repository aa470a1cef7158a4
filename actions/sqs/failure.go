package sqs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Stages of an attempt, as in [queue.Reply].
const (
	stageParams = "params"
	stageDial   = "dial"
	stageTLS    = "tls"
	stageSend   = "send"
	stageDone   = "done"
)

// failure is what went wrong with a message or a request, judged. It holds no
// secret value.
type failure struct {
	answer  actions.Answer // without its Text, which is not scrubbed
	verdict actions.Verdict
	text    string // scrubbed and short
	cause   error  // for the queue to see: ErrLeaseLost, the end of a context; nil otherwise
}

// maxJudged is how many bytes of the service's words the table looks at. Theirs
// are a few hundred; a megabyte would keep the table's patterns busy.
const maxJudged = 4 << 10

// newFailure judges an answer. text is what people read, scrubbed.
func newFailure(a actions.Answer, text string) *failure {
	a.Text = a.Text[:min(len(a.Text), maxJudged)]
	v, ok := replies.Classify(a)
	if !ok { // the table ends with a row that matches all
		v = actions.Verdict{Reason: actions.Transient, Rule: "unlisted"}
	}
	a.Text = ""
	return &failure{answer: a, verdict: v, text: text}
}

// Error names the code, with the words scrubbed.
func (f *failure) Error() string {
	if code := f.code(); code != "" {
		return "sqs: " + code + ": " + f.text
	}
	return "sqs: " + f.text
}

// Unwrap returns the cause that the queue looks for.
func (f *failure) Unwrap() error { return f.cause }

// code is the service's code, or the HTTP status without one.
func (f *failure) code() string {
	if f.answer.Code == 0 {
		return ""
	}
	if f.answer.Status != "" && !strings.Contains(f.answer.Status, ".") {
		return f.answer.Status
	}
	return "HTTP " + strconv.Itoa(f.answer.Code)
}

// dead reports whether no later attempt can send the message.
func (f *failure) dead() bool {
	switch f.verdict.Reason {
	case actions.Payload, actions.Policy, actions.Config, actions.Recipient:
		return true
	}
	return false
}

// refused reports whether the credential is at fault.
func (f *failure) refused() bool { return f.verdict.Reason == actions.Credential }

// with returns the failure with words before its text.
func (f *failure) with(words string) *failure {
	g := *f
	g.text = cut(words + f.text)
	return &g
}

// outcome is the reply and the error for the queue.
func (f *failure) outcome(ref secrets.Ref) (queue.Reply, error) {
	reply := queue.Reply{
		Secret: ref.ID, SecretVersion: ref.Version, Stage: f.answer.Stage, Code: f.code(), Text: f.text,
		Rule: f.verdict.Rule, Reason: string(f.verdict.Reason), Certainty: queue.Rejected,
	}
	if f.verdict.Reason == actions.Ambiguous {
		reply.Certainty = queue.Unknown
	}
	return reply, actions.Outcome(f.verdict, ref.ID, ref.Version, f)
}

// notBegun is the failure of a message whose claim could not be confirmed.
func notBegun(err error) *failure {
	f := newFailure(actions.Answer{Stage: stageSend, Status: "local.claim"}, "the claim on the job could not be confirmed, so nothing was sent")
	f.cause = err
	return f
}

// heldBack is the failure of a message that was not sent because one before it
// in the job failed with f.
func heldBack(f *failure) *failure {
	g := f.with("not sent after an earlier message of the job failed: ")
	if g.verdict.Reason == actions.Ambiguous {
		g.verdict.Reason = actions.Transient // this one surely was not taken
	}
	return g
}

// abandoned is the failure of a message whose job's context ended. sent says
// whether a request with it was out.
func abandoned(cause error, sent bool) *failure {
	a := actions.Answer{Stage: stageSend, Status: "local.ended"}
	text := "the attempt was ended before the message was sent"
	if sent {
		a.Status, text = "net.unknown", "the attempt was ended before the queue answered"
	}
	f := newFailure(a, text)
	f.cause = cause
	return f
}

// judge turns an error of the SDK into a failure.
func (c *client) judge(err error, p *progress) *failure {
	api, isAPI := errors.AsType[smithy.APIError](err)
	resp, isResponse := errors.AsType[*awshttp.ResponseError](err)
	if isResponse && resp.HTTPStatusCode() == 0 {
		isResponse = false
	}
	if !isAPI && !isResponse {
		return c.judgeNet(err, p)
	}
	a := actions.Answer{Stage: stageSend}
	text := "the answer is not one of SQS"
	if isResponse {
		a.Code = resp.HTTPStatusCode()
	}
	if isAPI {
		a.Status, a.Text = c.code(api.ErrorCode()), api.ErrorMessage()
		text = strings.TrimRight(redact.Scrub(a.Text, c.scrub...), ". ")
	}
	if a.Status == "" && a.Code < 300 {
		a.Status = "answer.unreadable"
	}
	f := newFailure(a, text)
	if isResponse {
		f.verdict.After = max(f.verdict.After, retryAfter(resp.Response.Header.Get("Retry-After"), time.Now()))
	}
	return f
}

// judgeEntry turns the failure of one message of a request into a failure. The
// service says whose fault it is; in the table, that counts as 400 or 500.
func (c *client) judgeEntry(e types.BatchResultErrorEntry) *failure {
	a := actions.Answer{Stage: stageSend, Code: http.StatusInternalServerError}
	if e.SenderFault {
		a.Code = http.StatusBadRequest
	}
	if e.Code != nil {
		a.Status = c.code(*e.Code)
	}
	if e.Message != nil {
		a.Text = *e.Message
	}
	return newFailure(a, redact.Scrub(a.Text, c.scrub...))
}

// code is a normal code, "" when a hostile endpoint put a credential there. It
// looks before normal does, which could leave half of one.
func (c *client) code(code string) string {
	if redact.Mask(code, c.scrub...) != code {
		return ""
	}
	return normal(code)
}

// normal takes off what the two spellings of a code differ in, and what cannot
// be a code: a hostile endpoint may answer anything.
func normal(code string) string {
	code = code[strings.LastIndexByte(code, '#')+1:]
	code = strings.TrimPrefix(code, "AWS.SimpleQueueService.")
	code, _, _ = strings.Cut(code, ":")
	if strings.ContainsFunc(code, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_')
	}) || len(code) > 64 || code == "UnknownError" {
		return ""
	}
	return code
}

// judgeNet turns an error without an answer into a failure. It makes its own
// words: those of net and url hold hosts and addresses.
func (c *client) judgeNet(err error, p *progress) *failure {
	a := actions.Answer{Stage: stageDial, Status: "net.failed"}
	if p.connected.Load() {
		a.Stage = stageTLS
	}
	if p.secured.Load() {
		a.Stage = stageSend
	}
	text := netText(err)
	switch status, words := tlsStatus(err); {
	case errors.Is(err, netguard.ErrBlocked):
		a.Status, text = "net.blocked", blockedText(err)
	case errors.Is(err, errPlain):
		a.Status, text = "net.plain", errPlain.Error()
	case status != "" && !p.secured.Load():
		a.Status, a.Stage, text = status, stageTLS, words
	case p.written.Load():
		a.Status = "net.unknown"
	default:
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			a.Status = "net.nohost"
		}
	}
	return newFailure(a, text)
}

// blockedText is the guard's text, which says what an operator can do.
func blockedText(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil && errors.Is(op.Err, netguard.ErrBlocked) {
		return cut(op.Err.Error())
	}
	return netguard.ErrBlocked.Error()
}

// tlsStatus tells what is wrong with the other side's TLS, "" when nothing is.
func tlsStatus(err error) (status, words string) {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		if _, ok := errors.AsType[x509.HostnameError](err); ok {
			return "tls.name", "the certificate is for another name"
		}
		if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
			return "tls.expired", "the certificate has expired or is not yet valid"
		}
		return "tls.certificate", "the certificate is not signed by an authority that this system trusts"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "tls.none", "the endpoint does not speak TLS"
	}
	if strings.Contains(err.Error(), "tls: ") { // crypto/tls keeps the types of its other errors to itself
		return "tls.handshake", "the TLS handshake failed: no common version or cipher"
	}
	return "", ""
}

// netText says in fixed words why there is no answer.
func netText(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "no such host"
		}
		return "the name could not be resolved"
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was closed"
	}
	if errors.Is(err, context.Canceled) {
		return "the request was cut off"
	}
	return "the connection failed"
}

// maxRetryAfter bounds what a service may ask for: the lane asks again then.
const maxRetryAfter = 15 * time.Minute

// retryAfter reads the header: seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		return min(max(time.Duration(seconds)*time.Second, 0), maxRetryAfter)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// cut keeps a text of ours within what an attempt records.
func cut(text string) string {
	if r := []rune(text); len(r) > redact.MaxText {
		return string(r[:redact.MaxText])
	}
	return text
}

// sentence joins words with the advice of a verdict.
func (f *failure) sentence() string {
	if f.verdict.Advice == "" {
		return f.Error()
	}
	return fmt.Sprintf("%v: %s", f, f.verdict.Advice)
}
