package sink

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// SMTPConfig says how a mail sink listens. Its zero value is usable.
type SMTPConfig struct {
	Addr         string   // STARTTLS listener; "" means 127.0.0.1 and a free port
	ImplicitAddr string   // listener with TLS from the first byte; "" means the same
	Username     string   // "" means "sink"
	Password     string   // "" means "sink-password"
	Hosts        []string // names in the certificate; nil means localhost and 127.0.0.1
	CA           *CA      // nil means an authority of its own
	Keep         int      // how many messages it keeps, the newest; 0 means 1000
	MaxBytes     int64    // size limit it offers; 0 means 10 MiB
	UTF8         bool     // offer SMTPUTF8 (RFC 6531)
	Most         int      // connections at once, more are refused as Postfix does; 0 means any number
	PerConn      int      // messages in one connection, more are refused as Exim does; 0 means any number
	Recipients   int      // how many it takes for one message; 0 means 1000
	// OnMessage is called after each message that was kept, from the goroutine of
	// its connection; nil means nobody is told.
	OnMessage func(Message)
	// Choose is asked at each stage where no fault of [SMTP.Inject] is due; from and
	// to are those of the envelope as far as it is known. nil means no faults. It
	// is called from many goroutines.
	Choose func(stage, from string, to []string) (Fault, bool)
	// OnEnd is told of the end of each connection by the client's address; nil
	// means nobody is told.
	OnEnd func(remote string, at time.Time)
}

// SMTP is a mail server that delivers nothing: it takes what an authenticated
// client sends over TLS, keeps the newest messages and counts all. Faults can
// be asked for. It speaks no SMTP without TLS but EHLO, STARTTLS and QUIT.
type SMTP struct {
	cfg      SMTPConfig
	servers  []*smtp.Server
	ears     []net.Listener
	addrs    [2]string
	done     chan struct{}
	serving  sync.WaitGroup
	conns    atomic.Int64
	open     atomic.Int64
	logins   atomic.Int64
	refusals atomic.Int64
	box      mailbox
	faults   faults

	mu                 sync.Mutex
	username, password string
}

// StartSMTP starts a sink. Close ends it.
func StartSMTP(cfg SMTPConfig) (*SMTP, error) {
	cfg, err := withDefaults(cfg)
	if err != nil {
		return nil, err
	}
	cert, err := cfg.CA.Issue(cfg.Hosts...)
	if err != nil {
		return nil, err
	}
	s := &SMTP{cfg: cfg, done: make(chan struct{}), username: cfg.Username, password: cfg.Password}
	s.box.keep = cfg.Keep
	tlsConfig := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	for i, addr := range []string{cfg.Addr, cfg.ImplicitAddr} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("listen for mail: %w", err)
		}
		s.addrs[i] = l.Addr().String()
		s.ears = append(s.ears, l)
		l = &faultyListener{Listener: l, sink: s}
		if i == 1 {
			l = tls.NewListener(l, tlsConfig)
		}
		s.serve(l, tlsConfig)
	}
	return s, nil
}

// withDefaults fills in what was left out.
func withDefaults(cfg SMTPConfig) (SMTPConfig, error) {
	orElse := func(s *string, otherwise string) {
		if *s == "" {
			*s = otherwise
		}
	}
	orElse(&cfg.Addr, "127.0.0.1:0")
	orElse(&cfg.ImplicitAddr, "127.0.0.1:0")
	orElse(&cfg.Username, "sink")
	orElse(&cfg.Password, "sink-password")
	if cfg.Keep == 0 {
		cfg.Keep = 1000
	}
	if cfg.Recipients == 0 {
		cfg.Recipients = 1000
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 10 << 20
	}
	if cfg.Hosts == nil {
		cfg.Hosts = []string{"localhost", "127.0.0.1"}
	}
	if cfg.CA != nil {
		return cfg, nil
	}
	ca, err := NewCA()
	cfg.CA = ca
	return cfg, err
}

// serve starts one server on l.
func (s *SMTP) serve(l net.Listener, tlsConfig *tls.Config) {
	server := smtp.NewServer(smtp.BackendFunc(s.newSession))
	server.Domain = "sink.sealpost.test"
	server.TLSConfig = tlsConfig
	server.MaxRecipients = s.cfg.Recipients
	server.MaxMessageBytes = s.cfg.MaxBytes
	server.EnableSMTPUTF8 = s.cfg.UTF8
	server.ReadTimeout = 5 * time.Minute // RFC 5321, section 4.5.3.2.7
	server.WriteTimeout = time.Minute
	server.ErrorLog = log.New(io.Discard, "", 0)
	s.servers = append(s.servers, server)
	s.serving.Go(func() { _ = server.Serve(l) }) // ends with Close
}

// Addr returns host and port of the STARTTLS listener.
func (s *SMTP) Addr() string { return s.addrs[0] }

// ImplicitAddr returns host and port of the listener with implicit TLS.
func (s *SMTP) ImplicitAddr() string { return s.addrs[1] }

// CAPEM returns the certificate that clients must trust.
func (s *SMTP) CAPEM() string { return s.cfg.CA.PEM() }

