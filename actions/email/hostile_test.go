package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestNoLoginLeavesBeforeVerifiedTLS(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name   string
		server func() *fake
		change func(*secrets.SMTP)
		rule   string
	}{
		{"no STARTTLS offered", func() *fake { return goodFake(t, map[string]string{"ehlo": "250-fake\r\n250 AUTH PLAIN LOGIN"}) }, nil, "no-starttls"},
		{"STARTTLS taken out by somebody on the line", func() *fake {
			return goodFake(t, map[string]string{"ehlo": "250-fake\r\n250-XXXXXXXX\r\n250 AUTH PLAIN"})
		}, nil, "no-starttls"},
		{"only HELO spoken", func() *fake { return goodFake(t, map[string]string{"ehlo": "502 no", "other": "250 fake"}) }, nil, "no-starttls"},
		{"STARTTLS refused", func() *fake { return goodFake(t, map[string]string{"starttls": "502 5.5.1 no"}) }, nil, "starttls-refused"},
		{"STARTTLS refused for now", func() *fake { return goodFake(t, map[string]string{"starttls": "454 4.7.0 not now"}) }, nil, "later"},
		{"a certificate of nobody we know", func() *fake { return goodFake(t, nil) }, func(l *secrets.SMTP) { l.CAPEM = "" }, "certificate"},
		{"an authority that is no PEM", func() *fake { return goodFake(t, nil) }, func(l *secrets.SMTP) { l.CAPEM = "x" }, "certificate"},
		{"a certificate for another name", func() *fake { return startFake(t, nil, soon, "other.test") }, nil, "certificate"},
		{"another server_name than the certificate's", func() *fake { return goodFake(t, nil) }, func(l *secrets.SMTP) { l.ServerName = "mail.test" }, "certificate"},
		{"a certificate that has expired", func() *fake { return startFake(t, nil, time.Now().Add(-time.Minute), "127.0.0.1") }, nil, "certificate"},
		{"TLS 1.0", func() *fake {
			return goodFake(t, nil).set(func(f *fake) { f.tls.MaxVersion = tls.VersionTLS10 })
		}, nil, "tls-version"},
		{"TLS 1.1", func() *fake {
			return goodFake(t, nil).set(func(f *fake) { f.tls.MaxVersion = tls.VersionTLS11 })
		}, nil, "tls-version"},
		{"the line cut in the handshake", func() *fake { return goodFake(t, map[string]string{"handshake": "cut"}) }, nil, "network"},
		{"implicit TLS to a plaintext server", func() *fake { return goodFake(t, nil) }, func(l *secrets.SMTP) { l.TLS = "implicit" }, "not-tls"},
		{"implicit TLS with a certificate of nobody we know", func() *fake {
			return goodFake(t, nil).set(func(f *fake) { f.implicit = true })
		}, func(l *secrets.SMTP) { l.TLS, l.CAPEM = "implicit", "" }, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.server()
			v := vaultFor(t, f.ln.Addr().String(), f.ca.PEM())
			if tt.change != nil {
				tt.change(&v.login)
			}
			a := action(t, v, 5*time.Second)
			reply, err := do(t, a, job(t, "1", nil))
			if reply.Rule != tt.rule || err == nil {
				t.Errorf("got rule %s: %v, want %s", reply.Rule, err, tt.rule)
			}
			if reply.Reason == "credential" {
				if _, ok := errors.AsType[*queue.ParkedError](err); !ok || !strings.Contains(err.Error(), "sealpost secret put") {
					t.Errorf("got %T %v, want parked with advice", err, err)
				}
			}
			_ = a.Close()
			f.drain()
			plain, inner := f.heard()
			if holdsLogin(plain) || holdsLogin(inner) || strings.Contains(plain, "MAIL") {
				t.Errorf("heard %q and, encrypted, %q", plain, inner)
			}
		})
	}
}

func TestPlaintextInjectedBeforeTLSHasNoEffect(t *testing.T) {
	// Somebody on the line adds a reply to the server's 220: read after the
	// handshake it would stand for the answer to our EHLO and offer PLAIN.
	f := goodFake(t, map[string]string{"starttls": "220 go\r\n250-evil\r\n250 AUTH EVIL"})
	v := vaultFor(t, f.ln.Addr().String(), f.ca.PEM())
	a := action(t, v, 5*time.Second)
	_, err := do(t, a, job(t, "1", nil))
	_ = a.Close()
	f.drain()
	plain, inner := f.heard()
	if holdsLogin(plain) || strings.Contains(inner, "EVIL") {
		t.Errorf("heard %q and %q (%v)", plain, inner, err)
	}
}

// everyStep are the points at which a server can go wrong.
var everyStep = []string{"greeting", "ehlo", "starttls", "handshake", "ehlo2", "auth", "mail", "rcpt", "data", "dot"}

func TestASilentServerHoldsNoWorker(t *testing.T) {
	for _, step := range everyStep {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			f := goodFake(t, map[string]string{step: "hang"})
			a := action(t, vaultFor(t, f.ln.Addr().String(), f.ca.PEM()), 300*time.Millisecond)
			start := time.Now()
			reply, err := do(t, a, job(t, "1", nil))
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			checkLost(t, step, reply, err)
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(reply.Text, "no answer in time") {
				t.Errorf("got %v %+v", err, reply)
			}
			if st := a.Stats(); st != (Stats{}) {
				t.Errorf("connections %+v, want none", st)
			}
		})
	}
}

