package email

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Limits of the suite.
const (
	stallTimeout   = 2 * time.Second  // of an attempt that only its time ends; all of them run at once
	hostileTimeout = 20 * time.Second // of the others, which end by themselves
	hostileAtOnce  = 4                // of the others
	hostileHeap    = 150 << 20        // bytes over the start
)

// logbook is a vault with a login for each server.
type logbook struct {
	vault
	logins map[string]secrets.SMTP // by key
}

func (b *logbook) Lookup(_ context.Context, ref string) (secrets.Ref, error) {
	if l, ok := b.logins[ref]; ok {
		return l.Ref, nil
	}
	return secrets.Ref{}, secrets.ErrNotFound
}

func (b *logbook) OpenSMTP(_ context.Context, ref secrets.Ref, _ secrets.Use) (secrets.SMTP, error) {
	return b.logins[ref.Key], nil
}

// open starts a server for each behaviour and stores its login as S0, S1...
func (b *logbook) open(t *testing.T, list []behaviour) []*fake {
	fakes := make([]*fake, len(list))
	for i, h := range list {
		do := h.do
		if do == nil {
			do = map[string]string{}
		}
		fakes[i] = goodFake(t, do)
		fakes[i].set(func(f *fake) { f.pipelining = h.grouped })
		if h.server != nil {
			fakes[i].set(func(f *fake) { h.server(t, f) })
		}
		login := vaultFor(t, fakes[i].ln.Addr().String(), fakes[i].ca.PEM()).login
		login.Ref.Key, login.Ref.ID = fmt.Sprint("S", i), fmt.Sprintf("%024x", i+1)
		if h.login != nil {
			h.login(&login)
		}
		b.logins[login.Ref.Key] = login
	}
	return fakes
}

// result is what a behaviour came to.
type result struct {
	took         time.Duration
	reply        queue.Reply
	err          error
	plain, inner string
}

// TestHostileServers meets every behaviour, many at a time and all through one
// action, while that action also sends mail to a healthy server.
func TestHostileServers(t *testing.T) {
	list := behaviours()
	for _, b := range list { // and the same of servers that take commands in groups
		b.name, b.grouped = b.name+", pipelining", true
		list = append(list, b)
	}
	if len(list) < 60 {
		t.Fatalf("%d behaviours, want 60", len(list))
	}
	good, v := startSink(t, nil)
	book := &logbook{logins: map[string]secrets.SMTP{"MAIL": v.login}}
	fakes := book.open(t, list)
	a := action(t, book, 0)
	alone := pace(t, a, 30, nil)

	heap := watchHeap(t)
	done := make(chan struct{})
	results := make([]result, len(list))
	go func() {
		defer close(done)
		turn := make(chan struct{}, hostileAtOnce)
		together(len(list), func(i int) {
			if !list[i].stalls() {
				turn <- struct{}{}
				defer func() { <-turn }()
			}
			results[i] = meet(t, a, list[i], fakes[i], i)
		})
	}()
	beside := pace(t, a, 0, done)
	<-done
	grown := heap()
	if grown > hostileHeap {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	slices.Sort(alone)
	slices.Sort(beside)
	t.Logf("%d behaviours; the heap grew by %d MiB; a healthy mail took %v alone, %v beside them (%d mails, the slowest %v)",
		len(list), grown>>20, alone[len(alone)/2], beside[len(beside)/2], len(beside), beside[len(beside)-1])
	if median := beside[len(beside)/2]; median > 100*time.Millisecond || int64(len(beside)) > good.Counts().Messages {
		t.Errorf("the healthy lane: %v a mail, %d of %d mails", median, good.Counts().Messages, len(beside))
	}
	for i, b := range list {
		t.Run(b.name, func(t *testing.T) { check(t, b, results[i]) })
	}
	if s := a.Stats(); s.Busy != 0 || s.Dialing != 0 {
		t.Errorf("connections %+v", s)
	}
}

// meet sends one mail to a hostile server.
func meet(t *testing.T, a *Action, b behaviour, f *fake, i int) result {
	more := fields{"smtp_secret": fmt.Sprint("S", i), "to": "b@receiver.test, c@receiver.test"}
	for k, v := range b.more {
		more[k] = v
	}
	var r result
	j := job(t, fmt.Sprint("hostile-", i), more)
	w, err := a.Prepare(j)
	if err != nil {
		return result{err: err}
	}
	ctx, cancel := context.WithTimeout(t.Context(), b.timeout())
	defer cancel()
	start := time.Now()
	r.reply, r.err = w.Do(ctx, queue.NewClaim(j, 1, nil))
	r.took = time.Since(start)
	r.plain, r.inner = f.heard()
	return r
}

// check looks at what a behaviour came to.
func check(t *testing.T, b behaviour, r result) {
	if r.took > b.timeout()+time.Second {
		t.Errorf("took %v of %v", r.took, b.timeout())
	}
	got := r.reply.Reason
	if r.err == nil {
		got = "done"
	}
	if !slices.Contains(strings.Split(b.want, "|"), got) {
		t.Errorf("got %s by %s at %s (%v), want %s", got, r.reply.Rule, r.reply.Stage, r.err, b.want)
	}
	if (got == "unknown") != (r.reply.Certainty == queue.Unknown) || (got == "done") != (r.reply.Certainty == queue.Accepted) {
		t.Errorf("%s with certainty %s", got, r.reply.Certainty)
	}
	if holdsLogin(r.plain) || strings.Contains(r.plain, "MAIL") {
		t.Errorf("in the clear: %q", r.plain)
	}
	if b.silent && holdsLogin(r.inner) {
		t.Errorf("a login left: %q", r.inner)
	}
	shown := fmt.Sprintf("%+v %#v %v %+v", r.reply, r.reply, r.err, r.err)
	core := base64.StdEncoding.EncodeToString([]byte(password))
	for _, bad := range []string{password, "Passw0rd", core[:len(core)-4], "Y2FuYXJ5", "AG1haWxlck", hex.EncodeToString([]byte(password)), url.QueryEscape(password), "receiver.test"} {
		if strings.Contains(shown, bad) {
			t.Errorf("%s shows in %s", bad, shown)
		}
	}
	if len([]rune(r.reply.Text)) > 200 {
		t.Errorf("a text of %d characters", len(r.reply.Text))
	}
}

// pace sends mails one after another to the healthy server, n of them or until
// done, and returns how long each took.
func pace(t *testing.T, a *Action, n int, done <-chan struct{}) []time.Duration {
	var took []time.Duration
	for i := 0; ; i++ {
		select {
		case <-done:
			return took
		default:
		}
		if done == nil && i == n {
			return took
		}
		start := time.Now()
		if _, err := do(t, a, job(t, fmt.Sprintf("healthy-%d-%d", n, i), nil)); err != nil {
			t.Errorf("healthy mail %d: %v", i, err)
			return append(took, time.Since(start))
		}
		took = append(took, time.Since(start))
	}
}

// watchHeap samples the heap until the function that it returns is called, which
// gives the most that it has grown.
func watchHeap(t *testing.T) func() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	start, most := m.HeapAlloc, uint64(0)
	quit, ended := make(chan struct{}), sync.WaitGroup{}
	ended.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				if m.HeapAlloc > start {
					most = max(most, m.HeapAlloc-start)
				}
			}
		}
	})
	var once sync.Once
	stop := func() { once.Do(func() { close(quit); ended.Wait() }) }
	t.Cleanup(stop)
	return func() uint64 { stop(); return most }
}
