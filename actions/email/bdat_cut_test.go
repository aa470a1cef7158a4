package email

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// TestAServerThatOffersBDATAndDoesNotKnowIt gets the mail by DATA and another connection,
// in the same attempt, and all that come after.
func TestAServerThatOffersBDATAndDoesNotKnowIt(t *testing.T) {
	for _, reply := range []string{"500 5.5.1 what", "502 5.5.1 not implemented", "503 5.5.1 bad sequence", "504 5.5.4 no"} {
		f, a := distant(t, map[string]string{"bdat": reply})
		warm(t, a, 1)
		for i, word := range []string{"first", "second", "third"} {
			e := attempt(t.Context(), t, a, word, nil, nil)
			if e.err != nil || len(f.conns) != 2 {
				t.Errorf("%s: mail %d: %s (%v), %d connections, want 2", reply, i, e, e.err, len(f.conns))
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		f.drain()
		_, inner := f.heard()
		want := map[string]int{"first": 1, "first by DATA": 1, "second by DATA": 1, "third by DATA": 1} // the BDAT was refused
		if got := flightsHeard(inner); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v in\n%s", reply, got, want, inner)
		}
	}
}

// TestARefusedTextIsNoLackOfBDAT: the connection has taken one before, or the code is
// not one of those.
func TestARefusedTextIsNoLackOfBDAT(t *testing.T) {
	for _, do := range []map[string]string{{"bdat@2": "554 5.6.0 no"}, {"bdat@3": "503 5.5.1 no"}} {
		f, a := distant(t, do)
		warm(t, a, 1)
		second := attempt(t.Context(), t, a, "second", nil, nil)
		third := attempt(t.Context(), t, a, "third", nil, nil)
		if (second.err == nil) == (third.err == nil) || len(f.conns) != 1 {
			t.Errorf("%v: got %s and %s, %d connections", do, second, third, len(f.conns))
		}
	}
}

// TestEachRecipientOfAFlightIsAnsweredForItself: the replies have the place of the commands,
// and who was refused does not keep the mail from the others.
func TestEachRecipientOfAFlightIsAnsweredForItself(t *testing.T) {
	for _, tt := range []struct {
		do    map[string]string
		want  string // outcome, stage, code and certainty
		parts string
	}{
		{nil, "done done 250 accepted", ""},
		{map[string]string{"rcpt2": "550 5.1.1 no"}, "dead rcpt 550 5.1.1 rejected", "1 accepted, 3 accepted, 2 refused"},
		{map[string]string{"rcpt1": "450 4.2.1 later"}, "retry rcpt 450 4.2.1 rejected", "2 accepted, 3 accepted"},
		{map[string]string{"rcpt3": "452 4.5.3 too many recipients"}, "handback rcpt  rejected", "1 accepted, 2 accepted"},
		{map[string]string{"rcpt1": "550 5.1.1 no", "rcpt2": "450 4.2.1 later", "bdat": "554 5.6.0 no"}, "dead dot 554 5.6.0 rejected", ""},
		{map[string]string{"rcpt": "550 5.1.1 no", "bdat": "503 5.5.1 no"}, "dead rcpt 550 5.1.1 rejected", "1 refused, 2 refused, 3 refused"},
		{map[string]string{"rcpt2": "421 4.3.2 closing"}, "retry dot  unknown", ""},
		{map[string]string{"rcpt2": "cut"}, "retry dot  unknown", ""},
		{map[string]string{"mail": "451 4.3.0 later", "rcpt": "cut"}, "retry mail 451 4.3.0 rejected", ""},
		{map[string]string{"bdat": "250 2.0.0 ok\r\n250 2.0.0 ok"}, "retry dot  unknown", ""},
		{map[string]string{"bdat": "250 2.0.0 ok\r\n421 4.3.2 bye"}, "done done 250 accepted", ""},
		{map[string]string{"bdat": "299 as you like"}, "done done 250 accepted", ""},
		{map[string]string{"bdat": "450 4.7.0 too many mails, slow down"}, "throttled dot 450 4.7.0 rejected", ""},
		{map[string]string{"bdat": "552 5.3.4 message too large"}, "dead dot 552 5.3.4 rejected", ""},
		{map[string]string{"bdat": "999 4.0.0 what"}, "retry dot 999 4.0.0 unknown", ""},
	} {
		f, a := distant(t, map[string]string{})
		warm(t, a, 2)
		f.set(func(f *fake) { f.do = tt.do })
		if tt.do == nil {
			f.set(func(f *fake) { f.do = map[string]string{} })
		}
		e := attempt(t.Context(), t, a, "first", nil, fields{"to": "b@receiver.test, c@receiver.test, d@receiver.test"})
		got := fmt.Sprintf("%s %s %s %s", outcome(e.err), e.reply.Stage, e.reply.Code, e.reply.Certainty)
		var parts []string
		for _, p := range e.reply.Parts {
			n, _, _ := strings.Cut(p.ID, "-")
			parts = append(parts, n+" "+p.State)
		}
		if got != tt.want || strings.Join(parts, ", ") != tt.parts {
			t.Errorf("%v: got %q %v (%v), want %q %s", tt.do, got, parts, e.err, tt.want, tt.parts)
		}
		f.set(func(f *fake) { f.do = map[string]string{} })
		if e := attempt(t.Context(), t, a, "third", nil, nil); e.err != nil {
			t.Errorf("%v: the next: %s (%v)", tt.do, e, e.err)
		}
	}
}

// TestAFlightCutAtEachByte: the server closes when it has read so much of it. What it has
// not read whole it cannot have taken, and we do not know which it was.
func TestAFlightCutAtEachByte(t *testing.T) {
	f, a := distant(t, map[string]string{})
	warm(t, a, 1)
	_, before := f.heard()
	if e := attempt(t.Context(), t, a, "first", nil, nil); e.err != nil {
		t.Fatal(e.err)
	}
	_, after := f.heard()
	start := strings.LastIndex(after, "MAIL FROM") // all of it read, it would answer
	if start != len(before) {
		t.Fatalf("a flight begins at %d of\n%s", start, after)
	}
	for most := start; most < len(after); most++ {
		f, a := distant(t, map[string]string{})
		f.set(func(f *fake) { f.most = most })
		warm(t, a, 1)
		e := attempt(t.Context(), t, a, "first", nil, nil)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		f.drain()
		_, inner := f.heard()
		n := flightsHeard(inner)["first"] + flightsHeard(inner)["first by DATA"]
		unsure := e.String() == "retry dot" && e.reply.Certainty == queue.Unknown
		if !unsure && !(e.err == nil && len(f.conns) > 1 && n == 1) {
			t.Errorf("cut after %d of %d bytes: %s %s (%v), %d came", most-start, len(after)-start, e, e.reply.Certainty, e.err, n)
		}
	}
}

// TestRepliesToAFlightCutAtEachByte: only a whole code for the text is a yes.
func TestRepliesToAFlightCutAtEachByte(t *testing.T) {
	const says = "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 queued\r\n"
	yes := strings.LastIndex(says, "250 2") + len("250 ")
	for n := range len(says) + 1 {
		failed, _ := flown(t, says[:n])
		if (failed == nil) != (n >= yes) || failed != nil && failed.verdict.Reason != actions.Ambiguous {
			t.Errorf("after %q: %+v", says[:n], failed)
		}
	}
}

// flown sends one mail as a flight to a server that says what it is given.
func flown(t *testing.T, says string) (*failure, *played) {
	l := &letter{from: "a@x.test", to: []recipient{{1, "b@x.test"}}, raw: []byte("first text")}
	a := &account{busy: 1, far: 1}
	a.trip.Store(1)
	defer a.retire()
	c, p := playedConn(t, a, []byte(says))
	c.chunking, c.sent, c.used, c.flown = true, 1, c.born, true
	_, failed := c.transact(t.Context(), func(context.Context) error { return nil }, l)
	c.finish(l, failed)
	if !strings.HasSuffix(p.heard.String(), "BDAT 12 LAST\r\nfirst text\r\n") {
		t.Fatalf("went out: %q", p.heard.String())
	}
	return failed, p
}

// FuzzAFlight sends a mail to a server that says anything. It counts as taken only if three
// replies said so, and as refused for sure only if one did.
func FuzzAFlight(f *testing.F) {
	for _, s := range []string{
		"", "250 ok\r\n250 ok\r\n250 ok\r\n", "250 ok\r\n250 ok\r\n554 no\r\n", "250 ok\r\n550 no\r\n503 no\r\n", "451 no\r\n503 no\r\n503 no\r\n",
		"451 no\r\n250 ok\r\n250 ok\r\n", "250 ok\r\n250 ok\r\n250 2.1.5 ok\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n", "421 no\r\n", "250-a\r\n250 b\r\n250 ok\r\n354 go\r\n",
		"250 ok\r\n250 ok\r\n421 no\r\n", "250 ok\r\n550 no\r\n250 ok\r\n", "250 ok\r\n421 no\r\n", "what\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, says string) {
		if len(says) > replyBudget/2 {
			return
		}
		failed, _ := flown(t, says)
		model := script{textproto.NewReader(bufio.NewReader(bytes.NewReader([]byte(says))))}
		codes := [3]int{model.code(), model.code(), model.code()}
		yes := codes[0]/100 == 2 && codes[1]/100 == 2 && codes[2]/100 == 2
		if failed == nil && !yes {
			t.Fatalf("taken for accepted: %v", codes)
		}
		no := false
		for _, code := range codes {
			no = no || code >= 400 && code < 600
		}
		if failed != nil && !no && failed.verdict.Reason != actions.Ambiguous {
			t.Fatalf("taken for refused: %v, %+v", codes, failed)
		}
		if codes[1]/100 == 2 && codes[2]/100 == 2 && codes[0] != 421 && failed != nil && failed.verdict.Reason != actions.Ambiguous {
			t.Fatalf("somebody was taken, and the text: %v, %+v", codes, failed)
		}
	})
}

