package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/email"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// The figure of "make lanes": a healthy lane beside a dead server and one that
// sends a byte a second, each with a backlog, all in one worker process.
const (
	laneBacklog = 10000
	laneRounds  = 5
	laneBurst   = 30000            // mails, as fast as they go: 2 to 3 s
	laneRate    = 200              // mails a second, for the delay
	laneFor     = 10 * time.Second // so long
)

// threeServers is a vault with a login for each server.
type threeServers map[string]secrets.SMTP

func (v threeServers) Lookup(_ context.Context, ref string) (secrets.Ref, error) {
	return v[ref].Ref, nil
}

func (v threeServers) OpenSMTP(_ context.Context, ref secrets.Ref, _ secrets.Use) (secrets.SMTP, error) {
	return v[ref.Key], nil
}

func (threeServers) OpenText(context.Context, secrets.Ref, secrets.Use) (secrets.Text, error) {
	return secrets.Text{}, secrets.ErrNotFound
}

func (v threeServers) add(t *testing.T, key, addr, ca string) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	_, _ = fmt.Sscan(port, &n)
	v[key] = secrets.SMTP{Ref: secrets.Ref{ID: fmt.Sprintf("%024d", len(v)), Key: key, Type: secrets.TypeSMTP, Version: 1}, Server: "127.0.0.1",
		Port: n, From: "a@sender.test", Username: "sink", Password: redact.New("sink-password"), CAPEM: ca, MaxConnections: 32}
}

// listen serves connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	return l.Addr().String()
}

// mute never says a word.
func mute(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// drip says one byte a second.
func drip(c net.Conn) {
	text := "220 " + strings.Repeat("slow.", 100)
	for i := range text {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
		<-time.After(time.Second)
	}
}

// laneBench is a queue whose healthy lane is measured.
type laneBench struct {
	t      *testing.T
	client *queue.Client
	mu     sync.Mutex
	sent   map[string]time.Time // by subject
	delays []time.Duration
	got    int
}

func (b *laneBench) put(key string, n int) {
	b.t.Helper()
	for n > 0 {
		jobs := make([]json.RawMessage, min(n, queue.MaxBatch))
		for i := range jobs {
			jobs[i] = json.RawMessage(fmt.Sprintf(`{"action":{"type":"email-smtp","smtp_secret":%q,"to":"b@receiver.test","subject":"x","message":"x"}}`, key))
		}
		if _, err := b.client.Enqueue(b.t.Context(), jobs...); err != nil {
			b.t.Fatal(err)
		}
		n -= len(jobs)
	}
}

// arrived is told of each mail.
func (b *laneBench) arrived(m sink.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got++
	_, rest, _ := strings.Cut(string(m.Raw), "Subject: ")
	subject, _, _ := strings.Cut(rest, "\r\n")
	if at, ok := b.sent[subject]; ok {
		b.delays = append(b.delays, m.At.Sub(at))
	}
}

func (b *laneBench) wait(n int) {
	b.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; <-time.After(5 * time.Millisecond) {
		b.mu.Lock()
		got := b.got
		b.mu.Unlock()
		if got >= n {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%d of %d mails came in two minutes", got, n)
		}
	}
}

// measure returns mails a second of a burst, and the delays
// from the enqueue to the arrival at a fixed rate.
func (b *laneBench) measure() (rate float64, delays []time.Duration) {
	b.t.Helper()
	b.got, b.sent, b.delays = 0, map[string]time.Time{}, nil
	start := time.Now()
	b.put("HEALTHY", laneBurst)
	b.wait(laneBurst)
	rate = laneBurst / time.Since(start).Seconds()
	tick := time.NewTicker(time.Second / laneRate)
	defer tick.Stop()
	n := int(laneFor.Seconds() * laneRate)
	for i := range n {
		<-tick.C
		subject := fmt.Sprint("timed", i)
		b.mu.Lock()
		b.sent[subject] = time.Now()
		b.mu.Unlock()
		raw := fmt.Sprintf(`{"action":{"type":"email-smtp","smtp_secret":"HEALTHY","to":"b@receiver.test","subject":%q,"message":"x"}}`, subject)
		if _, err := b.client.Enqueue(b.t.Context(), json.RawMessage(raw)); err != nil {
			b.t.Fatal(err)
		}
	}
	b.wait(laneBurst + n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.delays) != n {
		b.t.Fatalf("%d of %d timed mails were found again", len(b.delays), n)
	}
	return rate, b.delays
}

// worst is the 99th percentile.
func worst(delays []time.Duration) time.Duration {
	slices.Sort(delays)
	return delays[len(delays)*99/100]
}

// round measures in a queue of its own, with or without the bad lanes.
func round(t *testing.T, bad bool) (rate float64, delays []time.Duration) {
	rdb, prefix := queuetest.Redis(t)
	b := &laneBench{t: t, client: queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})}
	good, err := sink.StartSMTP(sink.SMTPConfig{OnMessage: b.arrived, Keep: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = good.Close() })
	v := threeServers{}
	v.add(t, "HEALTHY", good.Addr(), good.CAPEM())
	v.add(t, "DEAD", listen(t, mute), "")
	v.add(t, "SLOW", listen(t, drip), "")
	guard, err := netguard.Parse("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	a := email.New(email.Config{Vault: v, Guard: guard, Worker: "lanes"})
	t.Cleanup(func() { _ = a.Close() })
	if bad {
		b.put("DEAD", laneBacklog)
		b.put("SLOW", laneBacklog)
	}
	stop := queuetest.Run(t, queue.PoolConfig{Redis: rdb, Prefix: prefix, Logger: slog.New(slog.DiscardHandler)}, a)
	defer stop()
	b.sent = map[string]time.Time{}
	b.put("HEALTHY", 500) // connections are made, and the bad lanes are found out
	b.wait(500)
	<-time.After(3 * time.Second)
	rate, delays = b.measure()
	s, err := b.client.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := s.Jobs[queue.Ready] + s.Jobs[queue.Delayed] + s.Jobs[queue.Running]; bad && left < 2*laneBacklog {
		t.Errorf("%d jobs of the bad lanes are left, want %d", left, 2*laneBacklog)
	}
	return rate, delays
}

