package faultline

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"
)

// Faults of one connection.
const (
	Cut      = "cut"
	HalfOpen = "half-open, then cut" // no byte passes for a moment, and then never again
	Stalled  = "stalled for a moment"
	Slow     = "late"
	Drips    = "one byte at a time"
	Reset    = "reset after a request" // which the server has got
)

// Times of faults. The longest is below the shortest lease and all timeouts of
// the program, so that it must live through each.
const (
	holdLeast = 200 * time.Millisecond
	holdMost  = 1500 * time.Millisecond
	slowMost  = 60 * time.Millisecond // of each piece
	slowFor   = 2 * time.Second
)

// Event is a fault that ended a connection.
type Event struct {
	At   time.Time // when it was over
	Kind string
	// Client is the address of the client's end, Server the one by which the server
	// knew the connection.
	Client, Server string
	// Answered is when the last piece that the client got as a whole had come from
	// the server: it got nothing of what the server said after that. Zero: it got
	// nothing at all.
	Answered time.Time
}

// Disturb spoils a connection chosen at random about once in each, until ctx ends.
// Close comes after its end. What it chose follows from the seed and from what
// connections there are.
func (l *Line) Disturb(ctx context.Context, each time.Duration, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	kinds := []string{Cut, HalfOpen, Stalled, Slow, Drips, Reset}
	for {
		t := time.NewTimer(each/2 + time.Duration(random.Int64N(int64(each))))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		if p := l.any(random); p != nil {
			kind, seed := kinds[random.IntN(len(kinds))], random.Uint64()
			l.done.Go(func() { p.spoil(kind, seed) })
		}
	}
}

// any is one of the connections, nil if there is none.
func (l *Line) any(random *rand.Rand) *pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.pairs) == 0 {
		return nil
	}
	all := slices.SortedFunc(maps.Keys(l.pairs), func(a, b *pair) int { return strings.Compare(name(a.near), name(b.near)) })
	return all[random.IntN(len(all))]
}

func name(c net.Conn) string { return c.RemoteAddr().String() }

// spoil does one fault.
func (p *pair) spoil(kind string, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 2))
	hold := holdLeast + time.Duration(random.Int64N(int64(holdMost-holdLeast)))
	switch kind {
	case Cut:
		p.end(kind)
		return
	case HalfOpen:
		p.set(func() { p.pause, p.until = 2*holdMost, time.Now().Add(hold) })
		if p.wait(hold) {
			p.end(kind)
		}
		return
	case Stalled:
		p.set(func() { p.pause, p.until = hold, time.Now().Add(hold) })
	case Slow:
		p.set(func() { p.pause, p.until = time.Duration(random.Int64N(int64(slowMost))), time.Now().Add(slowFor) })
	case Drips:
		p.set(func() { p.drip, p.until = true, time.Now().Add(slowFor) })
	case Reset:
		p.set(func() { p.reset = true }) // noted when it happens
		return
	}
	p.line.count(kind)
}

func (p *pair) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause, p.drip = 0, false
	change()
}

// end closes the connection hard and notes it.
func (p *pair) end(kind string) {
	select {
	case <-p.gone:
		return // it was over before
	default:
	}
	if tcp, ok := p.near.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the client sees a reset
	}
	p.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line.note(p, kind, p.answered)
}

// note remembers a fault that ended a connection.
func (l *Line) note(p *pair, kind string, answered time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[kind]++
	l.events = append(l.events, Event{At: time.Now(), Kind: kind, Client: name(p.near), Server: p.far.LocalAddr().String(), Answered: answered})
}

func (l *Line) count(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[kind]++
}

// Events returns the faults that ended a connection, oldest first.
func (l *Line) Events() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// Counts returns how often each fault happened.
func (l *Line) Counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}
