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
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

// loopback admits servers of tests.
func loopback(t testing.TB) *netguard.Guard {
	t.Helper()
	g, err := netguard.Parse("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// serve starts a TLS server that speaks HTTP/2 if h2, and a client for it.
func serve(t *testing.T, h2 bool, handler http.HandlerFunc) (*httptest.Server, *Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = h2
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := New(Config{Guard: loopback(t), Roots: roots, Timeout: 5 * time.Second})
	t.Cleanup(c.Close)
	return s, c
}

func post(url string) Request {
	return Request{Method: http.MethodPost, URL: url, Body: []byte(`{"a":1}`), Header: http.Header{"Idempotency-Key": {"job-1"}, "X-Token": {"canary-token"}}}
}

func TestOneExchange(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2 %v", h2), func(t *testing.T) {
			var begun, asked atomic.Int32
			s, c := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				body, _ := io.ReadAll(r.Body)
				if begun.Load() != 1 || string(body) != `{"a":1}` || r.Header.Get("Idempotency-Key") != "job-1" || r.Header.Get("User-Agent") != "Sealpost" ||
					r.Header.Get("Accept-Encoding") != "" || (r.ProtoMajor == 2) != h2 {
					t.Errorf("begun %d, %s %q %v", begun.Load(), r.Proto, body, r.Header)
				}
				w.Header().Set("Retry-After", "7")
				w.Header().Set("Location", "http://[bad")
				w.Header().Set("Set-Cookie", "a=b")
				w.WriteHeader(http.StatusTemporaryRedirect)
				_, _ = io.WriteString(w, strings.Repeat("x", MaxBody+10))
			})
			begin := func(context.Context) error { begun.Add(1); return nil }
			resp, err := c.Do(t.Context(), begin, post(s.URL+"/hook?key=1#part"))
			if err != nil {
				t.Fatal(err)
			}
			if resp.Status != 307 || resp.RetryAfter != 7*time.Second || len(resp.Body) != MaxBody || !resp.Partial || asked.Load() != 1 {
				t.Errorf("status %d, after %v, %d bytes, partial %v, asked %d", resp.Status, resp.RetryAfter, len(resp.Body), resp.Partial, asked.Load())
			}
			if resp.Header.Get("Location") != "" {
				t.Error("the answer has a Location")
			}
		})
	}
}

func TestNothingIsWrittenWithoutTheClaim(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, kept := range []bool{false, true} {
			t.Run(fmt.Sprintf("h2 %v kept %v", h2, kept), func(t *testing.T) {
				var asked atomic.Int32
				s, c := serve(t, h2, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
				if kept {
					if _, err := c.Do(t.Context(), nil, post(s.URL)); err != nil {
						t.Fatal(err)
					}
				}
				before := asked.Load()
				_, err := c.Do(t.Context(), func(context.Context) error { return queue.ErrLeaseLost }, post(s.URL))
				f, ok := errors.AsType[*Failure](err)
				if !ok || !errors.Is(err, queue.ErrLeaseLost) || f.Status != "claim" || f.Sent {
					t.Errorf("got %v", err)
				}
				if _, err := c.Do(t.Context(), nil, post(s.URL)); err != nil {
					t.Errorf("after it: %v", err)
				}
				if got := asked.Load() - before; got != 1 {
					t.Errorf("the server was asked %d times, want once", got)
				}
			})
		}
	}
}

func TestARequestIsNotWrittenTwice(t *testing.T) {
	// A server that answers once and then reads a request and closes: with an
	// Idempotency-Key, net/http alone would send that one again.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var asked atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			for i := range 2 {
				buf := make([]byte, 4096)
				for n := 0; !strings.Contains(string(buf[:n]), `{"a":1}`); {
					m, err := conn.Read(buf[n:])
					if err != nil {
						break
					}
					n += m
				}
				asked.Add(1)
				if i == 0 {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}
			conn.Close()
		}
	}()
	c := New(Config{Guard: loopback(t), Timeout: 5 * time.Second})
	defer c.Close()
	url := "http://" + ln.Addr().String()
	if _, err := c.Do(t.Context(), nil, post(url)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(t.Context(), nil, post(url))
	f, ok := errors.AsType[*Failure](err)
	if !ok || !f.Sent || f.Status != "net.closed" || f.Stage != StageReply {
		t.Errorf("got %+v, want closed after the request was sent", err)
	}
	if v, _ := Network.Classify(f.Answer()); v.Reason != actions.Ambiguous {
		t.Errorf("verdict %+v", v)
	}
	ln.Close()
	c.Close()
	<-done
	if asked.Load() != 2 {
		t.Errorf("the server was asked %d times, want twice", asked.Load())
	}
}

func TestATimeoutAfterTheRequestIsUnknown(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		hang := make(chan struct{})
		s, c := serve(t, h2, func(_ http.ResponseWriter, r *http.Request) { <-hang })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		_, err := c.Do(ctx, nil, post(s.URL))
		cancel()
		f, ok := errors.AsType[*Failure](err)
		if !ok || !f.Sent || f.Status != "net.timeout" || time.Since(start) > 2*time.Second {
			t.Errorf("h2 %v: got %v after %v", h2, err, time.Since(start))
		}
		cause := errors.New("drained")
		ctx, stop := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(100*time.Millisecond, func() { stop(cause) })
		_, err = c.Do(ctx, nil, post(s.URL))
		timer.Stop()
		if f, ok := errors.AsType[*Failure](err); !ok || f.Status != "net.cancelled" || !errors.Is(err, cause) {
			t.Errorf("h2 %v: cancelled: got %v", h2, err)
		}
		stop(nil)
		close(hang)
	}
}