// SetLogin changes the one login that the sink takes. Connections that have
// authenticated go on.
func (s *SMTP) SetLogin(username, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.username, s.password = username, password
}

// login reports whether the login is right, and counts it.
func (s *SMTP) login(username, password string) bool {
	s.mu.Lock()
	ok := username == s.username && password == s.password
	s.mu.Unlock()
	if ok {
		s.logins.Add(1)
	} else {
		s.refusals.Add(1)
	}
	return ok
}

// SMTPCounts says what a mail sink has seen since it started.
type SMTPCounts struct {
	Connections int64 // accepted, also those that a fault ended at once
	Logins      int64 // that were right
	Refusals    int64 // logins that were wrong or that a fault refused
	Messages    int64 // kept, each duplicate counted
	Distinct    int64 // different Message-IDs among them
}

// Counts returns what the sink has seen.
func (s *SMTP) Counts() SMTPCounts {
	messages, distinct := s.box.counts()
	return SMTPCounts{
		Connections: s.conns.Load(), Logins: s.logins.Load(), Refusals: s.refusals.Load(),
		Messages: messages, Distinct: distinct,
	}
}

// Messages returns the messages that are kept, oldest first.
func (s *SMTP) Messages() []Message { return s.box.all() }

// Received returns how often each Message-ID came, without angle brackets.
func (s *SMTP) Received() map[string]int { return s.box.received() }

// Clear forgets messages and counts of messages.
func (s *SMTP) Clear() { s.box.clear() }

// Inject asks for a fault; it counts before those that were asked for earlier.
func (s *SMTP) Inject(f Fault) { s.faults.add(f) }

// ClearFaults takes all faults back and lets stalled exchanges go on.
func (s *SMTP) ClearFaults() { s.faults.clear() }

// Close ends the listeners and all connections.
func (s *SMTP) Close() error {
	select {
	case <-s.done:
		return nil
	default:
		close(s.done)
	}
	var first error
	for _, server := range s.servers {
		if err := server.Close(); err != nil && first == nil {
			first = fmt.Errorf("close mail sink: %w", err)
		}
	}
	for _, l := range s.ears { // a server that has not begun to serve knows of no listener yet
		_ = l.Close()
	}
	s.serving.Wait()
	return first
}

// faultyListener counts connections and applies faults of the stage "connect".
type faultyListener struct {
	net.Listener
	sink *SMTP
}

// Accept returns the next connection that no fault ends.
func (l *faultyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.sink.conns.Add(1)
		open := l.sink.open.Add(1)
		c = &countedConn{Conn: c, sink: l.sink}
		f, ok := l.sink.due("connect", "", "")
		if most := l.sink.cfg.Most; most > 0 && open > int64(most) {
			f, ok = Fault{Code: 421, Text: "4.7.0 sink.test Error: too many connections from 127.0.0.1"}, true
		}
		if !ok {
			return c, nil
		}
		l.sink.serving.Go(func() {
			defer c.Close()
			l.sink.wait(f)
			if !f.Cut {
				_, _ = fmt.Fprintf(c, "%d %s\r\n", f.Code, f.Text)
			}
		})
	}
}

// due returns the fault for a stage: one that was injected, or else a chosen one.
func (s *SMTP) due(stage, from string, to ...string) (Fault, bool) {
	if f, ok := s.faults.take(stage, to...); ok || s.cfg.Choose == nil {
		return f, ok
	}
	return s.cfg.Choose(stage, from, to)
}

// wait holds an exchange for as long as the fault says.
func (s *SMTP) wait(f Fault) {
	if f.Stall <= 0 {
		return
	}
	timer := time.NewTimer(f.Stall)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.faults.cleared():
	case <-s.done:
	}
}

// Message is one mail that the sink took.
type Message struct {
	At        time.Time
	MessageID string // without angle brackets, "" if there was none
	From      string // of the envelope
	To        []string
	UTF8      bool   // MAIL asked for SMTPUTF8
	Remote    string // address of the client
	Spoilt    bool   // a fault kept it and cut or refused all the same
	Raw       []byte // headers and body as they came, CRLF at line ends
}

// mailbox keeps the newest messages and counts all.
type mailbox struct {
	mu    sync.Mutex
	keep  int
	list  []Message
	total int64
	ids   map[string]int
}

func (b *mailbox) add(m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ids == nil {
		b.ids = map[string]int{}
	}
	b.total++
	b.ids[m.MessageID]++
	b.list = append(b.list, m)
	if len(b.list) >= 2*b.keep { // in steps, so that adding stays cheap
		b.list = slices.Clone(b.list[len(b.list)-b.keep:])
	}
}

func (b *mailbox) all() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list[max(0, len(b.list)-b.keep):])
}

func (b *mailbox) counts() (total, distinct int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total, int64(len(b.ids))
}

func (b *mailbox) received() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make(map[string]int, len(b.ids))
	for id, n := range b.ids {
		ids[id] = n
	}
	return ids
}

func (b *mailbox) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list, b.total, b.ids = nil, 0, nil
}