// checkLost says what a broken exchange must come to.
func checkLost(t *testing.T, step string, reply queue.Reply, err error) {
	t.Helper()
	want, certainty := "transient", queue.Rejected
	if step == "dot" {
		want, certainty = "unknown", queue.Unknown
	}
	if outcome(err) != "retry" || reply.Reason != want || reply.Certainty != certainty {
		t.Errorf("got %s %+v (%v), want %s", outcome(err), reply, err, want)
	}
}

func TestACutLineIsNoDelivery(t *testing.T) {
	for _, step := range everyStep {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			f := goodFake(t, map[string]string{step: "cut"})
			a := action(t, vaultFor(t, f.ln.Addr().String(), f.ca.PEM()), 5*time.Second)
			reply, err := do(t, a, job(t, "1", nil))
			checkLost(t, step, reply, err)
			if st := a.Stats(); st != (Stats{}) {
				t.Errorf("connections %+v, want none", st)
			}
		})
	}
}

func TestAnEndlessReplyIsCutOff(t *testing.T) {
	for _, step := range []string{"greeting", "ehlo", "ehlo2", "auth", "mail", "rcpt", "data", "dot"} {
		t.Run(step, func(t *testing.T) {
			f := goodFake(t, map[string]string{step: "flood"})
			a := action(t, vaultFor(t, f.ln.Addr().String(), f.ca.PEM()), 10*time.Second)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			reply, err := do(t, a, job(t, "1", nil))
			runtime.ReadMemStats(&after)
			checkLost(t, step, reply, err)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			// The flood itself is written by this process too, in chunks of 50 KiB.
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
				t.Errorf("%d MiB were allocated", grown>>20)
			}
		})
	}
}

func TestNothingOfALoginShows(t *testing.T) {
	for _, step := range []string{"auth", "mail", "rcpt", "data", "dot"} {
		for _, code := range []int{535, 550, 450, 421} {
			for _, kind := range []string{"plain", "login", "auto"} {
				t.Run(fmt.Sprintf("%s %d %s", step, code, kind), func(t *testing.T) {
					reply := fmt.Sprintf("%d-5.7.8 you sent {auth}\r\n%d 5.7.8 to b@receiver.test with %s", code, code, password)
					f := goodFake(t, map[string]string{step: reply})
					v := vaultFor(t, f.ln.Addr().String(), f.ca.PEM())
					v.login.Auth = kind
					got, err := do(t, action(t, v, 5*time.Second), job(t, "1", nil))
					if err == nil {
						t.Fatal("no error")
					}
					for _, text := range []string{fmt.Sprintf("%+v", got), err.Error(), fmt.Sprintf("%+v", err)} {
						for _, bad := range []string{password, "Passw0rd", "AG1haWxlck", "Y2FuYXJ5", "receiver.test"} {
							if strings.Contains(text, bad) {
								t.Errorf("%s shows in %s", bad, text)
							}
						}
					}
				})
			}
		}
	}
}

func TestACancelledMailEndsAtOnce(t *testing.T) {
	f := goodFake(t, map[string]string{"dot": "hang"})
	a := action(t, vaultFor(t, f.ln.Addr().String(), f.ca.PEM()), time.Minute)
	j := job(t, "1", nil)
	w, err := a.Prepare(j)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		eventually(t, "the text is out", func() bool {
			_, inner := f.heard()
			return strings.Contains(inner, "\r\n.\r\n")
		})
		cancel(queue.ErrDrainTimeout)
	}()
	start := time.Now()
	reply, err := w.Do(ctx, queue.NewClaim(j, 1, nil))
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
	if !errors.Is(err, queue.ErrDrainTimeout) || reply.Certainty != queue.Unknown {
		t.Errorf("got %v %+v", err, reply)
	}
}

func TestAServerCannotOrderEndlessWork(t *testing.T) {
	first := func(n string) string { return "r=abc,s=c2FsdA==,i=" + n }
	for n, want := range map[string]bool{"4096": true, "1000000": true, "1000001": false, "2147483647": false, "-1": false, "0": false, "x": false} {
		auth := &boundedSCRAM{Auth: stubAuth{}}
		_, err := auth.Next([]byte(first(n)), true)
		if got := err == nil; got != want {
			t.Errorf("%s iterations: %v", n, err)
		}
	}
}

func TestLoginKindsArePickedInOrder(t *testing.T) {
	login := secrets.SMTP{Username: "u", Password: redact.New("p")}
	for _, tt := range []struct{ auth, offered, want string }{
		{"auto", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", "*email.boundedSCRAM"},
		{"", "CRAM-MD5 LOGIN PLAIN", "*smtp.plainAuth"},
		{"auto", "login cram-md5", "*smtp.loginAuth"},
		{"auto", "CRAM-MD5 NTLM", "*smtp.cramMD5Auth"},
		{"login", "PLAIN LOGIN", "*smtp.loginAuth"},
		{"xoauth2", "PLAIN XOAUTH2", "*smtp.xoauth2Auth"},
		{"scram-sha-256", "SCRAM-SHA-256", "*email.boundedSCRAM"},
		{"cram-md5", "PLAIN CRAM-MD5", "*smtp.cramMD5Auth"},
		{"auto", "XOAUTH2 NTLM GSSAPI", ""},
		{"plain", "LOGIN", ""},
		{"auto", "", ""},
	} {
		login.Auth = tt.auth
		auth, err := mechanism(login, "host", tt.offered)
		if got := fmt.Sprintf("%T", auth); err == nil && got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%s of %s: got %s %v, want %s", tt.auth, tt.offered, got, err, tt.want)
		}
	}
}