func TestWhatIsDialled(t *testing.T) {
	s, _ := serve(t, false, func(http.ResponseWriter, *http.Request) {})
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, tt := range []struct{ name, allow, url, status string }{
		{"an https address that nobody allowed", "", s.URL, "net.blocked"},
		{"an http address that nobody allowed", "", plain.URL, "net.blocked"},
		{"http to a public address", "127.0.0.0/8", "http://192.0.32.8/", "net.blocked"},
		{"https to another port of a public address", "127.0.0.0/8", "https://192.0.32.8:25/", "net.blocked"},
		{"a host that is a number", "127.0.0.0/8", "https://2130706433/", "net.blocked"},
		{"an allowed https address on any port", "127.0.0.0/8", s.URL, "tls.certificate"},
		{"an allowed http address", "127.0.0.0/8", plain.URL, ""},
		{"no scheme that we know", "127.0.0.0/8", "ftp://127.0.0.1/", "request"},
		{"a user", "127.0.0.0/8", "http://a:b@127.0.0.1/", "request"},
		{"no URL", "127.0.0.0/8", "http://127.0.0.1:canary/", "request"},
		{"no host", "127.0.0.0/8", "https:///x", "request"},
		{"nobody listens", "127.0.0.0/8", "http://127.0.0.1:1/", "net.refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := netguard.Parse(tt.allow)
			if err != nil {
				t.Fatal(err)
			}
			c := New(Config{Guard: g, Timeout: 5 * time.Second})
			defer c.Close()
			_, err = c.Do(t.Context(), nil, Request{Method: "POST", URL: tt.url})
			f, _ := errors.AsType[*Failure](err)
			if tt.status == "" && err != nil || tt.status != "" && (f == nil || f.Status != tt.status || f.Sent) {
				t.Errorf("got %v, want %q", err, tt.status)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "://")) {
				t.Errorf("the error shows the URL: %v", err)
			}
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	c := New(Config{Guard: loopback(t), Timeout: 5 * time.Second})
	defer c.Close()
	_, err := c.Do(t.Context(), nil, post(s.URL))
	if f, ok := errors.AsType[*Failure](err); !ok || f.Status != "tls.version" {
		t.Errorf("got %v", err)
	}
}

func TestHeadersThatCannotBeSent(t *testing.T) {
	c := New(Config{Guard: loopback(t)})
	defer c.Close()
	for _, h := range []http.Header{{"X-A": {"canary\r\nB: c"}}, {"X-A": {"canary\x00"}}, {"X A": {"canary"}}, {"X-A\r\nB": {"canary"}}} {
		_, err := c.Do(t.Context(), nil, Request{Method: "POST", URL: "http://127.0.0.1:1/", Header: h})
		if f, ok := errors.AsType[*Failure](err); !ok || f.Status != "request" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v", h, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "-5": 0, "1.5": 0, "x": 0, "999999999999": 24 * time.Hour, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2020 03:05:05 GMT": 0, "Friday, 02-Jan-26 03:04:15 GMT": 10 * time.Second,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}

func TestTexts(t *testing.T) {
	for url, want := range map[string]string{
		"https://A.test:8443/t/canary?x=1": "https://a.test:8443", "https://u:canary@a.test/": "https://a.test", "a.test/x": "", "http://[bad": "", "": "",
	} {
		if got := Origin(url); got != want {
			t.Errorf("%q: got %q, want %q", url, got, want)
		}
	}
	hide := redact.New("canary  value")
	if got, want := Text([]byte("<p>\n  no: canary  value,\n\t mail bob@x.test </p>"), hide), "<p> no: [redacted], mail (address) </p>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	packed := Response{Header: http.Header{"Content-Encoding": {"gzip"}}, Body: []byte("abc")}
	if got := packed.Text(); got != "" {
		t.Errorf("a packed body: got %q", got)
	}
}

func TestEveryStatusHasItsRow(t *testing.T) {
	names := map[string]bool{}
	for _, r := range Network {
		if names[r.Name] {
			t.Errorf("two rows %s", r.Name)
		}
		names[r.Name] = true
	}
	for status, want := range map[string]actions.Reason{
		"request": actions.Payload, "claim": actions.Transient, "net.timeout": actions.Transient, "net.cancelled": actions.Transient, "net.dns": actions.Transient,
		"net.refused": actions.Transient, "net.closed": actions.Transient, "net.blocked": actions.Policy, "net.flood": actions.Transient,
		"net.protocol": actions.Transient, "tls.certificate": actions.Transient, "tls.version": actions.Transient, "tls.plaintext": actions.Transient,
	} {
		if v, ok := Network.Classify(actions.Answer{Stage: StageSend, Status: status}); !ok || v.Reason != want {
			t.Errorf("%s: got %+v, want %s", status, v, want)
		}
		if v, _ := Network.Classify(actions.Answer{Stage: StageReply, Status: status}); strings.HasPrefix(status, "net.") && status != "net.blocked" && v.Reason != actions.Ambiguous {
			t.Errorf("%s after the request: got %+v", status, v)
		}
	}
}
