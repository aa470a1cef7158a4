// Package webclient makes the HTTP requests of all senders: one exchange, no
// retry, no redirect, no proxy, no cookie, no decompression, TLS 1.2 or better
// with a verified certificate, through the guard of package netguard, with a
// bound on every byte that the other side sends and on the time that it takes.
//
// The exchange is hashicorp/go-retryablehttp with its retries off: the queue
// repeats jobs, and a request that was written once must not be written again
// in the same attempt.
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
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/net/http/httpguts"

	"github.com/sealpost/sealpost/actions/netguard"
)

// DefaultTimeout is how long one exchange may take, from the look-up of the
// name to the last byte of the answer. Receivers of webhooks are asked to
// answer within 15 to 30 s (Standard Webhooks, "Operational considerations").
const DefaultTimeout = 30 * time.Second

// Bounds of an answer, and how long lines are kept.
const (
	MaxBody      = 64 << 10 // bytes of an answer's body that are read
	maxHeader    = 64 << 10 // bytes of an answer's headers
	buffer       = 2 << 10  // bytes, for each way of a connection: headers and a usual message fit. 4 KiB is usual, which 200 jobs at once feel (benchstart)
	tlsHandshake = 10 * time.Second
	keepIdle     = 30 * time.Second
	maxIdle      = 1000 // kept connections in all
	maxIdleHost  = 128  // and of one host: more than a process has workers
	pingAfter    = 10 * time.Second
	pingWait     = 5 * time.Second
)

// agent is the User-Agent when the request names none.
const agent = "Sealpost"

// Config is what a [Client] is made of. Its zero value is usable.
type Config struct {
	Guard   *netguard.Guard // nil: the public internet only
	Timeout time.Duration   // of one exchange; 0 means [DefaultTimeout]
	Roots   *x509.CertPool  // authorities to trust; nil: the system's
}

// Client makes requests and keeps connections. It may be used by several
// goroutines. Use [New].
type Client struct {
	timeout       time.Duration
	secure, plain *line
}

// line is one way to connect: with TLS or without.
type line struct {
	transport *http.Transport
	client    *retryablehttp.Client
}

// New returns a client. It connects to nothing yet.
func New(cfg Config) *Client {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	secure := transport(cfg, true)
	secure.DialContext = watch(func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, port, _ := net.SplitHostPort(address); port == "443" || port == "8443" {
			return cfg.Guard.DialContext(ctx, network, address)
		}
		return cfg.Guard.DialAllowed(ctx, network, address)
	})
	plain := transport(cfg, false)
	plain.DialContext = watch(cfg.Guard.DialAllowed)
	return &Client{timeout: cfg.Timeout, secure: newLine(secure), plain: newLine(plain)}
}

// transport returns the settings that both lines share.
func transport(cfg Config, secure bool) *http.Transport {
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots},
		TLSHandshakeTimeout: tlsHandshake, ResponseHeaderTimeout: cfg.Timeout, IdleConnTimeout: keepIdle,
		MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdleHost, MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize: buffer, WriteBufferSize: buffer,
		DisableCompression: true, // else it asks for gzip and unpacks what comes
		Protocols:          new(http.Protocols),
		HTTP2:              &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(secure)
	return t
}

// newLine wraps a transport into a client that tries once.
func newLine(t *http.Transport) *line {
	c := retryablehttp.NewClient()
	c.Logger = nil // it would write whole URLs
	c.RetryMax = 0
	c.CheckRetry = func(context.Context, *http.Response, error) (bool, error) { return false, nil }
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	c.HTTPClient = &http.Client{
		Transport:     single{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &line{transport: t, client: c}
}

// single is a transport without CloseIdleConnections, which retryablehttp calls
// after every failure: one dead host would end the kept connections of all.
type single struct{ next http.RoundTripper }

// RoundTrip takes the header Location off: http.Client reads it even when no
// redirect is followed, and fails when it is no URL.
func (s single) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Location")
	}
	return resp, err
}

// Close ends all kept connections. No Do is running then.
func (c *Client) Close() {
	c.secure.transport.CloseIdleConnections()
	c.plain.transport.CloseIdleConnections()
}

// Request is one request. URL, Header and Body may hold secrets.
type Request struct {
	Method string // such as "POST"
	URL    string // https://, or http:// for addresses that the operator allowed
	Header http.Header
	Body   []byte
}

// Response is an answer. Redirects (3xx) are answers like others. Header comes
// without Location.
type Response struct {
	Status     int
	Header     http.Header
	Body       []byte        // at most MaxBody bytes
	Partial    bool          // the body was longer, or broke off
	RetryAfter time.Duration // what the header says, 0 for nothing; the caller never sleeps for it
}

// Do makes exactly one exchange. begin is called when there is a connection,
// right before the request may be written; when it fails, nothing is written.
// It may be nil. The error is a *[Failure] and no answer came; its text holds
// nothing of the request. Once the headers of an answer are in, the answer
// stands, even if its body breaks off.
func (c *Client) Do(ctx context.Context, begin func(context.Context) error, r Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	way, req, err := c.build(r)
	if err != nil {
		return nil, &Failure{Stage: stageParams, Status: statusRequest, text: err.Error()}
	}
	p := newProgress(begin, cancel)
	resp, err := way.client.Do(req.WithContext(p.trace(ctx)))
	if err != nil {
		return nil, newFailure(ctx, p, err)
	}
	defer resp.Body.Close()
	out := &Response{Status: resp.StatusCode, Header: resp.Header, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return out, nil // its body is the bare connection
	}
	out.Body, err = io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	out.Partial = err != nil || len(out.Body) > MaxBody
	out.Body = out.Body[:min(len(out.Body), MaxBody)]
	return out, nil
}

// build makes the request, and picks the line that it goes by. The errors hold
// no value.
func (c *Client) build(r Request) (*line, *retryablehttp.Request, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return nil, nil, errors.New("not a URL with a host") // err would quote it
	}
	way := c.secure
	switch {
	case u.User != nil:
		return nil, nil, errors.New("a URL with a user or a password")
	case u.Scheme == "http":
		way = c.plain
	case u.Scheme != "https":
		return nil, nil, errors.New("want an https URL")
	}
	u.Fragment, u.RawFragment = "", ""
	req, err := retryablehttp.NewRequest(r.Method, u.String(), body(r.Body))
	if err != nil {
		return nil, nil, errors.New("not a request that can be sent")
	}
	for name, values := range r.Header {
		for _, value := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				return nil, nil, fmt.Errorf("header %.64q cannot be sent", name)
			}
		}
		req.Header[sent(name)] = values
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", agent)
	}
	return way, req, nil
}

// body returns nil for an empty body, so that GET has none.
func body(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// sent is how a header's name is written. Transport takes a POST with an
// Idempotency-Key for one that it may write twice when a kept connection breaks
// (http.Request.isReplayable), and looks for the name in this spelling only.
// Names do not depend on case (RFC 9110, section 5.1). What was not written at
// all still moves to another connection.
func sent(name string) string {
	switch canonical := http.CanonicalHeaderKey(name); canonical {
	case "Idempotency-Key", "X-Idempotency-Key":
		return strings.ToLower(name)
	default:
		return canonical
	}
}
