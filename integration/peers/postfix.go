package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue/queuetest"
)

// Names of the one account and the domain of every Postfix here.
const (
	MailUser   = "mailer@mail.test" // may submit mail
	MailDomain = "mail.test"        // local; so is example.test
	NoMailbox  = "nouser@mail.test" // refused with 550 5.1.1
)

const postfixStart = 30 * time.Second // 3 s on a quiet machine

// PostfixOptions vary a [Postfix]. The zero value is a sound server.
type PostfixOptions struct {
	// NoTLS leaves STARTTLS out and offers AUTH in the clear: what a server
	// that lost its certificate, or a man in the middle, looks like.
	NoTLS bool
	// CertificateFor replaces the names in the certificate: a server that
	// shows somebody else's. Nil: localhost, mail.test and 127.0.0.1.
	CertificateFor []string
}

// Postfix is a submission server of its own with SASL logins, one account, a
// maildir for all local addresses, and no way to send mail outside.
type Postfix struct {
	// Submission and Implicit are host:port of the listeners with STARTTLS
	// (as on 587) and with TLS from the first byte (as on 465).
	Submission, Implicit string
	// CA is the authority of the server's certificate, PEM.
	CA []byte

	dir  string
	proc *Process
}

// NewPostfix starts a Postfix whose account has the password, and stops it
// with the test. It skips the test where Postfix, its SASL tools or the right
// to start them are missing.
func NewPostfix(tb testing.TB, password string, o PostfixOptions) *Postfix {
	tb.Helper()
	if reason := postfixMissing(); reason != "" {
		tb.Skip("skipped: Postfix cannot run here: " + reason)
	}
	p := &Postfix{dir: filepath.Join(Dir(tb), "pf")}
	if err := p.configure(password, o); err != nil {
		tb.Fatal(err)
	}
	if err := p.start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// Postfix has no setup that needs an orderly end, but its master must
		// take its children with it.
		if err := p.proc.Stop(postfixStart); err != nil && !endedBySignal(err) {
			tb.Logf("stop Postfix: %v", err)
		}
	})
	return p
}

// postfixMissing says what keeps Postfix from running here, "" if nothing.
func postfixMissing() string {
	for _, tool := range []string{"postfix", "saslpasswd2"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "no " + tool + " (make install-test-deps installs it)"
		}
	}
	if os.Geteuid() != 0 {
		return "it must be started by root"
	}
	return ""
}

// endedBySignal says whether a process died of the signal it was sent.
func endedBySignal(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && !exit.Exited()
}

// configure writes the whole instance below p.dir.
func (p *Postfix) configure(password string, o PostfixOptions) error {
	for _, d := range []string{"etc/sasl", "spool", "data", "mail"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o755); err != nil {
			return fmt.Errorf("make Postfix' directories: %w", err)
		}
	}
	err := errors.Join(chown("postfix", p.path("data")), chown("nobody", p.path("mail")))
	if err != nil {
		return err
	}
	if err := p.certify(o.CertificateFor); err != nil {
		return err
	}
	ports := [2]int{}
	for i := range ports {
		if ports[i], err = queuetest.FreePort(); err != nil {
			return err
		}
	}
	p.Submission = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	p.Implicit = net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1]))
	files := map[string]string{
		"etc/main.cf":         mainCF(p.dir, o),
		"etc/master.cf":       masterCF(p.Submission, p.Implicit),
		"etc/boxes":           "if !/^nouser@/\n/@(mail|example)\\.test$/ Maildir/\nendif\n",
		"etc/sasl/smtpd.conf": smtpdConf(p.dir),
	}
	for name, text := range files {
		if err := os.WriteFile(p.path(name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write Postfix' %s: %w", name, err)
		}
	}
	return p.SetPassword(password)
}

// certify makes an authority and the server's certificate.
func (p *Postfix) certify(hosts []string) error {
	if hosts == nil {
		hosts = []string{"localhost", "mail.test", "127.0.0.1"}
	}
	ca, err := NewAuthority()
	if err != nil {
		return err
	}
	p.CA = ca.PEM
	chain, err := ca.Issue(hosts...)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.path("etc/server.pem"), chain, 0o600); err != nil {
		return fmt.Errorf("write Postfix' certificate: %w", err)
	}
	return nil
}

