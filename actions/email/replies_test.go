package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// recorded is one reply of a server. The code stands once at the start, the
// lines after the first begin with their enhanced code, as textproto joins
// them. Addresses of people and of networks are replaced by reserved ones.
type recorded struct {
	From, Stage, Reply, Reason string
	// Source is the server and version that gave the reply in a run, its
	// source code, or the public text that quotes it; constructed if there is
	// none, for words that are only likely.
	Source string
}

// constructed is the source of a reply that nobody was seen to give.
const constructed = "constructed"

// corpus reads testdata/replies.json.
func corpus(t testing.TB) []recorded {
	t.Helper()
	raw, err := os.ReadFile("testdata/replies.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []recorded
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// asError is what textproto makes of the reply.
func (r recorded) asError(t testing.TB) *textproto.Error {
	t.Helper()
	var code int
	if _, err := fmt.Sscanf(r.Reply[:3], "%d", &code); err != nil || r.Reply[3] != ' ' {
		t.Fatalf("%q does not begin with a code", r.Reply)
	}
	return &textproto.Error{Code: code, Msg: r.Reply[4:]}
}

func TestMostRepliesHaveASource(t *testing.T) {
	list, real, servers, seen := corpus(t), 0, map[string]bool{}, map[string]bool{}
	for _, r := range list {
		if r.Source == "" {
			t.Errorf("%q: no source", r.Reply)
		}
		if seen[r.Reply] {
			t.Errorf("%q: twice", r.Reply)
		}
		seen[r.Reply], servers[r.From] = true, true
		if r.Source != constructed {
			real++
		}
	}
	if real < 80 {
		t.Errorf("got %d replies with a source, want 80", real)
	}
	t.Logf("%d replies of %d servers: %d with a source, %d constructed", len(list), len(servers), real, len(list)-real)
}

func TestRepliesAreUnderstood(t *testing.T) {
	for _, r := range corpus(t) {
		f := newFailure(t.Context(), secrets.Ref{}, r.Stage, fmt.Errorf("x: %w", r.asError(t)), nil)
		if got := string(f.verdict.Reason); got != r.Reason {
			t.Errorf("%s at %s (%s): %q: got %s by %s, want %s", r.From, r.Stage, r.Source, r.Reply, got, f.verdict.Rule, r.Reason)
		}
		if strings.ContainsAny(f.text, "@\n") || strings.Contains(f.text, "://") {
			t.Errorf("text %q", f.text)
		}
	}
}

func TestEveryReplyRowIsSoundAndReached(t *testing.T) {
	reached := map[string]bool{}
	for _, r := range corpus(t) {
		reached[newFailure(t.Context(), secrets.Ref{}, r.Stage, r.asError(t), nil).verdict.Rule] = true
	}
	for _, own := range lineErrors {
		reached[newFailure(t.Context(), secrets.Ref{}, own.stage, own.err, nil).verdict.Rule] = true
	}
	for i, row := range replies {
		if row.Name == "" || row.Reason == "" {
			t.Errorf("row %d has no name or no reason", i)
		}
		if slices.ContainsFunc(replies[:i], func(r actions.Rule) bool { return r.Name == row.Name }) {
			t.Errorf("two rows are called %s", row.Name)
		}
		if row.Reason == actions.Credential && row.Advice == "" {
			t.Errorf("row %s parks a job and does not say what to do", row.Name)
		}
		if !reached[row.Name] && i < len(replies)-1 {
			t.Errorf("no reply reaches row %s", row.Name)
		}
	}
	last := replies[len(replies)-1]
	if v, ok := (actions.Table{last}).Classify(actions.Answer{}); !ok || v.Reason != actions.Transient {
		t.Error("the last row does not take everything")
	}
}

// lineErrors are failures without a reply.
var lineErrors = []struct {
	name, stage, reason string
	err                 error
}{
	{"refused", "dial", "transient", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}},
	{"no such host", "dial", "transient", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "mail.test", IsNotFound: true}}},
	{"blocked by the guard", "dial", "policy", &net.OpError{Op: "dial", Err: fmt.Errorf("%w: 10.0.0.1:25", netguard.ErrBlocked)}},
	{"closed at the greeting", "dial", "transient", io.EOF},
	{"not SMTP", "dial", "transient", textproto.ProtocolError("short response: canary")},
	{"endless reply", "dial", "transient", errBudget},
	{"no STARTTLS", "tls", "credential", errNoSTARTTLS},
	{"unknown authority", "tls", "credential", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}},
	{"wrong name", "tls", "credential", x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"x"}}, Host: "y"}},
	{"old TLS", "tls", "credential", errors.New("tls: server selected unsupported protocol version 301")},
	{"plaintext on the TLS port", "tls", "credential", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}},
	{"cut in the handshake", "tls", "transient", io.ErrUnexpectedEOF},
	{"no login kind", "auth", "credential", errNoMechanism},
	{"login astray", "auth", "credential", errMechanism},
	{"cut in the login", "auth", "transient", io.EOF},
	{"cut at MAIL", "mail", "transient", syscall.ECONNRESET},
	{"cut at DATA", "data", "transient", syscall.EPIPE},
	{"cut after the text", "dot", "unknown", io.EOF},
	{"silent after the text", "dot", "unknown", os.ErrDeadlineExceeded},
	{"endless reply after the text", "dot", "unknown", errBudget},
	{"nonsense after the text", "dot", "unknown", textproto.ProtocolError("x")},
	{"too large", "mail", "payload", errTooLarge},
	{"no SMTPUTF8", "mail", "payload", errNoUTF8},
	{"no sender", "params", "config", errors.New("no sender")},
	{"claim not confirmed", "mail", "transient", errClaim},
}