func FuzzWholeLines(f *testing.F) {
	for _, s := range []string{"", ".", "a\r\n.b\r\n", "a\n.\nb", "\r\n.", "x\r", "a\r.\rb", "\r\r\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s stuffer
		stuffed := append(s.end(s.add(nil, text)), ".\r\n"...)
		want, err := io.ReadAll(textproto.NewReader(bufio.NewReader(bytes.NewReader(stuffed))).DotReader())
		if err != nil {
			t.Fatal(err)
		}
		got := wholeLines(text)
		if string(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))) != string(want) && len(text) > 0 {
			t.Fatalf("got %q, by DATA %q", got, want)
		}
		if rest := bytes.ReplaceAll(got, []byte("\r\n"), nil); bytes.ContainsAny(rest, "\r\n") || !bytes.HasSuffix(got, []byte("\r\n")) {
			t.Fatalf("%q has another line end than CRLF", got)
		}
	})
}

// moody cuts and refuses now and then.
func moody() func(stage, _ string, _ []string) (sink.Fault, bool) {
	var turn atomic.Int64
	return func(stage, _ string, _ []string) (sink.Fault, bool) {
		switch n := turn.Add(1); {
		case n%211 == 0:
			return sink.Fault{Cut: true}, stage == "mail" || stage == "rcpt"
		case n%29 == 0 && stage == "dot":
			return sink.Fault{Code: 451, Text: "4.3.0 later"}, true
		case n%23 == 0 && stage == "rcpt", n%37 == 0 && stage == "mail":
			return sink.Fault{Code: 450, Text: "4.2.1 later"}, true
		case n%307 == 0 && stage == "mail":
			return sink.Fault{Code: 421, Text: "4.3.2 closing"}, true
		}
		return sink.Fault{}, false
	}
}

