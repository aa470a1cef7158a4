package email

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/sealpost/sealpost/actions/sink"
)

// fake is an SMTP server that follows a script and notes what it is told. Unlike
// the sink it can be as wrong as a hostile one.
type fake struct {
	ln       net.Listener
	ca       *sink.CA
	tls      *tls.Config
	implicit bool
	// do says what happens at a step in place of the usual reply: "hang", "cut",
	// "rst" (a cut without a goodbye), "flood" (lines without end), "drip" (a byte
	// a second), "trickle" (a byte each 10 ms), "challenge" (at auth: 334 for
	// ever), "wait" (until open is closed, and then the usual), or the reply itself;
	// {auth} in it stands for the AUTH line, {b64}, {hex} and {url} for the password
	// in such a form. "dot@2" is the step in the server's second mail.
	do map[string]string
	// open ends the steps that wait.
	open chan struct{}
	// stuck gets one when a step began that only the client's time ends.
	stuck chan struct{}
	// mails counts MAIL commands.
	mails  atomic.Int64
	single bool // it writes replies byte by byte
	// pipelining is offered (RFC 2920). Commands in groups are read either way.
	pipelining bool
	chunking   bool // and texts by BDAT (RFC 3030)
	most       int  // bytes inside TLS after which it closes its first connection, 0: any number
	// all is the reply to every command, "" for the usual ones.
	all string

	mu    sync.Mutex
	conns []net.Conn
	plain bytes.Buffer // all that came outside of TLS
	inner bytes.Buffer // all that came inside
	wg    sync.WaitGroup
	// rested gets one when step "rest", after a mail, was done.
	rested chan struct{}
	done   chan struct{} // closed at the end
}

// startFake starts a server with a certificate for hosts that is good until end.
func startFake(t testing.TB, do map[string]string, end time.Time, hosts ...string) *fake {
	t.Helper()
	ca, err := sink.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueUntil(end, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{ln: ln, ca: ca, do: do, done: make(chan struct{}), open: make(chan struct{}), stuck: make(chan struct{}, 1), rested: make(chan struct{}, 8), tls: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10}}
	f.wg.Go(f.serve)
	t.Cleanup(f.close)
	return f
}

// goodFake has a certificate that verifies.
func goodFake(t testing.TB, do map[string]string) *fake {
	return startFake(t, do, time.Now().Add(time.Hour), "127.0.0.1")
}

func (f *fake) serve() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns = append(f.conns, c)
		f.mu.Unlock()
		f.wg.Go(func() {
			defer c.Close()
			f.talk(c)
		})
	}
}

func (f *fake) close() {
	_ = f.ln.Close()
	select {
	case <-f.done:
	default:
		close(f.done)
	}
	f.mu.Lock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// drain waits until the clients have closed all connections, so that every byte
// they sent has been noted.
func (f *fake) drain() {
	_ = f.ln.Close()
	f.wg.Wait()
}

// set changes the server before its next connection.
func (f *fake) set(change func(*fake)) *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	return f
}

// script changes what happens at a step.
func (f *fake) script(step, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do[step] = what
}

// at returns what happens at a step, "" for the usual.
func (f *fake) at(step string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do[step]
}

// heard returns what came outside and inside of TLS.
func (f *fake) heard() (plain, inner string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plain.String(), f.inner.String()
}

// line is the state of one connection.
type line struct {
	*fake
	c       net.Conn
	config  *tls.Config
	r       *bufio.Reader
	secure  bool
	auth    string
	greeted int
	named   int  // recipients
	nth     int  // of the server's mails
	asking  bool // it answers every line with a challenge
}

func (f *fake) talk(c net.Conn) {
	l := &line{fake: f, c: c, r: bufio.NewReader(c)}
	f.mu.Lock()
	implicit := f.implicit
	l.config = f.tls.Clone()
	f.mu.Unlock()
	if implicit {
		l.upgrade()
	}
	if !l.answer("greeting", "220 fake ESMTP") {
		return
	}
	for {
		text, err := l.read()
		if err != nil || !l.command(text) {
			return
		}
	}
}

// read returns one line and notes it.
func (l *line) read() (string, error) {
	text, err := l.r.ReadString('\n')
	l.mu.Lock()
	if l.secure {
		l.inner.WriteString(text)
	} else {
		l.plain.WriteString(text)
	}
	l.mu.Unlock()
	return strings.TrimRight(text, "\r\n"), err
}

