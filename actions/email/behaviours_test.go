package email

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/secrets"
)

// behaviour is one way in which a server can be wrong.
type behaviour struct {
	name   string
	do     map[string]string
	server func(testing.TB, *fake)
	login  func(*secrets.SMTP)
	more   fields // of the job
	// want are the reasons that are right, with | between; "done" for a mail
	// that counts as accepted.
	want string
	// stall says that only time ends it: the server's line looks like one of
	// several, and textproto waits for the last.
	stall bool
	// silent says that no byte of a login may have left, encrypted or not.
	silent bool
	// grouped says that the server offers PIPELINING.
	grouped bool
}

// stalls reports whether only its time ends an attempt.
func (b behaviour) stalls() bool {
	for _, what := range b.do {
		if what == "hang" || what == "drip" || what == "trickle" {
			return !strings.HasPrefix(b.want, "credential")
		}
	}
	return b.stall
}

// timeout is the time of an attempt.
func (b behaviour) timeout() time.Duration {
	if b.stalls() {
		return stallTimeout
	}
	return hostileTimeout
}

// at step a server does this, and that is what it must come to.
func on(step, what, want string) behaviour {
	name := what
	if len(name) > 40 {
		name = name[:40]
	}
	return behaviour{name: fmt.Sprintf("%s at %s", name, step), do: map[string]string{step: what}, want: want,
		silent: step == "greeting" || step == "ehlo" || step == "starttls" || step == "handshake" || step == "ehlo2" && what != "usual"}
}

// steps are the replies of a server that are not bytes of TLS.
var textSteps = []string{"greeting", "ehlo", "starttls", "ehlo2", "auth", "mail", "rcpt1", "rcpt2", "data", "dot"}

// lost is what a broken line comes to.
func lost(step string) string {
	if step == "dot" {
		return "unknown"
	}
	return "transient"
}

// behaviours are all of them.
func behaviours() []behaviour {
	var list []behaviour
	for _, step := range append(textSteps, "handshake") {
		for _, what := range []string{"hang", "cut", "rst", "drip", "trickle"} {
			want := lost(step)
			if step == "handshake" && what == "trickle" {
				want = "credential" // five bytes are enough to see that it is no TLS
			}
			list = append(list, on(step, what, want))
		}
	}
	for _, step := range textSteps {
		list = append(list,
			on(step, "flood", lost(step)),
			on(step, "421 4.3.2 closing", "transient"),
			on(step, strings.Repeat("2", 100_000), lost(step)),
			on(step, "\x00\x00\x00", lost(step)),
			on(step, "no SMTP at all", lost(step)),
			behaviour{name: "an empty line at " + step, do: map[string]string{step: "\r\n"}, want: lost(step)},
		)
		// bufio gives out a line that the budget has cut, so the code counts.
		want := map[string]string{"ehlo": "credential", "ehlo2": "credential", "dot": "done"}[step]
		if want == "" {
			want = "transient"
		}
		list = append(list, on(step, "250 "+strings.Repeat("x", 100_000), want))
		list = append(list, on(step, "999 4.0.0 what", lost(step)))
	}
	list = append(list, logins()...)
	list = append(list, doors()...)
	list = append(list, liars()...)
	return append(list, echoes()...)
}

