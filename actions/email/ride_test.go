package email

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// pipelined starts a server that takes commands in groups, and a sender with one
// connection.
func pipelined(t testing.TB, do map[string]string) (*fake, *Action) {
	t.Helper()
	f := goodFake(t, do).set(func(f *fake) { f.pipelining = true })
	v := vaultFor(t, f.ln.Addr().String(), f.ca.PEM())
	v.login.MaxConnections = 1
	return f, action(t, v, 0)
}

// only returns the one account of a.
func only(a *Action) *account {
	a.pool.mu.Lock()
	defer a.pool.mu.Unlock()
	for _, acc := range a.pool.accounts {
		return acc
	}
	return nil
}

// waiting counts the mails that wait for a connection and could ride.
func waiting(a *Action) int {
	acc := only(a)
	acc.mu.Lock()
	defer acc.mu.Unlock()
	n := 0
	for _, w := range acc.line {
		if w.letter != nil {
			n++
		}
	}
	return n
}

// ended is how a job ended.
type ended struct {
	reply queue.Reply
	err   error
}

func (e ended) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", outcome(e.err), e.reply.Stage, e.reply.Code))
}

// couple sends two mails so that the second rides behind the text of the first.
// Their texts are "first text" and "second text". then is called when the second has
// ended.
func couple(t testing.TB, a *Action, ctx1, ctx2 context.Context, more fields, then ...func()) (first, second ended) {
	t.Helper()
	run := func(ctx context.Context, id string, begin func(context.Context) error) ended {
		all := fields{"message": id + " text"}
		for k, v := range more {
			all[k] = v
		}
		j := job(t, id, all)
		w, err := a.Prepare(j)
		if err != nil {
			t.Error(err)
			return ended{}
		}
		reply, err := w.Do(ctx, queue.NewClaim(j, 1, begin))
		return ended{reply, err}
	}
	var side sync.WaitGroup
	steps := 0
	first = run(ctx1, "first", func(context.Context) error {
		if steps++; steps == 2 { // before the text
			side.Go(func() {
				second = run(ctx2, "second", nil)
				for _, f := range then {
					f()
				}
			})
			eventually(t, "the second mail waits", func() bool { return waiting(a) == 1 })
		}
		return nil
	})
	side.Wait()
	return first, second
}

// textsHeard counts the messages in what a server heard, by their text; those without
// are empty. A text that was cut does not count.
func textsHeard(heard string) map[string]int {
	count := map[string]int{}
	for _, part := range strings.Split(heard, "\r\nDATA\r\n")[1:] {
		body, _, ended := strings.Cut("\r\n"+part, "\r\n.\r\n")
		if !ended || strings.HasPrefix(part, "MAIL FROM") || strings.HasPrefix(part, "QUIT") || strings.HasPrefix(part, "RSET") {
			continue
		}
		word := "empty"
		for _, w := range []string{"first text", "second text", "third text"} {
			if strings.Contains(body, "\r\n"+w) {
				word = w[:len(w)-len(" text")]
			}
		}
		count[word]++
	}
	return count
}