// command answers one line; false ends the connection.
func (l *line) command(text string) bool {
	verb, _, _ := strings.Cut(strings.ToUpper(text), " ")
	if l.asking {
		return l.answer("challenge", "334 "+base64.StdEncoding.EncodeToString([]byte("and?")))
	}
	if l.all != "" && verb != "DATA" {
		return l.answer("all", l.all)
	}
	switch verb {
	case "EHLO":
		if l.greeted++; l.secure {
			return l.answer("ehlo2", "250-fake\r\n"+l.offers()+"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN")
		}
		return l.answer("ehlo", "250-fake\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS")
	case "STARTTLS":
		return l.answer("starttls", "220 go") && l.upgrade()
	case "AUTH":
		l.auth = text
		if l.asking = l.at("auth") == "challenge"; l.asking {
			return l.answer("challenge", "334 ")
		}
		return l.answer("auth", "235 2.7.0 ok")
	case "RCPT":
		l.named++
		return l.answer(l.rcpt(), "250 2.1.5 ok")
	case "MAIL", "RSET":
		if verb == "MAIL" {
			l.nth, l.named = int(l.mails.Add(1)), 0
		}
		return l.answer(strings.ToLower(verb), "250 2.1.0 ok")
	case "DATA":
		if !l.answer("data", "354 go") {
			return false
		}
		if r := l.step("data"); r != "" && r != "wait" && !strings.HasPrefix(r, "354") {
			return true // refused: the next line is a command
		}
		if !l.swallow() || !l.answer("dot", "250 2.0.0 queued as 1") {
			return false
		}
		if l.at("rest") == "" {
			return true
		}
		defer func() { l.rested <- struct{}{} }()
		return l.answer("rest", "")
	case "BDAT":
		return l.chunk(text)
	case "QUIT":
		l.answer("quit", "221 bye")
		return false
	}
	return l.answer("other", "500 what")
}

// rcpt is the step of this recipient, if it has one of its own.
func (l *line) rcpt() string {
	if step := fmt.Sprint("rcpt", l.named); l.step(step) != "" {
		return step
	}
	return "rcpt"
}

// step returns what happens at a step of this mail.
func (l *line) step(name string) string {
	if what := l.at(fmt.Sprintf("%s@%d", name, l.nth)); what != "" {
		return what
	}
	return l.at(name)
}

// swallow reads a message up to its dot.
func (l *line) swallow() bool {
	for n := 0; ; n++ {
		text, err := l.read()
		if err != nil {
			return false
		}
		if n == 20 && l.at("text") != "" {
			return l.answer("text", "")
		}
		if text == "." {
			return true
		}
	}
}

// upgrade encrypts the line.
func (l *line) upgrade() bool {
	if l.at("handshake") != "" {
		_, _ = l.r.Peek(1) // what comes before the client's hello is dropped
		return l.answer("handshake", "") && false
	}
	c := tls.Server(l.c, l.config)
	if err := c.Handshake(); err != nil {
		l.hang() // to note what may still come in the clear
		return false
	}
	l.c, l.r, l.secure = c, bufio.NewReader(l.upTo(c)), true
	return true
}

// hang reads until the other side gives up.
func (l *line) hang() {
	for {
		if _, err := l.read(); err != nil {
			return
		}
	}
}

// answer does what the script says at a step, or replies as usual.
func (l *line) answer(step, usual string) bool {
	reply := l.step(step)
	if reply == "hang" || reply == "drip" || reply == "trickle" {
		select {
		case l.stuck <- struct{}{}:
		default:
		}
	}
	switch reply {
	case "wait":
		select {
		case <-l.open:
		case <-l.done:
		}
		reply = usual
	case "hang":
		l.hang()
		return false
	case "cut":
		return false
	case "rst":
		if tcp, ok := l.socket().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
		return false
	case "flood":
		return l.pour([]byte(strings.Repeat("250-"+strings.Repeat("x", 500)+"\r\n", 100)), 0)
	case "drip":
		return l.pour([]byte("2"), time.Second)
	case "trickle":
		return l.pour([]byte("2"), 10*time.Millisecond)
	case "":
		reply = usual
	}
	reply = strings.NewReplacer("{auth}", l.auth, "{b64}", base64.StdEncoding.EncodeToString([]byte(password)),
		"{hex}", hex.EncodeToString([]byte(password)), "{url}", url.QueryEscape(password)).Replace(reply)
	piece := len(reply) + 2
	if l.single {
		piece = 1
	}
	var err error
	for out := []byte(reply + "\r\n"); err == nil && len(out) > 0; out = out[min(piece, len(out)):] {
		_, err = l.c.Write(out[:min(piece, len(out))])
	}
	return err == nil && !strings.HasPrefix(reply, "421")
}

// socket is the line below TLS.
func (l *line) socket() net.Conn {
	if c, ok := l.c.(*tls.Conn); ok {
		return c.NetConn()
	}
	return l.c
}

// pour writes chunk again and again until the other side has closed. It begins
// as a reply does.
func (l *line) pour(chunk []byte, pause time.Duration) bool {
	tick := time.NewTicker(max(pause, 1))
	defer tick.Stop()
	for {
		if _, err := l.c.Write(chunk); err != nil {
			return false
		}
		if pause == 0 {
			continue
		}
		select {
		case <-l.done:
			return false
		case <-tick.C:
		}
	}
}

// holdsLogin reports whether text has the password or a login in it.
func holdsLogin(text string) bool {
	return strings.Contains(text, password) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(password))) ||
		strings.Contains(strings.ToUpper(text), "AUTH")
}

// stubAuth is a login that says nothing.
type stubAuth struct{}

func (stubAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "", nil, nil }
func (stubAuth) Next([]byte, bool) ([]byte, error)              { return nil, nil }