// doors are servers to which no login may go.
func doors() []behaviour {
	version := func(v uint16) func(testing.TB, *fake) {
		return func(_ testing.TB, f *fake) { f.tls.MaxVersion = v }
	}
	cert := func(end time.Time, own bool, hosts ...string) func(testing.TB, *fake) {
		return func(t testing.TB, f *fake) {
			ca := f.ca
			if !own {
				var err error
				if ca, err = sink.NewCA(); err != nil {
					t.Fatal(err)
				}
			}
			c, err := ca.IssueUntil(end, hosts...)
			if err != nil {
				t.Fatal(err)
			}
			f.tls.Certificates = []tls.Certificate{c}
		}
	}
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	implicit := func(l *secrets.SMTP) { l.TLS = "implicit" }
	list := []behaviour{
		{name: "a certificate of another authority", server: cert(soon, false, "127.0.0.1"), want: "credential"},
		{name: "a certificate that has expired", server: cert(past, true, "127.0.0.1"), want: "credential"},
		{name: "a certificate for another name", server: cert(soon, true, "other.test"), want: "credential"},
		{name: "an expired one of another authority for another name", server: cert(past, false, "other.test"), want: "credential"},
		{name: "no certificate at all", server: func(_ testing.TB, f *fake) { f.tls.Certificates = nil }, want: "transient"},
		{name: "an authority that is not given", login: func(l *secrets.SMTP) { l.CAPEM = "" }, want: "credential"},
		{name: "TLS 1.0 only", server: version(tls.VersionTLS10), want: "credential"},
		{name: "TLS 1.1 only", server: version(tls.VersionTLS11), want: "credential"},
		{name: "STARTTLS taken out", do: map[string]string{"ehlo": "250-fake\r\n250-XXXXXXXX\r\n250 AUTH PLAIN LOGIN"}, want: "credential"},
		{name: "STARTTLS refused", do: map[string]string{"starttls": "502 5.5.1 no"}, want: "credential"},
		{name: "STARTTLS refused for now", do: map[string]string{"starttls": "454 4.7.0 not now"}, want: "transient"},
		{name: "HELO only", do: map[string]string{"ehlo": "502 no", "other": "250 fake"}, want: "credential"},
		{name: "garbage in place of a handshake", do: map[string]string{"handshake": strings.Repeat("garbage ", 100)}, want: "credential"},
		{name: "SMTP in place of a handshake", do: map[string]string{"handshake": "250 AUTH PLAIN"}, want: "credential"},
		{name: "an endless handshake", do: map[string]string{"handshake": "flood"}, want: "credential"},
		{name: "a record of TLS that never ends", do: map[string]string{"handshake": "\x16\x03\x03\x40\x00" + strings.Repeat("\x00", 100)}, want: "transient"},
		{name: "an alert of TLS", do: map[string]string{"handshake": "\x15\x03\x03\x00\x02\x02\x28"}, want: "transient"},
		{name: "implicit TLS to a server without", login: implicit, want: "credential"},
		{name: "implicit TLS of another authority", login: func(l *secrets.SMTP) { l.TLS, l.CAPEM = "implicit", "" },
			server: func(_ testing.TB, f *fake) { f.implicit = true }, want: "credential"},
		{name: "STARTTLS to a server of implicit TLS", server: func(_ testing.TB, f *fake) { f.implicit = true }, want: "transient", stall: true},
		{name: "a greeting of 554", do: map[string]string{"greeting": "554 5.7.1 go away"}, want: "transient"},
		{name: "a greeting of 250", do: map[string]string{"greeting": "250 hello"}, want: "transient"},
		{name: "a greeting of HTTP", do: map[string]string{"greeting": "HTTP/1.1 400 Bad Request\r\n\r\n"}, want: "transient"},
		{name: "a greeting of SSH", do: map[string]string{"greeting": "SSH-2.0-OpenSSH_9.2"}, want: "transient", stall: true},
		{name: "a continued greeting that changes its code", do: map[string]string{"greeting": "220-hello\r\n554 no"}, want: "transient", stall: true},
	}
	for i := range list {
		list[i].silent = true
	}
	return list
}

// logins are servers that play with the login.
func logins() []behaviour {
	offer := func(mechs string) map[string]string {
		return map[string]string{"ehlo2": "250-fake\r\n250 AUTH " + mechs}
	}
	with := func(mech, auth string) behaviour {
		do := offer(strings.ToUpper(mech))
		do["auth"] = auth
		return behaviour{name: "at AUTH " + mech + ": " + auth, do: do, login: func(l *secrets.SMTP) { l.Auth = mech }, want: "credential|transient"}
	}
	list := []behaviour{
		{name: "no login is offered", do: map[string]string{"ehlo2": "250 fake"}, want: "credential", silent: true},
		{name: "only NTLM is offered", do: offer("NTLM"), want: "credential", silent: true},
		{name: "only logins of tickets are offered", do: offer("GSSAPI EXTERNAL"), want: "credential", silent: true},
		{name: "the old form of the offer", do: map[string]string{"ehlo2": "250-fake\r\n250 AUTH=PLAIN"}, want: "credential", silent: true},
		{name: "SCRAM with a number of rounds for a year", do: map[string]string{"ehlo2": "250-fake\r\n250 AUTH SCRAM-SHA-256", "auth": "334 cj14LHM9YWFhYSxpPTIxNDc0ODM2NDc="}, want: "credential"},
		{name: "a login that works and a line that closes", do: map[string]string{"auth": "235 2.7.0 ok", "mail": "cut"}, want: "transient"},
	}
	for _, mech := range []string{"plain", "login", "cram-md5", "scram-sha-256", "xoauth2"} {
		list = append(list, with(mech, "challenge"), with(mech, "334 %%%"), with(mech, "235"), with(mech, "250 2.0.0 ok"), with(mech, "504 5.5.4 no"))
	}
	for i := range list {
		if strings.HasSuffix(list[i].name, ": 235") {
			list[i].want = "done|credential|transient" // PLAIN is through, SCRAM has not seen the server's proof
		}
	}
	return list
}