// couples are what a server does to two mails of which the second rides, and what
// must become of them.
var couples = []struct {
	name          string
	do            map[string]string
	first, second string // outcome, stage and code
	conns         int
	texts         map[string]int
}{
	{"all is taken", nil, "done done 250", "done done 250", 1, map[string]int{"first": 1, "second": 1}},
	{"the first text is refused", map[string]string{"dot@1": "554 5.6.0 no"}, "dead dot 554 5.6.0", "done done 250", 1, map[string]int{"first": 1, "second": 1}},
	{"the first text is refused for now", map[string]string{"dot@1": "451 4.3.0 later"}, "retry dot 451 4.3.0", "done done 250", 1, map[string]int{"first": 1, "second": 1}},
	{"the line ends at the first dot", map[string]string{"dot@1": "421 4.3.2 closing"}, "retry dot 421 4.3.2", "done done 250", 2, nil},
	{"the line is cut at the first dot", map[string]string{"dot@1": "cut"}, "retry dot", "done done 250", 2, nil},
	{"the line is reset at the first dot", map[string]string{"dot@1": "rst"}, "retry dot", "done done 250", 2, nil},
	{"the server ends after a mail", map[string]string{"mail@2": "421 4.3.2 closing"}, "done done 250", "done done 250", 2, nil},
	{"the server cuts after a mail", map[string]string{"mail@2": "cut"}, "done done 250", "done done 250", 2, nil},
	{"the line is cut after MAIL", map[string]string{"rcpt1@2": "cut"}, "done done 250", "done done 250", 2, nil},
	{"the line is cut after RCPT", map[string]string{"data@2": "cut"}, "done done 250", "done done 250", 2, nil},
	{"the second sender is refused", map[string]string{"mail@2": "451 4.3.0 later", "rcpt1@2": "503 5.5.1 MAIL first", "data@2": "503 5.5.1 MAIL first"}, "done done 250", "retry mail 451 4.3.0", 1, map[string]int{"first": 1}},
	{"the second sender is refused and its recipient taken", map[string]string{"mail@2": "451 4.3.0 later"}, "done done 250", "retry mail 451 4.3.0", 1, map[string]int{"first": 1}},
	{"the second recipient is refused", map[string]string{"rcpt1@2": "550 5.1.1 no such user", "data@2": "554 5.5.1 no valid recipients"}, "done done 250", "dead rcpt 550 5.1.1", 1, map[string]int{"first": 1}},
	{"DATA of the second is refused", map[string]string{"data@2": "451 4.3.0 later"}, "done done 250", "retry data 451 4.3.0", 1, map[string]int{"first": 1}},
	{"the second text is refused", map[string]string{"dot@2": "554 5.6.0 no"}, "done done 250", "dead dot 554 5.6.0", 1, map[string]int{"first": 1, "second": 1}},
	{"both texts are refused", map[string]string{"dot": "554 5.6.0 no"}, "dead dot 554 5.6.0", "dead dot 554 5.6.0", 1, map[string]int{"first": 1, "second": 1}},
	{"the line is cut at the second dot", map[string]string{"dot@2": "cut"}, "done done 250", "retry dot", 1, map[string]int{"first": 1, "second": 1}},
	{"a reply too many to the dot", map[string]string{"dot@1": "250 2.0.0 ok\r\n250 2.0.0 ok"}, "done done 250", "done done 250", 2, map[string]int{"first": 1, "second": 1}},
	{"a refusal too many to the dot", map[string]string{"dot@1": "250 2.0.0 ok\r\n451 4.3.0 later"}, "done done 250", "retry mail 451 4.3.0", 1, nil},
	{"a 354 where MAIL was answered", map[string]string{"mail@2": "354 go"}, "done done 250", "done done 250", 2, map[string]int{"first": 1, "second": 1}},
	{"no SMTP where MAIL was answered", map[string]string{"mail@2": "what"}, "done done 250", "done done 250", 2, map[string]int{"first": 1, "second": 1}},
}

func TestAMailThatWaitsRidesBehindAText(t *testing.T) {
	for _, tt := range couples {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, single=%t", tt.name, single), func(t *testing.T) {
				t.Parallel()
				do := map[string]string{}
				for k, v := range tt.do {
					do[k] = v
				}
				f, a := pipelined(t, do)
				f.set(func(f *fake) { f.single = single })
				first, second := couple(t, a, t.Context(), t.Context(), nil)
				if first.String() != tt.first || second.String() != tt.second {
					t.Errorf("got %q and %q, want %q and %q (%v, %v)", first, second, tt.first, tt.second, first.err, second.err)
				}
				certain := map[string]queue.Certainty{"done done": queue.Accepted, "retry dot": queue.Unknown}
				for _, e := range []ended{first, second} {
					want, ok := certain[strings.TrimSuffix(e.String(), " 250")]
					if !ok {
						want = queue.Rejected
					}
					if e.reply.Certainty != want {
						t.Errorf("%s has certainty %s, want %s", e, e.reply.Certainty, want)
					}
				}
				checkMessages(t, f, a, tt.conns, tt.texts)
			})
		}
	}
}

