package peers

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Lag is a TCP line to a redis-server that holds back the replication stream and
// nothing else: what the server sends on a connection that asked for PSYNC comes
// later by a random time. When the server dies, what is held back is gone, as on a
// network that was slow.
type Lag struct {
	listener net.Listener
	target   atomic.Pointer[string]
	least    atomic.Int64 // ns
	most     atomic.Int64
	done     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool // nil once closed
}

// lagQueue is how many pieces of up to 32 KiB a connection holds back; then the
// server is read no more, which it sees as a slow replica.
const lagQueue = 4096

// NewLag opens a line without a lag. [Lag.To] says where it goes.
func NewLag() (*Lag, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a line: %w", err)
	}
	l := &Lag{listener: listener, conns: map[net.Conn]bool{}}
	l.done.Go(l.accept)
	return l, nil
}

// To sets the server that new connections go to.
func (l *Lag) To(addr string) { l.target.Store(&addr) }

// Set sets the lag: each piece comes later by between least and most, never before
// an earlier one.
func (l *Lag) Set(least, most time.Duration) {
	l.least.Store(int64(least))
	l.most.Store(int64(max(least, most)))
}

// Addr is where clients and replicas connect.
func (l *Lag) Addr() string { return l.listener.Addr().String() }

// Close ends the line and all connections.
func (l *Lag) Close() {
	_ = l.listener.Close()
	l.mu.Lock()
	for c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
	l.mu.Unlock()
	l.done.Wait()
}

func (l *Lag) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.done.Go(func() { l.join(near) })
	}
}

// join connects one client with the server. A server that is not there looks like
// one that hangs up at once.
func (l *Lag) join(near net.Conn) {
	to := l.target.Load()
	if to == nil {
		_ = near.Close()
		return
	}
	far, err := net.DialTimeout("tcp", *to, time.Second)
	if err != nil {
		_ = near.Close()
		return
	}
	l.mu.Lock()
	if l.conns == nil {
		l.mu.Unlock()
		_, _ = near.Close(), far.Close()
		return
	}
	l.conns[near], l.conns[far] = true, true
	l.mu.Unlock()
	var replica atomic.Bool
	l.done.Go(func() { l.ask(far, near, &replica) })
	l.answer(near, far, &replica)
}

func (l *Lag) forget(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(l.conns, c)
	}
}

// ask carries what the client sends, and sees when it becomes a replica.
func (l *Lag) ask(far, near net.Conn, replica *atomic.Bool) {
	defer l.forget(far, near)
	buf := make([]byte, 32<<10)
	for {
		n, err := near.Read(buf)
		if !replica.Load() && bytes.Contains(buf[:n], []byte("PSYNC")) {
			replica.Store(true)
		}
		if _, failed := far.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}

type piece struct {
	data []byte
	due  time.Time
}

// answer carries what the server sends, late to a replica.
func (l *Lag) answer(near, far net.Conn, replica *atomic.Bool) {
	late := make(chan piece, lagQueue)
	gone := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() { deliver(near, late, gone) })
	defer writer.Wait()
	defer close(gone)
	defer l.forget(near, far)
	buf := make([]byte, 32<<10)
	var due time.Time
	for {
		n, err := far.Read(buf)
		if err != nil {
			return // what is held back is lost
		}
		if !replica.Load() {
			if _, err := near.Write(buf[:n]); err != nil {
				return
			}
			continue
		}
		if next := time.Now().Add(l.lag()); next.After(due) {
			due = next
		}
		select {
		case late <- piece{bytes.Clone(buf[:n]), due}:
		case <-time.After(time.Minute):
			return // the replica takes nothing any more
		}
	}
}

func (l *Lag) lag() time.Duration {
	least, most := l.least.Load(), l.most.Load()
	return time.Duration(least + rand.Int64N(most-least+1))
}

func deliver(near net.Conn, late <-chan piece, gone <-chan struct{}) {
	for {
		var p piece
		select {
		case p = <-late:
		case <-gone:
			return
		}
		timer := time.NewTimer(time.Until(p.due))
		select {
		case <-timer.C:
		case <-gone:
			timer.Stop()
			return
		}
		if _, err := near.Write(p.data); err != nil {
			return // the reader sees it too
		}
	}
}