// TestManyMailsFly sends by few connections to a server that cuts and refuses, until each
// has arrived. What came twice was not known to have come.
func TestManyMailsFly(t *testing.T) {
	s, v := startSink(t, func(c *sink.SMTPConfig) { c.Keep, c.Choose = 10_000, moody() })
	v.login.MaxConnections = 3
	a := action(t, v, 0)
	a.pool.far = 1
	const jobs = 600
	unsure := make([]int, jobs)
	ids := make(chan int, jobs)
	for i := range jobs {
		ids <- i
	}
	close(ids)
	var side sync.WaitGroup
	for range 30 {
		side.Go(func() {
			for i := range ids {
				for try := 0; ; try++ {
					reply, err := do(t, a, job(t, fmt.Sprint(i), nil))
					if err == nil {
						break
					}
					if reply.Certainty == queue.Unknown {
						unsure[i]++
					}
					if try > 20 {
						t.Errorf("mail %d: %+v (%v)", i, reply, err)
						break
					}
					a.pool.account(v.login.Ref).plain.Store(0) // go on with flights
				}
			}
		})
	}
	side.Wait()
	got := map[string]int{}
	for id, n := range s.Received() {
		word, _, _ := strings.Cut(id, ".")
		got[word] += n
	}
	all := 0
	for i := range jobs {
		if n := got[fmt.Sprint(i)]; n < 1 || n > 1+unsure[i] {
			t.Errorf("mail %d came %d times, %d times nobody knew", i, n, unsure[i])
		}
		all += unsure[i]
	}
	t.Logf("%d times nobody knew, %+v", all, s.Counts())
}

// TestAFlightTakesItsEnvelopeFromNobody: behind a refused mail the sink would take recipients
// for the sender of the one before, if nothing put an end to it.
func TestAFlightTakesItsEnvelopeFromNobody(t *testing.T) {
	s, v := startSink(t, nil)
	v.login.MaxConnections = 1
	a := action(t, v, 0)
	a.pool.far = 1
	warm(t, a, 2)
	s.Inject(sink.Fault{Stage: "rcpt", Code: 550, Text: "5.1.1 no", Times: 1})
	first := attempt(t.Context(), t, a, "first", nil, fields{"from": "one@sender.test"})
	second := attempt(t.Context(), t, a, "second", nil, fields{"from": "two@sender.test"})
	if first.String() != "dead rcpt 550 5.1.1" || second.err != nil {
		t.Errorf("got %s and %s (%v, %v)", first, second, first.err, second.err)
	}
	list := s.Messages()
	if last := list[len(list)-1]; len(list) != 3 || last.From != "two@sender.test" || len(last.To) != 1 || s.Counts().Connections != 1 {
		t.Errorf("%d mails, the last from %s to %v, %+v", len(list), last.From, last.To, s.Counts())
	}
}

// TestADeadLineIsFoundBeforeAFlight is about the connection of an account that another
// use has closed on our side: the write fails, so nothing was sent.
func TestADeadLineIsFoundBeforeAFlight(t *testing.T) {
	_, a := distant(t, map[string]string{})
	warm(t, a, 2)
	c, err := a.pool.get(t.Context(), secrets.Ref{ID: only(a).ref.ID, Version: 1}, secrets.Use{Actor: "test", Why: "test"}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.raw.Close()
	c.release(nil)
	if e := attempt(t.Context(), t, a, "first", nil, nil); e.err != nil {
		t.Errorf("got %s (%v)", e, errors.Unwrap(e.err))
	}
}