// checkMessages looks at what a server heard: how many connections, and each text at
// most once.
func checkMessages(t *testing.T, f *fake, a *Action, conns int, want map[string]int) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f.drain()
	_, inner := f.heard()
	if n := len(f.conns); n != conns {
		t.Errorf("%d connections, want %d", n, conns)
	}
	if want != nil && !strings.Contains(inner, "\r\n.\r\nMAIL FROM:<mailer@sender.test>") {
		t.Errorf("nothing rode:\n%s", inner)
	}
	got := textsHeard(inner)
	if got["empty"] > 0 || got["first"] > 1 || got["second"] > 1 {
		t.Errorf("messages %v", got)
	}
	for word, n := range want {
		if got[word] != n {
			t.Errorf("messages %v, want %v in\n%s", got, want, inner)
		}
	}
}

// TestWhoMayRide: a connection that is not fit for the next mail is not handed on.
func TestWhoMayRide(t *testing.T) {
	small := letter{from: "a@sender.test", to: []recipient{{1, "b@receiver.test"}}, raw: []byte("text")}
	for _, tt := range []struct {
		name   string
		change func(*account, *conn, *letter)
		rides  bool
	}{
		{"a small mail", func(*account, *conn, *letter) {}, true},
		{"no groups of commands", func(_ *account, c *conn, _ *letter) { c.pipelining = false }, false},
		{"a mail over the size that is taken", func(_ *account, c *conn, _ *letter) { c.limit = 5 }, false},
		{"letters beyond ASCII where none are taken", func(_ *account, _ *conn, l *letter) { l.utf8 = true }, false},
		{"letters beyond ASCII where they are", func(_ *account, c *conn, l *letter) { c.utf8, l.utf8 = true, true }, true},
		{"more recipients than go out at once", func(_ *account, _ *conn, l *letter) { l.to = make([]recipient, ahead+1) }, false},
		{"an address with a line end", func(_ *account, _ *conn, l *letter) { l.from = "a\r\nRSET" }, false},
		{"a version that was replaced", func(a *account, _ *conn, _ *letter) { a.retired = true }, false},
		{"the last mail of a connection", func(_ *account, c *conn, _ *letter) { c.sent = mailsMax - 1 }, false},
		{"the one before the last", func(_ *account, c *conn, _ *letter) { c.sent = mailsMax - 2 }, true},
		{"an old connection", func(_ *account, c *conn, _ *letter) { c.born = c.born.Add(-ageMax) }, false},
		{"soon after one that came to nothing", func(a *account, _ *conn, _ *letter) { a.solo = time.Now().Add(time.Minute) }, false},
		{"nobody", func(a *account, _ *conn, _ *letter) { a.line = nil }, false},
		{"one that wants no ride before one that does", func(a *account, _ *conn, _ *letter) { a.line = append([]*waiter{{}}, a.line...) }, false},
	} {
		l := small
		w := &waiter{letter: &l}
		a := &account{line: []*waiter{w}}
		c := &conn{account: a, pipelining: true, born: time.Now(), out: []byte(".\r\n")}
		tt.change(a, c, &l)
		before := len(a.line)
		a.board(c)
		want := ".\r\n"
		if tt.rides {
			want += strings.Join(c.lines(&l), "\r\n") + "\r\n"
		}
		if got := c.rider == w && len(a.line) == 0; got != tt.rides || string(c.out) != want || !got && len(a.line) != before {
			t.Errorf("%s: rides %t, want %t; %q goes out", tt.name, got, tt.rides, c.out)
		}
	}
}