func TestBrokenLinesAreUnderstood(t *testing.T) {
	for _, tt := range lineErrors {
		f := newFailure(t.Context(), secrets.Ref{}, tt.stage, fmt.Errorf("x: %w", tt.err), nil)
		if got := string(f.verdict.Reason); got != tt.reason {
			t.Errorf("%s: got %s by %s (status %s), want %s", tt.name, got, f.verdict.Rule, f.answer.Status, tt.reason)
		}
		if strings.Contains(f.Error(), "canary") || f.code() != "" || !f.broken {
			t.Errorf("%s: %v, code %q, broken %v", tt.name, f, f.code(), f.broken)
		}
	}
}

func TestACancelledExchangeIsNotTheServersFault(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("drained")
	cancel(cause)
	f := newFailure(ctx, secrets.Ref{}, stageRcpt, net.ErrClosed, nil)
	if f.answer.Status != statusCancelled || f.verdict.Reason != actions.Transient || !errors.Is(f, cause) {
		t.Errorf("%+v", f)
	}
	if f := newFailure(ctx, secrets.Ref{}, stageDot, net.ErrClosed, nil); f.verdict.Reason != actions.Ambiguous {
		t.Errorf("%+v", f)
	}
}

func TestWordsOfServersAreCleaned(t *testing.T) {
	hide := []redact.String{redact.New(password)}
	for _, tt := range []struct{ name, in, want string }{
		{"an address goes", "<bob@example.test>: unknown", "<(address)>: unknown"},
		{"a link goes", "see https://x.test/?a=b&c=d now", "see (link) now"},
		{"a secret goes", "you said " + password, "you said " + redact.Placeholder},
		{"a base64 login goes", "you said AG1haWxlckBzZW5kZXIudGVzdABjYW5hcnktUGFzc3cwcmQh", "you said " + redact.Placeholder},
		{"control characters go", "a\x1b[31mb\tc", "a [31mb c"},
		{"a half address at the cut goes", strings.Repeat("x ", 97) + "someone.important@example.test", strings.TrimSpace(strings.Repeat("x ", 97))},
	} {
		if got := redact.Clean(tt.in, hide...); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestEnhancedCodesAreTakenOffEveryLine(t *testing.T) {
	for _, tt := range []struct{ in, status, text string }{
		{"5.7.8 Bad\n5.7.8 login", "5.7.8", "Bad login"},
		{"no code", "", "no code"},
		{"4.7.651 x", "4.7.651", "x"},
		{"5.1.1", "5.1.1", ""},
		{"3.1.1 x", "", "3.1.1 x"},
		{"10.5.1.1 x", "", "10.5.1.1 x"},
		{"", "", ""},
	} {
		if status, text := splitStatus(tt.in); status != tt.status || text != tt.text {
			t.Errorf("%q: got %q %q, want %q %q", tt.in, status, text, tt.status, tt.text)
		}
	}
}

// FuzzStatus compares the quick way for one line with the pattern.
func FuzzStatus(f *testing.F) {
	for _, s := range []string{"2.0.0 Ok: queued as 4WX", "5.7.8", "4.7.651  x", "3.1.1 x", "2.0.0\tx", "2.0.0 \r", "2..0 x", "2.0.0.0 x", " 2.0.0 x", "2.1234.0 x", "2.٠.0 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, msg string) {
		status, text := splitStatus(msg)
		if s, want := splitLines(msg); s != status || want != text {
			t.Errorf("%q: got %q %q, want %q %q", msg, status, text, s, want)
		}
	})
}
