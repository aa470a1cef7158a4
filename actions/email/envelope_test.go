package email

import (
	"bufio"
	"bytes"
	"net/textproto"
	"strings"
	"testing"
)

// TestGroupsOfCommandsAreTakenBack: all commands of an envelope have gone out when
// the first is refused. What the server then asks for must not become a mail.
func TestGroupsOfCommandsAreTakenBack(t *testing.T) {
	const refused = "550 5.1.1 no such user"
	for _, tt := range []struct {
		name    string
		do      map[string]string
		outcome string
		code    string
		after   string // what follows DATA on the line
		conns   int    // for this mail and the next
	}{
		{"nobody is taken, DATA is refused", map[string]string{"rcpt": refused, "data": "554 5.5.1 no valid recipients"}, "dead", "550 5.1.1", "RSET\r\n", 1},
		{"nobody is taken, a text is asked for", map[string]string{"rcpt": refused, "dot": "554 5.5.1 no valid recipients"}, "dead", "550 5.1.1", ".\r\nRSET\r\n", 1},
		{"nobody is taken, an empty text is", map[string]string{"rcpt": refused}, "dead", "550 5.1.1", ".\r\nRSET\r\n", 1},
		{"the sender is refused, all that follows too", map[string]string{"mail": "451 4.3.0 later", "rcpt": "503 5.5.1 MAIL first", "data": "503 5.5.1 MAIL first"}, "retry", "451 4.3.0", "RSET\r\n", 1},
		{"the sender is refused, recipients are taken", map[string]string{"mail": "451 4.3.0 later"}, "retry", "451 4.3.0", "", 2},
		{"the sender is refused, recipients are not, a text is asked for", map[string]string{"mail": "451 4.3.0 later", "rcpt": refused}, "retry", "451 4.3.0", ".\r\nRSET\r\n", 1},
		{"DATA is refused", map[string]string{"data": "451 4.3.0 later"}, "retry", "451 4.3.0", "RSET\r\n", 1},
		{"the line ends after MAIL", map[string]string{"mail": "421 4.3.2 shutting down"}, "retry", "421 4.3.2", "", 3}, // a kept one may just have been closed: it is tried anew
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := goodFake(t, tt.do).set(func(f *fake) { f.pipelining = true })
			a := action(t, vaultFor(t, f.ln.Addr().String(), f.ca.PEM()), 0)
			reply, err := do(t, a, job(t, "1", fields{"message": "hello there"}))
			if outcome(err) != tt.outcome || reply.Code != tt.code {
				t.Errorf("got %s %q (%v), want %s %q", outcome(err), reply.Code, err, tt.outcome, tt.code)
			}
			f.set(func(f *fake) { f.do = map[string]string{} })
			if _, err := do(t, a, job(t, "2", fields{"message": "the next"})); err != nil {
				t.Errorf("the next mail: %v", err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			f.drain()
			if n := len(f.conns); n != tt.conns {
				t.Errorf("%d connections, want %d", n, tt.conns)
			}
			_, inner := f.heard()
			if strings.Contains(inner, "hello there") || !strings.Contains(inner, "the next") {
				t.Errorf("the server heard:\n%s", inner)
			}
			_, after, _ := strings.Cut(inner, "\r\nDATA\r\n")
			if next := "MAIL FROM"; tt.conns == 1 && !strings.HasPrefix(after, tt.after+next) {
				t.Errorf("after DATA:\n%q, want %q", after[:min(len(after), 100)], tt.after+next)
			}
		})
	}
}

// TestAGroupForAClosedConnectionGoesOutAnew: the server has reset the connection
// since the last mail, so that the first write fails. Nothing was sent, and the
// mail needs no second attempt.
func TestAGroupForAClosedConnectionGoesOutAnew(t *testing.T) {
	f := goodFake(t, map[string]string{"rest": "rst"}).set(func(f *fake) { f.pipelining = true })
	a := action(t, vaultFor(t, f.ln.Addr().String(), f.ca.PEM()), 0)
	if _, err := do(t, a, job(t, "1", nil)); err != nil {
		t.Fatal(err)
	}
	<-f.rested
	f.script("rest", "")
	if reply, err := do(t, a, job(t, "2", nil)); err != nil {
		t.Errorf("got %+v %v", reply, err)
	}
}

// FuzzStuffer compares with net/textproto, whatever the pieces. A CR alone is
// the one difference: textproto lets it stand.
func FuzzStuffer(f *testing.F) {
	for _, s := range []string{"", ".", "..\r\n.", "a\r\n.b\r\n", "a\n.\nb", "a\r\n\r\n.\r\n", "\r\n.", "x\r", "a\r.\rb"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var s stuffer
		cut = max(0, min(cut, len(text)))
		got := s.end(s.add(s.add(nil, text[:cut]), text[cut:]))
		if rest := bytes.ReplaceAll(got, []byte("\r\n"), nil); bytes.ContainsAny(rest, "\r\n") {
			t.Fatalf("%q has another line end than CRLF", got)
		}
		if bytes.HasPrefix(got, []byte(".\r\n")) || bytes.Contains(got, []byte("\r\n.\r\n")) {
			t.Fatalf("%q ends early", got)
		}
		if bytes.Contains(bytes.ReplaceAll(text, []byte("\r\n"), nil), []byte("\r")) || len(text) == 0 {
			return
		}
		var want bytes.Buffer
		b := bufio.NewWriter(&want)
		w := textproto.NewWriter(b).DotWriter()
		_, _ = w.Write(text)
		_ = w.Close()
		if string(got)+".\r\n" != want.String() {
			t.Fatalf("got %q, want %q", got, want.String())
		}
	})
}
