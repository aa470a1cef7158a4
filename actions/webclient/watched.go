package webclient

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// watched is a connection that knows whether somebody waits for what comes next on
// it. net/http always does between two exchanges, unless more has come than was
// asked for; then it closes the connection, but only when it gets there: a
// request that is quicker would take that for its answer.
type watched struct {
	net.Conn

	mu      sync.Mutex
	reading bool
	closed  bool
	changed chan struct{} // closed at the next change; nil while nobody wants to know
}

// watch makes a dialled connection watched.
func watch(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watched{Conn: c}, nil
	}
}

// Read reads as ever.
func (w *watched) Read(p []byte) (int, error) {
	w.note(true, false)
	defer w.note(false, false)
	return w.Conn.Read(p)
}

// Close closes the connection.
func (w *watched) Close() error {
	w.note(false, true)
	return w.Conn.Close()
}

func (w *watched) note(reading, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading, w.closed = reading, w.closed || closed
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// awaitQuiet reports whether all that has come on c was read and understood. It waits
// for at most settle, and does not for HTTP/2, whose answers carry numbers.
func awaitQuiet(ctx context.Context, c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		if t.ConnectionState().NegotiatedProtocol == "h2" {
			return true
		}
		c = t.NetConn()
	}
	w, ok := c.(*watched)
	if !ok {
		return true
	}
	if quiet, _ := w.look(); quiet {
		return true
	}
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		quiet, changed := w.look()
		if quiet || changed == nil {
			return quiet
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// look reports whether somebody reads, and what is closed when that changes: nil if
// the connection is closed.
func (w *watched) look() (quiet bool, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, nil
	}
	if w.changed == nil && !w.reading {
		w.changed = make(chan struct{})
	}
	return w.reading, w.changed
}
