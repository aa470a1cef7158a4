package sqs

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestACertificateThatDoesNotVerifyParks(t *testing.T) {
	asked := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	w := start(t, "orders")
	w.vault.put(func(s *secrets.SQS) { s.Endpoint = server.URL })
	reply, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
	if outcomeOf(err) != "parked" || reply.Rule != "tls-refused" || reply.Stage != stageTLS {
		t.Errorf("Do: got %+v, %v, want parked by tls-refused", reply, err)
	}
	if asked {
		t.Error("a signed request went to a server without a good certificate")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	server.StartTLS()
	t.Cleanup(server.Close)
	w := start(t, "orders")
	w.vault.put(func(s *secrets.SQS) { s.Endpoint = server.URL })
	_, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
	if outcomeOf(err) != "parked" {
		t.Errorf("Do: got %v, want parked", err)
	}
}

// addressed is a connection that says it goes to another address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func TestPlainHTTPStaysOffTheInternet(t *testing.T) {
	for address, want := range map[string]bool{"10.1.2.3:80": true, "127.0.0.1:80": true, "[fd00::1]:80": true, "52.94.5.1:80": false, "[2600:1f00::1]:80": false} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		got := staysPrivate(addressed{client, tcp})
		_, _ = client.Close(), server.Close()
		if got != want {
			t.Errorf("staysPrivate(%s): got %v, want %v", address, got, want)
		}
	}
}

func TestAnEndpointIsReadToABoundOnly(t *testing.T) {
	sent := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		for n < 1<<30 {
			m, err := io.WriteString(w, strings.Repeat(" ", 1<<16))
			if n += m; err != nil {
				break
			}
		}
		sent <- n
	}))
	t.Cleanup(server.Close)
	w := start(t, "orders")
	w.vault.put(func(s *secrets.SQS) { s.Endpoint = server.URL })
	reply, err := w.do(t.Context(), t, job("j", plainAction, `{}`))
	if err == nil || reply.Certainty != queue.Unknown {
		t.Errorf("Do: got %+v, %v, want unknown", reply, err)
	}
	if n := <-sent; n > 64<<20 {
		t.Errorf("read %d bytes of an endless answer", n)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	other, err := sink.StartHTTP(sink.HTTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	w := start(t, "orders")
	for _, status := range []int{301, 302, 303, 307, 308} {
		w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault {
			return &sink.SQSFault{Status: status, Header: map[string]string{"Location": other.URL()}}
		})
		w.vault.put(func(*secrets.SQS) {})
		if _, err := w.do(t.Context(), t, job("j", plainAction, `{}`)); outcomeOf(err) != "parked" {
			t.Errorf("status %d: got %v, want parked", status, err)
		}
	}
	if other.Count() != 0 {
		t.Errorf("%d requests followed a redirect", other.Count())
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "86400": maxRetryAfter, "99999999999": 0, "soon": 0,
		now.Add(30 * time.Second).Format(http.TimeFormat): 30 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("retryAfter(%q): got %v, want %v", header, got, want)
		}
	}
}

func TestBlockedEvenAfterDNS(t *testing.T) {
	guard, err := netguard.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	_, err = dialer(guard, true)(context.Background(), "tcp", "localhost:80")
	if !errors.Is(err, netguard.ErrBlocked) {
		t.Errorf("dial: got %v, want ErrBlocked", err)
	}
}

func TestALongAnswerCostsLittle(t *testing.T) {
	batch := []*entry{{body: strings.Repeat("x", 512<<10)}, {body: "y"}}
	id := "0"
	out := &awssqs.SendMessageBatchOutput{}
	for range 5_000 {
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: &id})
		out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: &id})
	}
	begin := time.Now()
	results := (&client{clean: redact.Scrubber()}).sortOut(out, batch)
	if took := time.Since(begin); took > 2*time.Second { // 5,000 checksums of the body take 5 s
		t.Errorf("took %v", took)
	}
	for i, r := range results {
		if r.failed == nil || r.failed.verdict.Reason != actions.Ambiguous {
			t.Errorf("message %d: got %+v, want unknown", i, r)
		}
	}
}

func TestLongWordsCostLittle(t *testing.T) {
	begin := time.Now()
	for range 20 {
		newFailure(actions.Answer{Stage: stageSend, Code: 400, Status: "X", Text: strings.Repeat("request ", 100_000)}, "")
	}
	if took := time.Since(begin); took > 2*time.Second { // the patterns take 5 s for 16 MB
		t.Errorf("took %v", took)
	}
}
