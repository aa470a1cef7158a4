package webclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"
)

// max1xx is how many interim answers (RFC 9110, section 15.2) may come. One or
// two are usual: 103 with hints, 102 for a long run.
const max1xx = 8

// settle is how long a failed exchange waits to hear whether the request was
// written. The line is closed then, so that the writing goroutine ends at once;
// it only has to be scheduled.
const settle = 100 * time.Millisecond

var errFlood = errors.New("too many interim answers")

// progress is how far an exchange came.
type progress struct {
	begin  func(context.Context) error
	cancel context.CancelFunc

	mu        sync.Mutex
	dialled   bool
	connected bool  // TLS included
	claim     error // of begin
	interim   int
	writing   bool          // begin has let the request go
	written   bool          // all of it, at least once
	wrote     chan struct{} // closed when writing has ended for the first time
}

func newProgress(begin func(context.Context) error, cancel context.CancelFunc) *progress {
	if begin == nil {
		begin = func(context.Context) error { return nil }
	}
	return &progress{begin: begin, cancel: cancel, wrote: make(chan struct{})}
}

// trace returns ctx with hooks that follow the exchange.
func (p *progress) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.dialled = p.dialled || err == nil
		},
		GotConn:        func(info httptrace.GotConnInfo) { p.gotConn(ctx, info) },
		WroteRequest:   p.wroteRequest,
		Got1xxResponse: p.got1xx,
	})
}

// gotConn asks begin. When it says no, the request must not be written: HTTP/1
// writes whatever the context says, so its connection is closed; HTTP/2 shares
// the connection with other requests, but looks at the context first. A connection on
// which there is more than was asked for is closed too, and net/http goes on with
// another, as nothing was written.
func (p *progress) gotConn(ctx context.Context, info httptrace.GotConnInfo) {
	if !awaitQuiet(ctx, info.Conn) {
		_ = info.Conn.Close()
		return
	}
	err := p.begin(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialled, p.connected = true, true
	if err == nil {
		p.writing = true
		return
	}
	p.claim = err
	p.cancel()
	if c, ok := info.Conn.(*tls.Conn); ok && c.ConnectionState().NegotiatedProtocol == "h2" {
		return
	}
	_ = info.Conn.Close()
}

func (p *progress) wroteRequest(info httptrace.WroteRequestInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = p.written || info.Err == nil
	select {
	case <-p.wrote:
	default:
		close(p.wrote)
	}
}

func (p *progress) got1xx(int, textproto.MIMEHeader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.interim++
	if p.interim > max1xx {
		return errFlood
	}
	return nil
}

// sent reports whether the request was fully written, as far as we can know:
// net/http says so when the last byte is in its buffer. The error of an
// exchange can be there before the writing goroutine has said anything.
func (p *progress) sent() bool {
	p.mu.Lock()
	writing := p.writing
	p.mu.Unlock()
	if !writing {
		return false
	}
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-p.wrote:
	case <-timer.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written
}
