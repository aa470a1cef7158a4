package sink

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// HTTP is a server that takes every request, keeps the last ones and answers
// what it was told to.
type HTTP struct {
	server *http.Server
	ln     net.Listener
	ca     *CA // nil without TLS
	done   chan struct{}
	keep   int

	mu     sync.Mutex
	log    []HTTPRequest
	count  int
	answer func(HTTPRequest) HTTPAnswer
}

// HTTPRequest is a request that came.
type HTTPRequest struct {
	Method string
	Path   string // with the query
	Header http.Header
	Body   []byte // at most maxHTTPBody, the rest is dropped
	At     time.Time
}

// HTTPAnswer is what the server answers. The zero HTTPAnswer is 200 without a body.
type HTTPAnswer struct {
	Status int // 0 is 200
	Header map[string]string
	Body   string
	Echo   bool // after Body comes all that the request said, its headers too
	Hang   bool // no answer at all, until the client or the server goes
}

const maxHTTPBody = 1 << 20 // bytes kept of one request

// HTTPConfig says how an HTTP sink listens. Its zero value is usable.
type HTTPConfig struct {
	Addr string // host:port; "" is a free port of 127.0.0.1
	Keep int    // at least so many requests are kept, the newest; 0 is 1,000
	TLS  bool   // HTTPS with HTTP/2, with a certificate of an authority of its own
}

// StartHTTP starts an HTTP sink. Close ends it.
func StartHTTP(cfg HTTPConfig) (*HTTP, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Keep == 0 {
		cfg.Keep = 1000
	}
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for http: %w", err)
	}
	h := &HTTP{ln: ln, done: make(chan struct{}), keep: cfg.Keep}
	// A client that refuses our certificate is no news to anybody.
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	serve := h.server.Serve
	if cfg.TLS {
		if err := h.secure(); err != nil {
			_ = ln.Close()
			return nil, err
		}
		serve = func(ln net.Listener) error { return h.server.ServeTLS(ln, "", "") }
	}
	go func() {
		defer close(h.done)
		_ = serve(ln) // ends by Close only
	}()
	return h, nil
}

// secure gives the server a certificate for the address that it listens on.
func (h *HTTP) secure() error {
	ca, err := NewCA()
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(h.ln.Addr().String())
	if err != nil {
		return fmt.Errorf("read address of the sink: %w", err)
	}
	cert, err := ca.Issue(host, "localhost")
	if err != nil {
		return err
	}
	h.ca = ca
	h.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	return nil
}

// URL returns where it listens, "http://host:port" or "https://host:port".
func (h *HTTP) URL() string {
	if h.ca != nil {
		return "https://" + h.ln.Addr().String()
	}
	return "http://" + h.ln.Addr().String()
}

// CAPEM returns the certificate of the authority that clients must trust, ""
// without TLS.
func (h *HTTP) CAPEM() string {
	if h.ca == nil {
		return ""
	}
	return h.ca.PEM()
}

// Close ends all connections and waits for the server to end.
func (h *HTTP) Close() error {
	err := h.server.Close()
	<-h.done
	return err
}

// SetAnswer sets what requests are answered; nil is 200 to all. It is called
// by several goroutines at once.
func (h *HTTP) SetAnswer(answer func(HTTPRequest) HTTPAnswer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

// Requests returns the requests that were kept, the oldest first.
func (h *HTTP) Requests() []HTTPRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.log)
}

// Count returns how many requests came, kept or not.
func (h *HTTP) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// ServeHTTP keeps the request and answers it.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxHTTPBody))
	if err != nil {
		return // the client went away
	}
	request := HTTPRequest{Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header.Clone(), Body: body, At: time.Now()}
	h.mu.Lock()
	h.count++
	h.log = newest(append(h.log, request), h.keep)
	answer := h.answer
	h.mu.Unlock()
	var a HTTPAnswer
	if answer != nil {
		a = answer(request)
	}
	if a.Hang {
		<-r.Context().Done()
		return
	}
	if a.Echo {
		var told strings.Builder
		_ = r.Header.Write(&told) // a Builder takes all
		a.Body += request.Path + "\n" + told.String() + string(body)
	}
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(max(a.Status, http.StatusOK))
	_, _ = io.WriteString(w, a.Body) // the client is gone otherwise
}
