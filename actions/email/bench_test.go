package email

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wneessen/go-mail"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

// BenchmarkSend is a mail of 2 KB from job to the server's 250, on kept
// connections.
func BenchmarkSend(b *testing.B) {
	for _, conns := range []int{1, 10} {
		b.Run(fmt.Sprintf("%d connections", conns), func(b *testing.B) {
			_, v := startSink(b, func(c *sink.SMTPConfig) { c.Keep = 1 })
			v.login.MaxConnections = conns
			a := action(b, v, 0)
			body := strings.Repeat("All work and no play makes Jack a dull boy. ", 46)
			var n atomic.Int64
			b.SetParallelism(max(conns/2, 1))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					j := job(b, fmt.Sprint(n.Add(1)), fields{"message": body})
					w, err := a.Prepare(j)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := w.Do(b.Context(), queue.NewClaim(j, 1, nil)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
		})
	}
}

// BenchmarkDialAndSend is the same mail by go-mail alone, which connects and
// logs in for each.
func BenchmarkDialAndSend(b *testing.B) {
	s, v := startSink(b, func(c *sink.SMTPConfig) { c.Keep = 1 })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CAPEM()))
	body := strings.Repeat("All work and no play makes Jack a dull boy. ", 46)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := mail.NewClient(v.login.Server, mail.WithPort(v.login.Port), mail.WithTLSPolicy(mail.TLSMandatory),
			mail.WithTLSConfig(&tls.Config{ServerName: v.login.Server, RootCAs: roots, MinVersion: tls.VersionTLS12}),
			mail.WithSMTPAuth(mail.SMTPAuthPlain), mail.WithUsername(v.login.Username), mail.WithPassword(password))
		if err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			m := mail.NewMsg()
			if err := m.From(v.login.Username); err != nil {
				b.Error(err)
			}
			if err := m.To("b@receiver.test"); err != nil {
				b.Error(err)
			}
			m.Subject("Hello")
			m.SetBodyString(mail.TypeTextPlain, body)
			if err := c.DialAndSend(m); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}

// BenchmarkPrepare is what a job costs before anything is sent.
func BenchmarkPrepare(b *testing.B) {
	j := job(b, "1", fields{"message": strings.Repeat("text ", 400)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(j); err != nil {
			b.Fatal(err)
		}
	}
}
