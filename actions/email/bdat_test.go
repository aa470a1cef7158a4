package email

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

// tandems are what a server does to two mails of which the second goes out before
// the first is answered, and what must become of them. Where a line has ended the second
// may not have written yet: both ends of it are right then, with | between. And a
// server that closes before it has read all resets the line, so that its last reply may be
// lost.
var tandems = []struct {
	name          string
	do            map[string]string
	first, second string // outcome, stage and code
	conns         string
}{
	{"all is taken", nil, "done done 250", "done done 250", "1"},
	{"the first text is refused", map[string]string{"bdat@3": "554 5.6.0 no"}, "dead dot 554 5.6.0", "done done 250", "1"},
	{"the first text is refused for now", map[string]string{"bdat@3": "451 4.3.0 later"}, "retry dot 451 4.3.0", "done done 250", "1"},
	{"the first sender is refused", map[string]string{"mail@3": "451 4.3.0 later", "rcpt1@3": "503 5.5.1 MAIL first", "bdat@3": "503 5.5.1 MAIL first"}, "retry mail 451 4.3.0", "done done 250", "1"},
	{"the first recipient is refused", map[string]string{"rcpt1@3": "550 5.1.1 no such user", "bdat@3": "554 5.5.1 no valid recipients"}, "dead rcpt 550 5.1.1", "done done 250", "1"},
	{"the first sender is refused and its mail taken", map[string]string{"mail@3": "451 4.3.0 later"}, "retry dot", "retry dot|done done 250", "1|2"},
	{"the first recipient is refused and a text taken", map[string]string{"rcpt1@3": "550 5.1.1 no such user"}, "dead rcpt 550 5.1.1", "retry dot|done done 250", "1|2"},
	{"the server ends at the first text", map[string]string{"bdat@3": "421 4.3.2 closing"}, "retry dot 421 4.3.2|retry dot", "retry dot|done done 250", "1|2"},
	{"the line is cut at the first text", map[string]string{"bdat@3": "cut"}, "retry dot", "retry dot|done done 250", "1|2"},
	{"the line is reset at the first text", map[string]string{"bdat@3": "rst"}, "retry dot", "retry dot|done done 250", "1|2"},
	{"no SMTP at the first text", map[string]string{"bdat@3": "what"}, "retry dot", "retry dot|done done 250", "1|2"},
	{"a 354 at the first text", map[string]string{"bdat@3": "354 go"}, "retry dot 354", "retry dot|done done 250", "1|2"},
	{"a reply too many to the first sender", map[string]string{"mail@3": "250 2.1.0 ok\r\n250 2.1.0 ok"}, "retry dot", "retry dot|done done 250", "1|2"},
	{"a reply too many to the first text", map[string]string{"bdat@3": "250 2.0.0 ok\r\n250 2.0.0 ok"}, "done done 250", "retry dot", "1"},
	{"RSET is not known", map[string]string{"rset@3": "500 5.5.1 what"}, "done done 250", "done done 250", "1"},
	{"the server ends between", map[string]string{"rset@3": "421 4.3.2 closing"}, "done done 250", "done done 250|retry dot", "1|2"},
	{"the server ends at the second sender", map[string]string{"mail@4": "421 4.3.2 closing"}, "done done 250", "done done 250|retry dot", "1|2"},
	{"the server ends at the second recipient", map[string]string{"rcpt1@4": "421 4.3.2 closing"}, "done done 250", "retry rcpt 421 4.3.2|retry dot", "1"},
	{"the line is cut between", map[string]string{"rset@3": "cut"}, "done done 250", "retry dot", "1"},
	{"the line is cut at the second sender", map[string]string{"mail@4": "cut"}, "done done 250", "retry dot", "1"},
	{"the line is cut at the second text", map[string]string{"bdat@4": "cut"}, "done done 250", "retry dot", "1"},
	{"the second sender is refused", map[string]string{"mail@4": "550 5.7.1 sender rejected", "rcpt1@4": "503 5.5.1 MAIL first", "bdat@4": "503 5.5.1 MAIL first"}, "done done 250", "dead mail 550 5.7.1", "1"},
	{"the second recipient is refused", map[string]string{"rcpt1@4": "450 4.2.1 later", "bdat@4": "503 5.5.1 no valid recipients"}, "done done 250", "retry rcpt 450 4.2.1", "1"},
	{"the second text is refused", map[string]string{"bdat@4": "554 5.6.0 no"}, "done done 250", "dead dot 554 5.6.0", "1"},
	{"both are refused", map[string]string{"rcpt1@3": "550 5.1.1 no", "bdat@3": "503 5.5.1 no", "mail@4": "451 4.3.0 later", "rcpt1@4": "503 5.5.1 no", "bdat@4": "503 5.5.1 no"}, "dead rcpt 550 5.1.1", "retry mail 451 4.3.0", "1"},
}

