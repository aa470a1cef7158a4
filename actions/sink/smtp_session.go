package sink

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Fault is something that a mail sink does wrong on demand.
type Fault struct {
	// Stage is where: "connect" (in place of the greeting), "ehlo", "auth",
	// "mail", "rcpt", or "dot" (after the whole message).
	Stage string
	Code  int    // the reply, such as 450; needs no Text
	Text  string // may begin with an enhanced code, "4.7.1 later"; "" means a plain word
	Cut   bool   // close the connection in place of a reply
	// Stall waits before reply or cut. With neither Code nor Cut the exchange then
	// goes on as if nothing had been.
	Stall time.Duration
	Keep  bool    // at "dot": keep the message all the same; it was taken, only the reply is bad
	To    string  // only when this recipient is named ("rcpt") or among those named ("dot"); "" means any
	Times int     // how often; 0 means until ClearFaults
	Share float64 // of the exchanges, by chance, 0..1; 0 means all
}

// faults is the list of faults that were asked for. The newest counts first.
type faults struct {
	mu   sync.Mutex
	list []*Fault
	done chan struct{} // closed by clear
}

func (l *faults) add(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, &f)
}

func (l *faults) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
	if l.done != nil {
		close(l.done)
		l.done = nil
	}
}

// cleared returns a channel that the next clear closes.
func (l *faults) cleared() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
	}
	return l.done
}

// take returns the fault that is due at this stage and counts it down.
func (l *faults) take(stage string, recipients ...string) (Fault, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.list) - 1; i >= 0; i-- {
		f := l.list[i]
		if f.Stage != stage || f.To != "" && !contains(recipients, f.To) {
			continue
		}
		if f.Share > 0 && rand.Float64() >= f.Share {
			continue
		}
		taken := *f
		if f.Times > 0 {
			f.Times--
			if f.Times == 0 {
				l.list = append(l.list[:i], l.list[i+1:]...)
			}
		}
		return taken, true
	}
	return Fault{}, false
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if strings.EqualFold(e, s) {
			return true
		}
	}
	return false
}

// session is one connection's state.
type session struct {
	sink *SMTP
	conn *smtp.Conn
	user bool
	from string
	utf8 bool
	to   []string
	took int // messages
}

// errEnough is what Exim says when a connection has taken its most.
var errEnough = &smtp.SMTPError{Code: 421, EnhancedCode: smtp.NoEnhancedCode, Message: "too many messages in this connection"}

var errTLSFirst = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Must issue a STARTTLS command first"}

// newSession begins with EHLO, before and again after STARTTLS.
func (s *SMTP) newSession(c *smtp.Conn) (smtp.Session, error) {
	se := &session{sink: s, conn: c}
	if err := se.fault("ehlo"); err != nil {
		return nil, err
	}
	return se, nil
}

// fault applies the fault that is due, if one is, and returns its reply.
func (se *session) fault(stage string, recipients ...string) error {
	f, ok := se.sink.due(stage, se.from, recipients...)
	if !ok {
		return nil
	}
	return se.apply(f)
}

// apply waits, cuts, or returns the reply of a fault.
func (se *session) apply(f Fault) error {
	if f.Stall > 0 || f.Cut {
		se.flush()
	}
	se.sink.wait(f)
	if f.Cut {
		_ = se.conn.Conn().Close() // Conn.Close would deadlock: it ends this session
		return errors.New("cut")
	}
	if f.Code == 0 {
		return nil
	}
	text, enhanced := f.Text, smtp.EnhancedCode{f.Code / 100, 0, 0}
	if word, rest, found := strings.Cut(text, " "); found {
		var e smtp.EnhancedCode
		if n, _ := fmt.Sscanf(word, "%d.%d.%d", &e[0], &e[1], &e[2]); n == 3 {
			text, enhanced = rest, e
		}
	}
	if text == "" {
		text = "as asked for"
	}
	return &smtp.SMTPError{Code: f.Code, EnhancedCode: enhanced, Message: text}
}

// flush sends the replies that wait for the end of a group of commands.
func (se *session) flush() {
	c := se.conn.Conn()
	if encrypted, ok := c.(*tls.Conn); ok {
		c = encrypted.NetConn()
	}
	if counted, ok := c.(*countedConn); ok {
		_ = counted.flush()
	}
}

// AuthMechanisms returns what EHLO offers once the line is encrypted.
func (se *session) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

// Auth begins a login.
func (se *session) Auth(mech string) (sasl.Server, error) {
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, username, password string) error {
			return se.login(username, password)
		}), nil
	case sasl.Login:
		return &loginServer{authenticate: se.login}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

// login checks a login, after the faults.
func (se *session) login(username, password string) error {
	if err := se.fault("auth"); err != nil {
		se.sink.refusals.Add(1)
		return err
	}
	if !se.sink.login(username, password) {
		return smtp.ErrAuthFailed
	}
	se.user = true
	return nil
}

// Mail begins a message.
func (se *session) Mail(from string, options *smtp.MailOptions) error {
	if _, encrypted := se.conn.TLSConnectionState(); !encrypted {
		return errTLSFirst
	}
	if !se.user {
		return smtp.ErrAuthRequired
	}
	if most := se.sink.cfg.PerConn; most > 0 && se.took >= most {
		return errEnough
	}
	se.from, se.utf8 = from, options != nil && options.UTF8
	return se.fault("mail")
}

// Rcpt adds a recipient.
func (se *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := se.fault("rcpt", to); err != nil {
		return err
	}
	se.to = append(se.to, to)
	return nil
}

// Data takes the message and decides about it after its last byte.
func (se *session) Data(r io.Reader) error {
	var b bytes.Buffer
	b.Grow(8 << 10) // by BDAT the text comes by a pipe, each read of which is a switch of goroutines
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	raw := b.Bytes()
	m := Message{At: time.Now(), MessageID: messageID(raw), From: se.from, To: se.to, UTF8: se.utf8, Raw: raw,
		Remote: se.conn.Conn().RemoteAddr().String()}
	if f, ok := se.sink.due("dot", se.from, se.to...); ok {
		if f.Keep {
			m.Spoilt = f.Cut || f.Code/100 > 2
			se.sink.take(m)
		}
		if err := se.apply(f); err != nil || f.Keep {
			return err
		}
	}
	se.sink.take(m)
	se.took++
	return nil
}

// take keeps a message and tells of it.
func (s *SMTP) take(m Message) {
	s.box.add(m)
	if s.cfg.OnMessage != nil {
		s.cfg.OnMessage(m)
	}
}

// messageID returns the Message-ID of a raw message, or "".
func messageID(raw []byte) string {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return ""
	}
	return strings.Trim(m.Header.Get("Message-Id"), "<> ")
}

// Reset forgets the message that had begun.
func (se *session) Reset() { se.from, se.to = "", nil }

// Logout ends the session.
func (se *session) Logout() error { return nil }

// loginServer is the LOGIN mechanism, which go-sasl has for clients only:
// two questions, the answers in base64 (draft-murchison-sasl-login).
type loginServer struct {
	step         int
	username     string
	authenticate func(username, password string) error
}

// Next asks for the username unless it came with AUTH, then for the password.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.step == 0 && response == nil {
		l.step = 1
		return []byte("Username:"), false, nil
	}
	if l.step <= 1 {
		l.step = 2
		l.username = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.authenticate(l.username, string(response))
}
