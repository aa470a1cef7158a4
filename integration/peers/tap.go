package peers

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Tap is a TCP relay that keeps what clients said: the proof of which bytes
// left the program under test. It reads the line, not the server's word.
type Tap struct {
	// Addr is where clients connect, host:port.
	Addr string

	mu    sync.Mutex
	said  bytes.Buffer
	conns int
}

// NewTap relays connections to target until the test ends.
func NewTap(tb testing.TB, target string) *Tap {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	t := &Tap{Addr: l.Addr().String()}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			relays.Go(func() { t.relay(tb.Context(), c, target) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		relays.Wait()
	})
	return t
}

// Said is everything that clients have sent so far, over all connections.
func (t *Tap) Said() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.said.Bytes())
}

// Connections is how many connections clients have opened.
func (t *Tap) Connections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns
}

// Write keeps bytes of a client. It never fails.
func (t *Tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said.Write(b)
}

// relay copies both ways until one side or ctx ends.
func (t *Tap) relay(ctx context.Context, client net.Conn, target string) {
	defer client.Close()
	t.mu.Lock()
	t.conns++
	t.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return // the client sees the closed line, as it would with a dead server
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })
	defer stop()
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(io.MultiWriter(t, server), client); done <- struct{}{} }()
	go func() { _, _ = io.Copy(client, server); done <- struct{}{} }()
	<-done
	// Closing both ends the other copy.
	_ = client.Close()
	_ = server.Close()
	<-done
}
