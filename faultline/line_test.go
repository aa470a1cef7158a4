package faultline

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo is a server that answers each piece with itself. got has the bytes of
// each piece; nobody need take them.
func echo(t *testing.T) (addr string, got <-chan int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	pieces := make(chan int, 100)
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				buf := make([]byte, 1024)
				for {
					n, err := c.Read(buf)
					select {
					case pieces <- n:
					default:
					}
					if err != nil {
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return listener.Addr().String(), pieces
}

// one opens a line with one connection over it, which has carried a word.
func one(t *testing.T) (*Line, *pair, net.Conn, <-chan int) {
	t.Helper()
	addr, got := echo(t)
	l, err := Open(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := say(c, "hello"); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		return l, p, c, got
	}
	t.Fatal("the line has no connection")
	return nil, nil, nil, nil
}

// say sends a word and waits for its echo.
func say(c net.Conn, word string) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(word)); err != nil {
		return err
	}
	buf := make([]byte, len(word))
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if string(buf) != word {
		return errors.New("another word came back: " + string(buf))
	}
	return nil
}

func TestAFaultThatEndsAConnectionIsNoted(t *testing.T) {
	for _, kind := range []string{Cut, HalfOpen, Reset} {
		t.Run(kind, func(t *testing.T) {
			l, p, c, got := one(t)
			p.spoil(kind, 1)
			if err := say(c, "again"); err == nil {
				t.Fatal("the connection lives on")
			}
			events := l.Events()
			if len(events) != 1 || events[0].Kind != kind || l.Counts()[kind] != 1 {
				t.Fatalf("noted %+v, %v, want one %s", events, l.Counts(), kind)
			}
			e := events[0]
			if e.Client != c.LocalAddr().String() || e.Answered.After(e.At) || e.Answered.IsZero() {
				t.Errorf("noted %+v, want the client %v and an answer before the fault", e, c.LocalAddr())
			}
			if kind == Reset {
				late := time.After(10 * time.Second)
				for left := len("helloagain"); left > 0; {
					select {
					case n := <-got:
						left -= n
					case <-late:
						t.Fatalf("the server lacks %d bytes: it must get the request of the reset too", left)
					}
				}
			}
		})
	}
}

func TestAFaultThatPassesLosesNoByte(t *testing.T) {
	for _, kind := range []string{Stalled, Slow, Drips} {
		t.Run(kind, func(t *testing.T) {
			l, p, c, _ := one(t)
			p.spoil(kind, 1)
			before := time.Now()
			if err := say(c, "all the bytes of this sentence, and in their order"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(before); kind != Slow && took < 40*time.Millisecond {
				t.Errorf("the echo came after %v: nothing was wrong", took)
			}
			if len(l.Events()) != 0 || l.Counts()[kind] != 1 {
				t.Errorf("noted %v, %v, want no end and one %s", l.Events(), l.Counts(), kind)
			}
		})
	}
}

func TestDisturbSpoilsWhatThereIs(t *testing.T) {
	addr, _ := echo(t)
	l, err := Open(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() { l.Disturb(ctx, 30*time.Millisecond, 1) })
	for range 12 { // clients that talk until it fails, and connect again
		all.Go(func() {
			for ctx.Err() == nil {
				c, err := net.Dial("tcp", l.Addr())
				for err == nil && ctx.Err() == nil {
					err = say(c, "hello")
				}
				if c != nil {
					_ = c.Close()
				}
			}
		})
	}
	for len(l.Counts()) < 6 {
		select {
		case <-ctx.Done():
			t.Fatalf("only %v happened in the time", l.Counts())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
