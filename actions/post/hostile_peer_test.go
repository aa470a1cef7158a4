package post

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
)

// trick is one way to be a bad receiver. Exactly one of tcp and http is set.
type trick struct {
	name string
	tcp  func(c net.Conn) // in place of TLS
	http func(p *peer)    // after the handshake and the request
	tls  func(*tls.Config, *sink.CA)
	h2   bool // http gets an HTTP/2 connection before any request

	want string // outcomes that are right, with | between: accepted, or a reason
	deaf bool   // nothing of the request may come through the TLS
}

// peer is a connection of a bad receiver.
type peer struct {
	net.Conn
	server  *badServer
	in      *bufio.Reader
	request *http.Request
	body    string
}

// say writes text as it stands.
func (p *peer) say(text string) { _, _ = io.WriteString(p, text) } // a client that is gone is the usual end

// forever writes text until the client goes.
func (p *peer) forever(text string) {
	block := []byte(strings.Repeat(text, 1+4096/len(text)))
	for {
		if _, err := p.Write(block); err != nil {
			return
		}
	}
}

// slowly writes a byte each tenth of a second, of a timeout of two seconds.
func (p *peer) slowly(text string) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := p.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
		<-tick.C
	}
}

// hold waits until the client goes.
func (p *peer) hold() { _, _ = io.Copy(io.Discard, p.in) }

// reset ends the connection by RST.
func reset(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if tap, ok := c.(*tap); ok {
		c = tap.Conn
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// badServer plays a trick on every connection.
type badServer struct {
	ln       net.Listener
	config   *tls.Config
	trick    trick
	requests atomic.Int32
	raw      lockedBuffer // what came over the wire
	heard    lockedBuffer // what came through the TLS

	all   sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
	ended bool
}

// lockedBuffer keeps the first 64 KiB.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p[:min(len(p), max(0, 64<<10-l.b.Len()))])
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tap writes down what is read.
type tap struct {
	net.Conn
	to io.Writer
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	_, _ = t.to.Write(p[:n])
	return n, err
}

// startBad starts a server for one trick, with a certificate of the authority.
func startBad(t *testing.T, ca *sink.CA, tr trick) *badServer {
	t.Helper()
	cert, err := ca.Issue("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &badServer{ln: ln, trick: tr, config: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}}
	if tr.h2 {
		s.config.NextProtos = []string{"h2"}
	}
	if tr.tls != nil {
		tr.tls(s.config, ca)
	}
	s.all.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

func (s *badServer) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.ended {
			_ = c.Close()
		}
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.all.Go(func() {
			defer c.Close()
			s.play(&tap{c, &s.raw})
		})
	}
}

// play plays the trick on one connection.
func (s *badServer) play(c net.Conn) {
	if s.trick.tcp != nil {
		s.trick.tcp(c)
		return
	}
	secure := tls.Server(c, s.config)
	if secure.Handshake() != nil {
		return
	}
	defer secure.Close()
	p := &peer{Conn: secure, server: s, in: bufio.NewReader(io.TeeReader(secure, &s.heard))}
	if s.trick.h2 {
		s.trick.http(p)
		return
	}
	for {
		r, err := http.ReadRequest(p.in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.requests.Add(1)
		p.request, p.body = r, string(body)
		s.trick.http(p)
		if !strings.HasPrefix(s.trick.name, "kept: ") {
			return
		}
	}
}

func (s *badServer) stop() {
	_ = s.ln.Close()
	s.mu.Lock()
	s.ended = true
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}
