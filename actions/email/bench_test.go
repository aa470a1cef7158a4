package email

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

// sinkEnv makes the test binary a mail sink, for the benchmarks: its processor
// time is then not ours.
const sinkEnv = "EMAIL_BENCH_SINK"

// address is what the sink prints when it has started.
type address struct{ Addr, CAPEM string }

// beSink is a mail sink until its input ends.
func beSink() {
	s, err := sink.StartSMTP(sink.SMTPConfig{Username: "mailer@sender.test", Password: password, Keep: 1})
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(address{s.Addr(), s.CAPEM()})
	}
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// otherSink starts a mail sink in a process of its own.
func otherSink(b *testing.B) address {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err, err2, cmd.Start()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	var a address
	if err := json.NewDecoder(out).Decode(&a); err != nil {
		b.Fatal(err)
	}
	return a
}

// busyTime is the processor time of this process.
func busyTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// each does b.N mails from so many goroutines, after one from each that is not
// measured, and says what a mail cost on this side.
func each(b *testing.B, goroutines int, do func(goroutine, n int) error) {
	b.Helper()
	run := func(goroutine, n int) {
		if err := do(goroutine, n); err != nil {
			b.Error(err)
		}
	}
	together(goroutines, func(g int) { run(g, -1-g) })
	var next atomic.Int64
	before := busyTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	together(goroutines, func(g int) {
		for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
			run(g, n)
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
	b.ReportMetric(float64((busyTime(b)-before).Microseconds())/float64(b.N), "cpu-us/mail")
}

// body is the text of all mails here, 2 KB.
var body = strings.Repeat("All work and no play makes Jack a dull boy.\n", 46)

// BenchmarkMails is a mail of 2 KB from the job to the server's reply, by us and by
// go-mail alone, who take turns: "rides" has four mails at once for each
// connection, so that one always waits, "alone" one.
func BenchmarkMails(b *testing.B) {
	to := otherSink(b)
	for _, conns := range []int{10, 50} {
		for round := range 3 {
			name := func(who string) string { return fmt.Sprintf("connections=%d/%s/%d", conns, who, round+1) }
			b.Run(name("rides"), func(b *testing.B) { ours(b, to, conns, 4*conns) })
			b.Run(name("alone"), func(b *testing.B) { ours(b, to, conns, conns) })
			b.Run(name("go-mail-kept"), func(b *testing.B) { theirs(b, to, conns, true) })
			b.Run(name("go-mail-dial"), func(b *testing.B) { theirs(b, to, conns, false) })
		}
	}
}

// BenchmarkFarMails is the same to a server with 10 ms of round trip.
func BenchmarkFarMails(b *testing.B) {
	to := farLine(b, otherSink(b))
	for round := range 3 {
		b.Run(fmt.Sprint("rides/", round+1), func(b *testing.B) { ours(b, to, 50, 200) })
		b.Run(fmt.Sprint("alone/", round+1), func(b *testing.B) { ours(b, to, 50, 50) })
		b.Run(fmt.Sprint("go-mail-kept/", round+1), func(b *testing.B) { theirs(b, to, 50, true) })
	}
}

func ours(b *testing.B, to address, conns, goroutines int) {
	v := vaultFor(b, to.Addr, to.CAPEM)
	v.login.MaxConnections = conns
	a := action(b, v, 0)
	raw := job(b, "1", fields{"message": body}).Action
	each(b, goroutines, func(_, n int) error {
		j := &queue.Job{JID: fmt.Sprint("1-", n), ID: fmt.Sprint(n), Action: raw}
		w, err := a.Prepare(j)
		if err == nil {
			_, err = w.Do(b.Context(), queue.NewClaim(j, 1, nil))
		}
		return err
	})
}

// theirs is go-mail, with a client for each goroutine, that keeps its connection or
// makes one for each mail.
func theirs(b *testing.B, to address, conns int, keep bool) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(to.CAPEM))
	v := vaultFor(b, to.Addr, to.CAPEM)
	clients := make([]*mail.Client, conns)
	var dialled [1000]bool
	for i := range clients {
		c, err := mail.NewClient(v.login.Server, mail.WithPort(v.login.Port), mail.WithTLSPolicy(mail.TLSMandatory),
			mail.WithTLSConfig(&tls.Config{ServerName: v.login.Server, RootCAs: roots, MinVersion: tls.VersionTLS12}),
			mail.WithSMTPAuth(mail.SMTPAuthPlain), mail.WithUsername(v.login.Username), mail.WithPassword(password))
		if err != nil {
			b.Fatal(err)
		}
		clients[i] = c
	}
	each(b, conns, func(g, _ int) error {
		m := mail.NewMsg()
		if err := errors.Join(m.From(v.login.Username), m.To("b@receiver.test")); err != nil {
			return err
		}
		m.Subject("Hello")
		m.SetBodyString(mail.TypeTextPlain, body)
		if !keep {
			return clients[g].DialAndSend(m)
		}
		if !dialled[g] {
			dialled[g] = true
			if err := clients[g].DialWithContext(b.Context()); err != nil {
				return err
			}
		}
		return clients[g].Send(m)
	})
	if keep {
		for _, c := range clients {
			_ = c.Close()
		}
	}
}

// BenchmarkPrepare is what a job costs before anything is sent.
func BenchmarkPrepare(b *testing.B) {
	j := job(b, "1", fields{"message": body})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(j); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRender is what building a mail costs.
func BenchmarkRender(b *testing.B) {
	j := job(b, "1", fields{"message": body})
	pl, err := decode(j)
	if err != nil {
		b.Fatal(err)
	}
	from, err := pl.sender("mailer@sender.test")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pl.render(j, from, time.Now(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStuff is what it costs to make a text fit for DATA.
func BenchmarkStuff(b *testing.B) {
	text := []byte(strings.ReplaceAll(body, "\n", "\r\n"))
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var s stuffer
		out = s.end(s.add(out[:0], text))
	}
}
