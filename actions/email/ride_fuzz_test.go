package email

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/sealpost/sealpost/secrets/redact"
)

// played is a line to a server that says what it is given, whatever it hears.
type played struct {
	net.Conn // nil: nothing else is used
	says     io.Reader
	heard    bytes.Buffer
	closed   bool
}

func (p *played) Read(b []byte) (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	return p.says.Read(b)
}

func (p *played) Write(b []byte) (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	return p.heard.Write(b)
}

func (p *played) Close() error                { p.closed = true; return nil }
func (p *played) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: all that the server will ever say is there.
func (p *played) SetReadDeadline(time.Time) error { return nil }

// playedConn is a connection on which EHLO was answered.
func playedConn(t *testing.T, a *account, says []byte) (*conn, *played) {
	t.Helper()
	p := &played{says: io.MultiReader(strings.NewReader("220 x\r\n250-x\r\n250 PIPELINING\r\n"), bytes.NewReader(says))}
	raw := &budgetConn{Conn: p}
	raw.grant(replyBudget)
	sc, err := smtp.NewClient(raw, "x")
	if err == nil {
		err = sc.Hello("x")
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{account: a, raw: raw, sc: sc, clean: redact.Cleaner(), born: time.Now()}
	c.learn()
	p.heard.Reset()
	return c, p
}

// script reads replies as they come.
type script struct{ r *textproto.Reader }

// code is that of the next reply, 0 when there is none or it is no reply.
func (s script) code() int {
	code, _, err := s.r.ReadResponse(0)
	if err != nil {
		return 0
	}
	return code
}

// asks reports whether the next three replies ask for a text. named says whether
// the recipient was taken.
func (s script) asks() (text, named bool) {
	mail, rcpt, data := s.code(), s.code(), s.code()
	return mail == 250 && rcpt/10 == 25 && data == 354, rcpt/10 == 25
}

// FuzzTwoMailsOnALine sends two mails of which the second rides, to a server that
// says anything. Each has the replies that are its own, and no text leaves that
// was not asked for.
func FuzzTwoMailsOnALine(f *testing.F) {
	const one = "250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n"
	for _, s := range []string{
		one + one, one, one + "421 closing\r\n", "250 ok\r\n250 ok\r\n354 go\r\n550 no\r\n" + one, "250 ok\r\n250 ok\r\n354 go\r\n421 no\r\n" + one,
		one + "250 ok\r\n550 no\r\n354 go\r\n554 no\r\n250 ok\r\n", one + "451 no\r\n250 ok\r\n354 go\r\n", one + "250-ok\r\n250 ok\r\n250 ok\r\n354 go\r\n2",
		"250 ok\r\n550 no\r\n554 no\r\n250 reset\r\n" + one, one + "250 ok\r\n250 ok\r\n451 no\r\n250 ok\r\n", "250 ok\r\n250 ok\r\n354 go\r\n299 queued\r\n" + one,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		if len(says) > replyBudget/2 {
			return
		}
		letters := [2]*letter{}
		for i, text := range []string{"first text", "second text"} {
			letters[i] = &letter{from: "a@x.test", to: []recipient{{1, "b@x.test"}}, raw: []byte(text)}
		}
		w := &waiter{letter: letters[1], seat: make(chan *conn, 1)}
		a := &account{busy: 1, line: []*waiter{w}}
		defer a.retire()
		c, p := playedConn(t, a, says)
		begin := func(context.Context) error { return nil }
		model := script{textproto.NewReader(bufio.NewReader(bytes.NewReader(says)))}

		_, failed := c.transact(t.Context(), begin, letters[0])
		c.release(failed)
		asked, named := model.asks()
		checkPlayed(t, p, "first", asked, named, failed)
		if !asked {
			if s := <-w.seat; s != nil || strings.Contains(p.heard.String(), "second") {
				t.Fatalf("the second rode behind nothing: %q", p.heard.String())
			}
			return
		}
		code := model.code()
		if (failed == nil) != (code/100 == 2) {
			t.Fatalf("the dot was answered %d: %v", code, failed)
		}
		seat := <-w.seat
		if fit := code/100 == 2 || code >= 400 && code < 600 && code != 421; fit != (seat != nil) {
			t.Fatalf("the dot was answered %d, and the line went on: %t", code, seat != nil)
		}
		if seat == nil {
			return
		}
		p.heard.Reset()
		_, failed = c.transact(t.Context(), begin, letters[1])
		c.release(failed)
		asked, named = model.asks()
		checkPlayed(t, p, "second", asked, named, failed)
		if code := model.code(); asked && (failed == nil) != (code/100 == 2) {
			t.Fatalf("the second dot was answered %d: %v", code, failed)
		}
	})
}

// checkPlayed looks at what was said for one mail.
func checkPlayed(t *testing.T, p *played, text string, asked, named bool, failed *failure) {
	t.Helper()
	heard := p.heard.String()
	if sent := strings.Contains(heard, text+" text\r\n.\r\n"); sent != asked || !asked && (failed == nil || strings.Contains(heard, text)) {
		t.Fatalf("asked for %t and sent %t (%v): %q", asked, sent, failed, heard)
	}
	if empty := strings.Contains("\r\n"+heard, "\r\n.\r\n") && !asked; empty && named {
		t.Fatalf("an empty mail to somebody: %q", heard)
	}
}
