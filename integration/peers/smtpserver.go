package peers

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue/queuetest"
)

// smtpServerVersion is the mail server of Nodemailer's author, from npm.
const smtpServerVersion = "smtp-server@3.21.6"

const smtpServerStart = 20 * time.Second // 1 s on a quiet machine

// smtpServerScript runs it.
//
//go:embed smtpserver.js
var smtpServerScript []byte

// SMTPServer is a mail server with STARTTLS and one login, written by others in
// another language. It refuses recipients that begin with "no" with 550, and
// senders that begin with "later" with 451.
type SMTPServer struct {
	Addr string // host:port
	CA   []byte // PEM

	out string
}

// NewSMTPServer starts the server for the test. cache is the directory that keeps
// its npm packages between runs. It skips the test when npm is missing or cannot
// install them.
func NewSMTPServer(tb testing.TB, cache, password string) *SMTPServer {
	tb.Helper()
	node, err := exec.LookPath("node")
	if err == nil {
		err = installNPM(tb.Context(), cache, "node_modules/smtp-server/package.json", smtpServerVersion)
	}
	if err != nil {
		tb.Skipf("skipped: smtp-server cannot run here: %v", err)
	}
	ca, err := NewAuthority()
	if err != nil {
		tb.Fatal(err)
	}
	chain, err := ca.Issue("127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	port, err := queuetest.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	dir := Dir(tb)
	s := &SMTPServer{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), CA: ca.PEM, out: filepath.Join(dir, "mails")}
	for name, text := range map[string][]byte{"server.js": smtpServerScript, "server.pem": chain} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	cmd := exec.Command(node, "server.js", strconv.Itoa(port), s.out)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(cache, "node_modules"), "MAIL_USER="+MailUser, "MAIL_PASSWORD="+password)
	proc, err := StartProcess(cmd, filepath.Join(dir, "smtp-server.log"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = proc.Kill() })
	if err := Wait(smtpServerStart, "smtp-server", s.listens); err != nil {
		tb.Fatalf("%v\n%s", err, proc.LogTail())
	}
	return s
}

// listens returns nil when the server takes connections.
func (s *SMTPServer) listens() error {
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return err
	}
	return c.Close()
}

// TakenMail is a mail that an [SMTPServer] took.
type TakenMail struct {
	Session string   `json:"session"` // of the connection
	From    string   `json:"from"`
	To      []string `json:"to"`
	Text    string   `json:"text"` // header and body
}

// Mails are those that came so far.
func (s *SMTPServer) Mails() ([]TakenMail, error) {
	var list []TakenMail
	for line := range strings.Lines(readFile(s.out)) {
		if !strings.HasSuffix(line, "\n") {
			break // being written
		}
		var m TakenMail
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return nil, fmt.Errorf("read the mails of smtp-server: %w", err)
		}
		list = append(list, m)
	}
	return list, nil
}