// TestAHealthyLaneBesideTwoBadOnes is for an idle machine: "make lanes".
func TestAHealthyLaneBesideTwoBadOnes(t *testing.T) {
	if os.Getenv("SEALPOST_TEST_LANES") == "" {
		t.Skip("set SEALPOST_TEST_LANES=yes to measure lanes on an idle machine; it takes minutes")
	}
	var rates [2][]float64
	var delays [2][]time.Duration
	for i := range 2 * laneRounds { // by turns, as machines have moods
		bad := i%2 == 1
		t.Run(fmt.Sprintf("bad lanes %v", bad), func(t *testing.T) {
			rate, all := round(t, bad)
			t.Logf("%.0f mails a second; at %d a second 99%% arrive within %v", rate, laneRate, worst(all))
			rates[i%2], delays[i%2] = append(rates[i%2], rate), append(delays[i%2], all...)
		})
	}
	if t.Failed() {
		return
	}
	var middle [2]float64
	var p99 [2]time.Duration
	for i := range 2 {
		slices.Sort(rates[i])
		middle[i], p99[i] = rates[i][laneRounds/2], worst(delays[i])
	}
	t.Logf("medians of %d rounds, p99 of all their %d mails: alone %.0f/s, p99 %v; beside the bad lanes %.0f/s (%.0f %%), p99 %v (%+.0f %%)",
		laneRounds, len(delays[0]), middle[0], p99[0], middle[1], 100*middle[1]/middle[0], p99[1], 100*(float64(p99[1])/float64(p99[0])-1))
	if middle[1] < 0.9*middle[0] {
		t.Error("the healthy lane keeps less than 90 % of its rate")
	}
	if float64(p99[1]) > 1.1*float64(p99[0]) {
		t.Error("its p99 is more than 10 % worse")
	}
}