func TestAMailThatGivesUpWhileItWaits(t *testing.T) {
	f, a := pipelined(t, map[string]string{"dot@1": "wait"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		eventually(t, "the envelope of the second is out", func() bool {
			_, inner := f.heard()
			return strings.Contains(inner, "\r\n.\r\n")
		})
		cancel() // of the second, which is aboard
	}()
	first, second := couple(t, a, t.Context(), ctx, nil, func() { close(f.open) })
	<-done
	if first.err != nil || outcome(second.err) != "handback" {
		t.Errorf("got %s (%v) and %s (%v)", first, first.err, second, second.err)
	}
	if s := a.Stats(); s != (Stats{}) {
		t.Errorf("connections %+v, want none: its server waits for a text", s)
	}
	if _, err := do(t, a, job(t, "third", fields{"message": "third text"})); err != nil {
		t.Errorf("the third: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f.drain()
	_, inner := f.heard()
	if got := textsHeard(inner); got["empty"]+got["second"] > 0 || got["first"] != 1 || got["third"] != 1 {
		t.Errorf("messages %v in\n%s", got, inner)
	}
}

func TestAMailThatGivesUpInTheLine(t *testing.T) {
	f, a := pipelined(t, map[string]string{"data@1": "wait"})
	var side sync.WaitGroup
	side.Go(func() {
		if _, err := do(t, a, job(t, "first", fields{"message": "first text"})); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the first is on its way", func() bool { return a.Stats().Busy == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	j := job(t, "second", nil)
	w, err := a.Prepare(j)
	if err != nil {
		t.Fatal(err)
	}
	side.Go(func() {
		eventually(t, "the second waits", func() bool { return waiting(a) == 1 })
		cancel()
	})
	if _, err := w.Do(ctx, queue.NewClaim(j, 1, nil)); outcome(err) != "handback" {
		t.Errorf("got %v", err)
	}
	close(f.open)
	side.Wait()
	if s := a.Stats(); s != (Stats{Idle: 1}) || waiting(a) != 0 {
		t.Errorf("connections %+v, %d wait", s, waiting(a))
	}
}

func TestTheFirstGivesUpWhileTheSecondIsAboard(t *testing.T) {
	f, a := pipelined(t, map[string]string{"dot@1": "hang"})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		eventually(t, "the envelope of the second is out", func() bool {
			_, inner := f.heard()
			return strings.Contains(inner, "\r\n.\r\nMAIL FROM")
		})
		f.script("dot@1", "")
		cancel(queue.ErrDrainTimeout)
	}()
	first, second := couple(t, a, ctx, t.Context(), nil)
	if !errors.Is(first.err, queue.ErrDrainTimeout) || first.reply.Certainty != queue.Unknown || second.err != nil {
		t.Errorf("got %s (%v) and %s (%v)", first, first.err, second, second.err)
	}
}

// TestAClaimLostAboardSendsNothing: the claim of a mail that rides is asked for
// before its text. Its envelope has been taken by then, and is left to nobody.
func TestAClaimLostAboardSendsNothing(t *testing.T) {
	f, a := pipelined(t, nil)
	var second ended
	var side sync.WaitGroup
	run := func(id string, begin func(context.Context) error) ended {
		j := job(t, id, fields{"message": id + " text"})
		w, err := a.Prepare(j)
		if err != nil {
			t.Error(err)
			return ended{}
		}
		reply, err := w.Do(t.Context(), queue.NewClaim(j, 1, begin))
		return ended{reply, err}
	}
	steps := 0
	first := run("first", func(context.Context) error {
		if steps++; steps == 2 {
			side.Go(func() {
				second = run("second", func(context.Context) error { return queue.ErrLeaseLost })
			})
			eventually(t, "the second mail waits", func() bool { return waiting(a) == 1 })
		}
		return nil
	})
	side.Wait()
	if first.err != nil || !errors.Is(second.err, queue.ErrLeaseLost) {
		t.Errorf("got %v, %v", first.err, second.err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f.drain()
	_, inner := f.heard()
	if got := textsHeard(inner); got["empty"]+got["second"] > 0 || got["first"] != 1 || len(f.conns) != 1 {
		t.Errorf("messages %v in\n%s", got, inner)
	}
}
