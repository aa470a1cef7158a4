package post

import (
	"encoding/base64"
	"encoding/hex"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

// Bounds of the suite.
const (
	hostileTimeout = 2 * time.Second
	hostileLimit   = hostileTimeout + time.Second // for a verdict
	hostileHeap    = 150 << 20                    // bytes more than before
	hostileAtOnce  = 10                           // more would be a test of the machine
)

// result is what came of a trick.
type result struct {
	reply queue.Reply
	err   error
	took  time.Duration
}

// got is the reason, or accepted.
func (r result) got() string {
	if r.err == nil {
		return "accepted"
	}
	return r.reply.Reason
}

func TestHostileReceivers(t *testing.T) {
	elsewhere := untouched(t)
	tricks := slices.Concat(tooMuch(), tooSlow(), broken(), redirects(elsewhere), impostors(t), http2(), gossips())
	if len(tricks) < 40 {
		t.Fatalf("only %d tricks", len(tricks))
	}
	bomb() // is packed before anything is measured
	ca, err := sink.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	a := newAction(t, newVault(), hostileTimeout, ca.PEM())
	servers := make([]*badServer, len(tricks))
	for i, tr := range tricks {
		servers[i] = startBad(t, ca, tr)
	}
	heap := watchHeap(t)
	healthy := watchHealthy(t, ca)
	results := make([]result, len(tricks))
	var all sync.WaitGroup
	slots := make(chan struct{}, hostileAtOnce)
	for i := range tricks {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			results[i] = attack(t, a, servers[i])
			if strings.HasPrefix(tricks[i].name, "kept: ") {
				results[i] = attack(t, a, servers[i])
			}
		})
	}
	all.Wait()
	if grown := heap(); grown > hostileHeap {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if n, worst := healthy(); n < 10 || worst > hostileTimeout/2 {
		t.Errorf("a healthy receiver: %d requests, the slowest took %v", n, worst)
	}
	for i, tr := range tricks {
		t.Run(tr.name, func(t *testing.T) { tr.check(t, results[i], servers[i]) })
	}
}

// attack sends one job with secrets to the server.
func attack(t *testing.T, a *Action, s *badServer) result {
	work, err := a.Prepare(job(t, `[{"variable":"v","value":1}]`, fields{
		"url": "https://" + s.ln.Addr().String() + "/canary-path-0123?key=canary-query-4567", "signing_secret": "HOOK_KEY",
		"header_secrets": fields{"Authorization": "HOOK_TOKEN"}, "headers": fields{"X-Plain": "canary-plain-8899"},
	}))
	if err != nil {
		t.Error(err)
		return result{err: err}
	}
	start := time.Now()
	reply, err := work.Do(t.Context(), queue.NewClaim(&queue.Job{ID: "order-1"}, 1, nil))
	return result{reply, err, time.Since(start)}
}

// check is the verdict on a verdict.
func (tr trick) check(t *testing.T, r result, s *badServer) {
	if !slices.Contains(strings.Split(tr.want, "|"), r.got()) {
		t.Errorf("got %s (%s), want %s: %v", r.got(), r.reply.Rule, tr.want, r.err)
	}
	if r.took > hostileLimit {
		t.Errorf("took %v", r.took)
	}
	if unknown := r.got() == "unknown"; unknown != (r.reply.Certainty == queue.Unknown) {
		t.Errorf("%s is %s", r.got(), r.reply.Certainty)
	}
	shown := everything(r.reply, r.err)
	for _, secret := range []string{token, token[len("Bearer "):], key[len(keyPrefix):], "canary-path-0123", "canary-query-4567", "canary-plain-8899"} {
		for _, form := range []string{secret, secret[:12], hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))[4:16]} {
			if strings.Contains(shown, form) && form != token[:12] {
				t.Errorf("%q shows in %s", form, shown)
			}
		}
		if strings.Contains(s.raw.String(), secret) {
			t.Errorf("%q went over the line in the clear", secret)
		}
	}
	if len([]rune(r.reply.Text)) > 200 || strings.ContainsFunc(r.reply.Text, func(c rune) bool { return c < ' ' || c == '\u202e' }) {
		t.Errorf("text %q", r.reply.Text)
	}
	if heard := s.heard.String(); tr.deaf && heard != "" {
		t.Errorf("a receiver without a right to it got %q", heard)
	}
	if n := s.requests.Load(); n > 2 || n > 1 && !strings.HasPrefix(tr.name, "kept: ") {
		t.Errorf("%d requests", n)
	}
}

// untouched is an address that nobody may connect to.
func untouched(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		if n := count.Load(); n != 0 {
			t.Errorf("%d connections to where a redirect leads", n)
		}
	})
	return ln.Addr().String()
}

// watchHeap samples the heap until the returned function is called, which
// returns by how much it grew at most.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var most uint64
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
			select {
			case <-tick.C:
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return max(<-peak, before.HeapAlloc) - before.HeapAlloc
	}
}

// watchHealthy sends to a good receiver, by the same action, until the returned
// function is called, which tells how many requests there were and how long the
// slowest took.
func watchHealthy(t *testing.T, ca *sink.CA) func() (int, time.Duration) {
	t.Helper()
	good := startBad(t, ca, trick{name: "kept: healthy", http: says(ok200 + "Content-Length: 0\r\n\r\n")})
	a := newAction(t, newVault(), 5*time.Second, ca.PEM())
	type tally struct {
		n     int
		worst time.Duration
	}
	stop, done := make(chan struct{}), make(chan tally)
	go func() {
		var total tally
		for {
			r := attack(t, a, good)
			if r.err != nil {
				t.Errorf("a healthy receiver: %v", r.err)
			}
			total.n++
			total.worst = max(total.worst, r.took)
			select {
			case <-stop:
				done <- total
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() (int, time.Duration) {
		close(stop)
		total := <-done
		return total.n, total.worst
	}
}