// start runs Postfix' master as a child of ours and waits for both listeners.
// "postfix start-fg" would leave a shell between us and it, which does not pass
// a signal on.
func (p *Postfix) start() error {
	// Makes the queue's directories, too.
	if out, err := exec.Command("postfix", "-c", p.path("etc"), "check").CombinedOutput(); err != nil {
		return fmt.Errorf("check Postfix' configuration: %w: %s", err, out)
	}
	out, err := exec.Command("postconf", "-c", p.path("etc"), "-h", "daemon_directory").Output()
	if err != nil {
		return fmt.Errorf("find Postfix' programs: %w", err)
	}
	master := exec.Command(filepath.Join(strings.TrimSpace(string(out)), "master"), "-c", p.path("etc"), "-s")
	master.Env = append(os.Environ(), "MAIL_CONFIG="+p.path("etc"))
	proc, err := StartProcess(master, p.path("out"))
	if err != nil {
		return err
	}
	p.proc = proc
	for _, addr := range []string{p.Submission, p.Implicit} {
		if err := Wait(postfixStart, "Postfix", func() error { return dialable(addr) }); err != nil {
			return fmt.Errorf("%w\n%s\n%s", errors.Join(err, proc.Kill()), proc.LogTail(), tail(p.Log(), 20))
		}
	}
	return nil
}

// SetPassword gives the account another password, at once.
func (p *Postfix) SetPassword(password string) error {
	cmd := exec.Command("saslpasswd2", "-p", "-c", "-f", p.path("sasldb2"), "-u", MailDomain, "mailer")
	cmd.Stdin = bytes.NewBufferString(password)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("saslpasswd2: %w: %s", err, out)
	}
	return chown("postfix", p.path("sasldb2"))
}

// Log is Postfix' own log so far.
func (p *Postfix) Log() string { return readFile(p.path("log")) }

// Files are the log and the queue as text, where a password must not show.
func (p *Postfix) Files() map[string][]byte {
	return map[string][]byte{"postfix log": []byte(p.Log())}
}

// loginRefused is the line for each refused AUTH, whatever its mechanism.
var loginRefused = regexp.MustCompile(`SASL [A-Z0-9-]+ authentication failed`)

// LoginsRefused is how many AUTH commands Postfix has refused.
func (p *Postfix) LoginsRefused() int { return len(loginRefused.FindAllString(p.Log(), -1)) }

// authCounted finds the count of AUTH commands in the line that Postfix logs
// at the end of each session: "auth=0/1" is none good of one, "auth=2" two.
var authCounted = regexp.MustCompile(`disconnect from .* auth=(?:\d+/)?(\d+)`)

// Logins is how many AUTH commands came in sessions that have ended.
func (p *Postfix) Logins() int {
	n := 0
	for _, m := range authCounted.FindAllStringSubmatch(p.Log(), -1) {
		count, _ := strconv.Atoi(m[1]) // digits by the expression
		n += count
	}
	return n
}

// sessionEnded finds the line at the end of each session.
var sessionEnded = regexp.MustCompile(`disconnect from `)

// Sessions is how many sessions have ended.
func (p *Postfix) Sessions() int { return len(sessionEnded.FindAllString(p.Log(), -1)) }

// Mails are the messages in the maildir, in no order.
func (p *Postfix) Mails() ([]*mail.Message, error) {
	names, err := filepath.Glob(p.path("mail/Maildir/new/*"))
	if err != nil {
		return nil, fmt.Errorf("list the maildir: %w", err)
	}
	var mails []*mail.Message
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the maildir: %w", err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", filepath.Base(name), err)
		}
		mails = append(mails, m)
	}
	return mails, nil
}

// path is a file of this instance.
func (p *Postfix) path(name string) string { return filepath.Join(p.dir, name) }

// chown gives a file to a user of the system.
func chown(name, path string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("find the user %s: %w", name, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return fmt.Errorf("read the id of %s: %w", name, err)
	}
	if err := os.Chown(path, uid, -1); err != nil {
		return fmt.Errorf("give a file to %s: %w", name, err)
	}
	return nil
}
