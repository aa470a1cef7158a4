package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

// far is a line to a server on which each piece takes 10 ms to the other end.
type far struct {
	net.Listener
	to   string
	side sync.WaitGroup
	mu   sync.Mutex
	ends []net.Conn
}

func newFar(t *testing.T, to string) *far {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{Listener: l, to: to}
	f.side.Go(f.serve)
	t.Cleanup(f.end)
	return f
}

func (f *far) serve() {
	for {
		near, err := f.Accept()
		if err != nil {
			return
		}
		there, err := net.Dial("tcp", f.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		f.mu.Lock()
		f.ends = append(f.ends, near, there)
		f.mu.Unlock()
		f.side.Go(func() { carry(there, near) })
		f.side.Go(func() { carry(near, there) })
	}
}

// end cuts all lines.
func (f *far) end() {
	_ = f.Close()
	f.mu.Lock()
	for _, c := range f.ends {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.side.Wait()
}

// carry passes on what it reads, later.
func carry(to io.WriteCloser, from io.Reader) {
	type piece struct {
		data []byte
		due  time.Time
	}
	late := make(chan piece, 1024)
	var side sync.WaitGroup
	side.Go(func() {
		for p := range late {
			<-time.After(time.Until(p.due)) // the length of the line
			_, _ = to.Write(p.data)
		}
		_ = to.Close()
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			late <- piece{bytes.Clone(buf[:n]), time.Now().Add(10 * time.Millisecond)}
		}
		if err != nil {
			break
		}
	}
	close(late)
	side.Wait()
}

// byBDAT is how many texts a session that has ended got so.
var byBDAT = regexp.MustCompile(`disconnect from .* bdat=(\d+)`)

// TestManyMailsFlyToPostfix: on a long way each mail is one flight, the next goes out
// before the first is answered, and whom Postfix refuses is told so, and nobody else.
func TestManyMailsFlyToPostfix(t *testing.T) {
	s := newSite(t)
	postfix := peers.NewPostfix(t, password, peers.PostfixOptions{})
	way := newFar(t, postfix.Submission)
	s.serve()
	s.put("MAIL", narrow(smtpSecret(way.Addr().String(), peers.MailUser, password, string(postfix.CA), "starttls")))
	want := map[string]int{}
	sendRides(s, func(i int) (map[string]any, string) {
		if i%9 == 4 {
			return map[string]any{"to": peers.NoMailbox}, "dead"
		}
		want[fmt.Sprint("ride ", i)] = 1
		return map[string]any{}, "done"
	})
	wantMails(t, postfix, want)
	way.end()
	peers.Eventually(t, soon, "the end of the sessions", func() error {
		texts := 0
		for _, m := range byBDAT.FindAllStringSubmatch(postfix.Log(), -1) {
			n := 0
			_, _ = fmt.Sscan(strings.TrimSpace(m[1]), &n)
			texts += n
		}
		if texts < rides/2 {
			return errors.New(fmt.Sprint(texts, " texts by BDAT"))
		}
		t.Logf("%d of %d texts by BDAT", texts, rides)
		return nil
	})
}