func TestAFlightGoesOutBehindAnother(t *testing.T) {
	for _, tt := range tandems {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, single=%t", tt.name, single), func(t *testing.T) {
				t.Parallel()
				do := map[string]string{"rcpt1@3": "wait"}
				for k, v := range tt.do {
					do[k] = v
				}
				f, a := distant(t, do)
				f.set(func(f *fake) { f.single = single })
				first, second := tandem(t, f, a, t.Context(), t.Context())
				oneOf := func(got, want string) bool { return slices.Contains(strings.Split(want, "|"), got) }
				if !oneOf(first.String(), tt.first) || !oneOf(second.String(), tt.second) {
					t.Errorf("got %q and %q, want %q and %q (%v, %v)", first, second, tt.first, tt.second, first.err, second.err)
				}
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
				f.drain()
				_, inner := f.heard()
				checkFlights(t, inner, first, second)
				if n := fmt.Sprint(len(f.conns)); !oneOf(n, tt.conns) {
					t.Errorf("%s connections, want %s", n, tt.conns)
				}
				if !strings.Contains(inner, "RSET\r\nMAIL") && tt.second == "done done 250" && tt.conns == "1" {
					t.Errorf("nothing went out behind:\n%s", inner)
				}
			})
		}
	}
}

// checkFlights looks at what a server heard of two mails: each text at most once, unless a
// first copy was known not to count, and what was said to have come, came.
func checkFlights(t *testing.T, inner string, first, second ended) {
	t.Helper()
	got := flightsHeard(inner)
	for word, e := range map[string]ended{"first": first, "second": second} {
		certain := map[string]queue.Certainty{"done done 250": queue.Accepted, "retry dot": queue.Unknown, "retry dot 354": queue.Unknown}
		want, ok := certain[e.String()]
		if !ok {
			want = queue.Rejected
		}
		if e.reply.Certainty != want {
			t.Errorf("%s: %s has certainty %s, want %s", word, e, e.reply.Certainty, want)
		}
		if n := got[word] + got[word+" by DATA"]; n > 2 || want == queue.Accepted && n == 0 {
			t.Errorf("%s: %s, heard %v", word, e, got)
		}
	}
}

func TestAFlightGivesUp(t *testing.T) {
	for _, who := range []string{"first", "second"} {
		f, a := distant(t, map[string]string{"bdat@3": "hang"})
		ctx1, cancel1 := context.WithCancelCause(t.Context())
		ctx2, cancel2 := context.WithCancelCause(t.Context())
		go func() {
			<-f.stuck
			<-f.open
			if who == "second" {
				cancel2(queue.ErrDrainTimeout)
				eventually(t, "the second has left", func() bool {
					acc := only(a)
					acc.mu.Lock()
					defer acc.mu.Unlock()
					return len(acc.line) == 0
				})
			}
			cancel1(queue.ErrDrainTimeout)
		}()
		first, second := tandem(t, f, a, ctx1, ctx2)
		if !errors.Is(first.err, queue.ErrDrainTimeout) || first.reply.Certainty != queue.Unknown {
			t.Errorf("%s: the first %s (%v)", who, first, first.err)
		}
		own := who == "second" && errors.Is(second.err, queue.ErrDrainTimeout) && second.reply.Certainty == queue.Rejected // ended before it wrote
		if second.err != nil && second.reply.Certainty != queue.Unknown && outcome(second.err) != "handback" && !own {
			t.Errorf("%s: the second %s %s (%v)", who, second, second.reply.Certainty, second.err)
		}
		f.close()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if s := a.Stats(); s != (Stats{}) {
			t.Errorf("%s: connections %+v", who, s)
		}
		cancel1(nil)
		cancel2(nil)
	}
}

