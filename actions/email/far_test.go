package email

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// farLine is a TCP line to a server on which each piece takes 5 ms to the other
// end, so that a round trip takes 10.
func farLine(b *testing.B, to address) address {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var side sync.WaitGroup
	side.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to.Addr)
			if err != nil {
				_ = near.Close()
				continue
			}
			side.Go(func() { carry(far, near) })
			side.Go(func() { carry(near, far) })
		}
	})
	b.Cleanup(func() { _ = l.Close(); side.Wait() }) // the clients have closed by then
	return address{l.Addr().String(), to.CAPEM}
}

// carry passes on what it reads, 5 ms later.
func carry(to, from net.Conn) {
	type piece struct {
		data []byte
		due  time.Time
	}
	late := make(chan piece, 1024)
	var side sync.WaitGroup
	side.Go(func() {
		for p := range late {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data)
		}
		_ = to.Close()
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			late <- piece{bytes.Clone(buf[:n]), time.Now().Add(5 * time.Millisecond)}
		}
		if err != nil {
			break
		}
	}
	close(late)
	side.Wait()
}