// liars are servers whose words do not agree with what they do.
func liars() []behaviour {
	ehlo := func(line string) map[string]string {
		return map[string]string{"ehlo2": "250-fake\r\n250-" + line + "\r\n250 AUTH PLAIN LOGIN"}
	}
	both := func(a map[string]string, step, what string) map[string]string { a[step] = what; return a }
	big := fields{"message": strings.Repeat("A line of a long text, which is longer than any buffer.\n", 3000)}
	list := []behaviour{
		{name: "a SIZE of 10 bytes", do: ehlo("SIZE 10"), want: "payload"},
		{name: "a SIZE over 64 bits", do: ehlo("SIZE 99999999999999999999999"), want: "done"},
		{name: "a SIZE below zero", do: ehlo("SIZE -1"), want: "done"},
		{name: "a SIZE that is a word", do: ehlo("SIZE unlimited"), want: "done"},
		{name: "a SIZE that does not count", do: both(ehlo("SIZE 1000000"), "dot", "552 5.3.4 too big"), want: "payload"},
		{name: "PIPELINING that answers twice", do: both(ehlo("PIPELINING"), "mail", "250 ok\r\n250 ok"), want: "transient"},
		{name: "PIPELINING that answers the text first", do: both(ehlo("PIPELINING"), "data", "354 go\r\n250 2.0.0 queued"), want: "done"},
		{name: "PIPELINING that refuses the text first", do: both(ehlo("PIPELINING"), "data", "354 go\r\n550 5.7.1 no"), want: "policy"},
		{name: "a thousand offers", do: map[string]string{"ehlo2": strings.Repeat("250-X\r\n", 1000) + "250 AUTH PLAIN"}, want: "done"},
		{name: "offers with NUL", do: ehlo("\x00\x00"), want: "done"},
		{name: "two greetings", do: map[string]string{"greeting": "220 one\r\n220 two"}, want: "credential", silent: true},
		{name: "a reply to nothing after EHLO", do: both(ehlo("X"), "ehlo2", "250 AUTH PLAIN\r\n250 more"), want: "transient|credential"},
		{name: "354 to MAIL", do: map[string]string{"mail": "354 go"}, want: "transient"},
		{name: "354 to RCPT", do: map[string]string{"rcpt1": "354 go"}, want: "transient"},
		{name: "250 to DATA", do: map[string]string{"data": "250 ok"}, want: "transient"},
		{name: "354 after the text", do: map[string]string{"dot": "354 go on"}, want: "unknown"},
		{name: "334 after the text", do: map[string]string{"dot": "334 Zm9v"}, want: "unknown"},
		{name: "252 after the text", do: map[string]string{"dot": "252 perhaps"}, want: "done"},
		{name: "a code of two digits after the text", do: map[string]string{"dot": "25 ok"}, want: "unknown"},
		{name: "a code and no blank after the text", do: map[string]string{"dot": "250"}, want: "unknown"},
		{name: "lines with bare LF", do: map[string]string{"mail": "250-ok\n250 ok"}, want: "done"},
		{name: "lines with bare CR", do: map[string]string{"mail": "550-5.1.8 a\r550 5.1.8 b"}, want: "transient", stall: true},
		{name: "two replies in one line end", do: map[string]string{"rcpt1": "250 ok\n550 no"}, want: "transient|recipient"},
		{name: "250 to everything", server: func(_ testing.TB, f *fake) { f.all = "250 ok" }, want: "credential", silent: true},
		{name: "220 to everything", server: func(_ testing.TB, f *fake) { f.all = "220 ok" }, want: "transient", silent: true},
		{name: "334 to everything", server: func(_ testing.TB, f *fake) { f.all = "334 " }, want: "transient", silent: true},
		{name: "cut in the text", do: map[string]string{"text": "cut"}, more: big, want: "transient|unknown"},
		{name: "reset in the text", do: map[string]string{"text": "rst"}, more: big, want: "transient|unknown"},
		{name: "silent in the text", do: map[string]string{"text": "hang"}, more: big, want: "transient|unknown"},
		{name: "an endless reply in the text", do: map[string]string{"text": "flood"}, more: big, want: "transient|unknown"},
		{name: "accepts in the text and leaves", do: map[string]string{"text": "250 2.0.0 queued"}, more: big, want: "done|transient|unknown"},
		{name: "a recipient that cuts after others were taken", do: map[string]string{"rcpt2": "cut"}, want: "transient"},
	}
	return list
}

// echoes are servers that say what they were told.
func echoes() []behaviour {
	var list []behaviour
	for _, step := range []string{"auth", "mail", "rcpt1", "data", "dot"} {
		for _, form := range []string{"{auth}", "{b64}", "{hex}", "{url}", password} {
			for code, want := range map[string]string{"535 5.7.8": "credential", "451 4.3.0": "transient"} {
				b := on(step, code+" you sent "+form, want)
				b.name = fmt.Sprintf("%s with %s at %s", code, strings.Replace(form, password, "the password", 1), step)
				list = append(list, b)
			}
		}
	}
	for _, form := range []string{"{auth}", "{b64}", "{hex}", "{url}"} {
		list = append(list, behaviour{name: "a yes with " + form, do: map[string]string{"dot": "250 2.0.0 queued as " + form}, want: "done"})
	}
	return list
}