// TestAClaimLostBehindAnotherLeavesTheLineGood: nothing of the second has been
// written, so the first is not disturbed, and the third goes by the same connection.
func TestAClaimLostBehindAnotherLeavesTheLineGood(t *testing.T) {
	f, a := distant(t, map[string]string{"bdat@3": "wait"})
	warm(t, a, 2)
	done := make(chan ended, 1)
	first := attempt(t.Context(), t, a, "first", func(context.Context) error {
		go func() {
			e := attempt(t.Context(), t, a, "second", func(context.Context) error { return queue.ErrLeaseLost }, nil)
			close(f.open)
			done <- e
		}()
		eventually(t, "the second mail waits", func() bool { return waiting(a) == 1 })
		return nil
	}, nil)
	second := <-done
	if first.err != nil || !errors.Is(second.err, queue.ErrLeaseLost) {
		t.Errorf("got %v, %v", first.err, second.err)
	}
	if e := attempt(t.Context(), t, a, "third", nil, nil); e.err != nil {
		t.Error(e.err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f.drain()
	_, inner := f.heard()
	if got := flightsHeard(inner); got["first"] != 1 || got["second"] != 0 || got["third"] != 1 || len(f.conns) != 1 {
		t.Errorf("%v, %d connections:\n%s", got, len(f.conns), inner)
	}
}

// TestWhatGoesByDATA although the server takes flights.
func TestWhatGoesByDATA(t *testing.T) {
	for _, tt := range []struct {
		name  string
		more  fields
		park  bool
		first bool // of its connection
		far   bool
		rest  bool
		want  string
	}{
		{name: "a mail that needs nothing", far: true, want: "BDAT"},
		{name: "on a short way", want: "DATA"},
		{name: "the first of a connection", far: true, first: true, want: "DATA"},
		{name: "on a connection that has rested", far: true, rest: true, want: "DATA"},
		{name: "a job that is parked when nobody knows", far: true, park: true, want: "DATA"},
		{name: "a large mail", far: true, more: fields{"message": strings.Repeat("large text\r\n", flightMax/10)}, want: "DATA"},
		{name: "as many as go out at once", far: true, more: fields{"to": manyTo(ahead)}, want: "BDAT"},
	} {
		f, a := distant(t, map[string]string{})
		if !tt.far {
			a.pool.far = 1 << 62
		}
		if !tt.first {
			warm(t, a, 1)
		}
		if acc := only(a); tt.rest {
			acc.mu.Lock()
			acc.idle[0].used = acc.idle[0].used.Add(-restMax)
			acc.mu.Unlock()
		}
		j := job(t, "1", tt.more)
		if tt.park {
			j.OnAmbiguous = "park"
		}
		if _, err := do(t, a, j); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		_, inner := f.heard()
		last := inner[strings.LastIndex(inner, "MAIL FROM"):]
		if got := strings.Contains(last, "\r\nBDAT "); got != (tt.want == "BDAT") || got == strings.Contains(last, "\r\nDATA\r\n") {
			t.Errorf("%s: want %s\n%s", tt.name, tt.want, last[:min(len(last), 300)])
		}
	}
}

func manyTo(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("b%d@receiver.test", i)
	}
	return strings.Join(list, ", ")
}
