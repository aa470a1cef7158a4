// Package faultline is a TCP line to a server that goes wrong on demand: all of it
// at once, or one connection after the other at random moments. Tests and the
// drill put it between any two parties.
package faultline

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Line is a TCP line to a server. Any goroutine may use it.
type Line struct {
	target   string
	listener net.Listener

	mu      sync.Mutex
	pairs   map[*pair]bool
	cut     bool
	closed  bool
	stalled chan struct{} // closed when the line moves again; nil while it does
	events  []Event
	counts  map[string]int
	done    sync.WaitGroup
}

// Open opens a line to the server at target.
func Open(target string) (*Line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a line: %w", err)
	}
	l := &Line{target: target, listener: listener, pairs: map[*pair]bool{}, counts: map[string]int{}}
	l.done.Go(l.accept)
	return l, nil
}

// Addr is where clients connect.
func (l *Line) Addr() string { return l.listener.Addr().String() }

// Close ends the line and all connections.
func (l *Line) Close() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Cut()
	l.Resume()
	l.done.Wait()
}

// Cut breaks all connections and refuses new ones until Mend.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for p := range l.pairs {
		p.close()
	}
	clear(l.pairs)
}

// Mend lets new connections through again.
func (l *Line) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = l.closed
}

// Stall holds back all bytes until Resume, without closing anything: what a
// peer sees of a machine that hangs.
func (l *Line) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled == nil {
		l.stalled = make(chan struct{})
	}
}

// Resume ends a Stall.
func (l *Line) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled != nil {
		close(l.stalled)
		l.stalled = nil
	}
}

func (l *Line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close() // a server that is not there looks like one that hangs up
			continue
		}
		p := &pair{line: l, near: near, far: far, gone: make(chan struct{})}
		if !l.keep(p) {
			continue
		}
		l.done.Go(p.ask)
		l.done.Go(p.answer)
	}
}

// keep remembers a pair of connections, or closes both while the line is cut.
func (l *Line) keep(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		p.close()
		return false
	}
	l.pairs[p] = true
	return true
}

// pair is one connection of a client and the one to the server.
type pair struct {
	line      *Line
	near, far net.Conn
	gone      chan struct{} // closed by close
	once      sync.Once

	mu       sync.Mutex
	until    time.Time // of the fault below
	pause    time.Duration
	drip     bool
	reset    bool      // after the next request
	over     bool      // no answer passes any more
	answered time.Time // when the last piece that was passed on as a whole had come from the server
}

func (p *pair) close() {
	p.once.Do(func() {
		close(p.gone)
		_ = p.near.Close()
		_ = p.far.Close()
	})
}

// forget closes both ends and takes the pair out of the line.
func (p *pair) forget() {
	p.close()
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	delete(p.line.pairs, p)
}

// ask carries what the client sends.
func (p *pair) ask() {
	defer p.forget()
	p.pump(p.far, p.near, func(time.Time) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.reset {
			p.over = true
			p.line.note(p, Reset, p.answered)
			if tcp, ok := p.near.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // the client sees a reset
			}
		}
		return p.reset
	})
}

// answer carries what the server sends.
func (p *pair) answer() {
	defer p.forget()
	p.pump(p.near, p.far, func(came time.Time) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answered = came
		return false
	})
}

// pump carries pieces until an end closes, or passed says that this was the last.
func (p *pair) pump(to, from net.Conn, passed func(came time.Time) bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		came := time.Now()
		p.line.hold()
		if n > 0 {
			if p.send(to, buf[:n]) != nil || passed(came) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// hold waits while the whole line is stalled.
func (l *Line) hold() {
	l.mu.Lock()
	stalled := l.stalled
	l.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

// dripEach is the pause between two bytes of a connection that drips, and
// dripMost how many bytes of a piece come so.
const (
	dripEach = time.Millisecond
	dripMost = 400
)

// send passes one piece on, as the fault of the connection says.
func (p *pair) send(to net.Conn, piece []byte) error {
	p.mu.Lock()
	pause, drip, over := p.pause, p.drip, p.over
	if time.Now().After(p.until) {
		pause, drip = 0, false
	}
	p.mu.Unlock()
	if over {
		return errGone
	}
	if pause > 0 && !p.wait(pause) {
		return errGone
	}
	if drip {
		for i := range min(len(piece), dripMost) {
			if _, err := to.Write(piece[i : i+1]); err != nil || !p.wait(dripEach) {
				return errGone
			}
		}
		piece = piece[min(len(piece), dripMost):]
	}
	if len(piece) == 0 {
		return nil
	}
	_, err := to.Write(piece)
	return err
}

var errGone = errors.New("faultline: the connection is gone")

// wait waits for d, and reports whether the pair is still there.
func (p *pair) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.gone:
		return false
	}
}
