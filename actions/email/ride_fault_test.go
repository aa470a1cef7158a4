package email

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

func TestNothingOfALoginShowsAboard(t *testing.T) {
	for _, step := range []string{"dot@1", "mail@2", "rcpt1@2", "data@2", "dot@2"} {
		for _, code := range []int{535, 550, 450, 421} {
			t.Run(fmt.Sprintf("%s %d", step, code), func(t *testing.T) {
				t.Parallel()
				reply := fmt.Sprintf("%d-5.7.8 you sent {auth}\r\n%d 5.7.8 to b@receiver.test with %s {b64} {hex} {url}", code, code, password)
				_, a := pipelined(t, map[string]string{step: reply})
				first, second := couple(t, a, t.Context(), t.Context(), nil)
				shown := fmt.Sprintf("%+v %#v %v %+v", first.reply, second.reply, first.err, second.err)
				for _, bad := range []string{password, "Passw0rd", "AG1haWxlck", "Y2FuYXJ5", "receiver.test"} {
					if strings.Contains(shown, bad) {
						t.Errorf("%s shows in %s", bad, shown)
					}
				}
				if first.err == nil && second.err == nil && code != 421 {
					t.Error("no error")
				}
			})
		}
	}
}

// TestAHostileServerMeetsARide does everything that a server can do wrong to the
// replies of a mail that rides, or to the dot before it. All run at once.
func TestAHostileServerMeetsARide(t *testing.T) {
	steps := []string{"dot@1", "mail@2", "rcpt1@2", "rcpt2@2", "data@2", "dot@2"}
	whats := []string{"hang", "cut", "rst", "drip", "trickle", "flood", "421 4.3.2 closing", strings.Repeat("2", 100_000),
		"\x00\x00\x00", "no SMTP at all", "\r\n", "999 4.0.0 what", "250 " + strings.Repeat("x", 100_000)}
	var side sync.WaitGroup
	for _, step := range steps {
		for _, what := range whats {
			side.Go(func() { meetRide(t, step, what) })
		}
	}
	side.Wait()
}

// meetRide sends two mails to a server that does what at step.
func meetRide(t *testing.T, step, what string) {
	f, a := pipelined(t, map[string]string{step: what})
	ctx1, cancel1 := context.WithCancel(t.Context())
	defer cancel1()
	ctx2, cancel2 := context.WithCancel(t.Context())
	defer cancel2()
	go func() { // the one that is stuck gives up
		select {
		case <-f.stuck:
			if step == "dot@1" {
				cancel1()
			} else {
				cancel2()
			}
		case <-f.done:
		}
	}()
	first, second := couple(t, a, ctx1, ctx2, fields{"to": "b@receiver.test, c@receiver.test"})
	name := fmt.Sprintf("%s at %s: ", what[:min(len(what), 20)], step)
	if step != "dot@1" && first.err != nil {
		t.Errorf("%s the first: %s (%v)", name, first, first.err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	f.close()
	_, inner := f.heard()
	got := textsHeard(inner)
	for word, e := range map[string]ended{"first": first, "second": second} {
		unsure := e.reply.Certainty == queue.Unknown
		if unsure && got[word] == 0 || (e.err == nil) != (e.reply.Certainty == queue.Accepted) {
			t.Errorf("%s the %s: %s with certainty %s", name, word, e, e.reply.Certainty)
		}
	}
	if got["empty"] > 0 || got["first"] > 1 || got["second"] > 1 || second.err == nil && got["second"] != 1 {
		t.Errorf("%s messages %v", name, got)
	}
	if s := a.Stats(); s != (Stats{}) {
		t.Errorf("%s connections %+v", name, s)
	}
}

// TestManyMailsRide sends by few connections to a server that cuts and refuses,
// until each has arrived, and looks for what came twice or to nobody's account.
func TestManyMailsRide(t *testing.T) {
	var turn atomic.Int64
	s, v := startSink(t, func(c *sink.SMTPConfig) {
		c.Keep = 10_000
		c.Choose = func(stage, _ string, _ []string) (sink.Fault, bool) {
			n := turn.Add(1)
			switch {
			case n%41 == 0 && slices.Contains([]string{"mail", "rcpt"}, stage):
				return sink.Fault{Cut: true}, true
			case n%29 == 0 && stage == "dot":
				return sink.Fault{Code: 451, Text: "4.3.0 later"}, true
			case n%31 == 0 && stage == "mail":
				return sink.Fault{Code: 421, Text: "4.3.2 closing"}, true
			}
			return sink.Fault{}, false
		}
	})
	v.login.MaxConnections = 3
	a := action(t, v, 0)
	jobs := 600
	ids := make(chan int)
	var side sync.WaitGroup
	var again atomic.Int64
	for range 30 {
		side.Go(func() {
			for i := range ids {
				for try := 0; ; try++ {
					reply, err := do(t, a, job(t, fmt.Sprint(i), nil))
					if err == nil {
						break
					}
					again.Add(1)
					if reply.Certainty != queue.Rejected || try > 20 {
						t.Errorf("mail %d: %+v (%v)", i, reply, err)
						break
					}
				}
			}
		})
	}
	for i := range jobs {
		ids <- i
	}
	close(ids)
	side.Wait()
	if c := s.Counts(); c.Messages != int64(jobs) || c.Distinct != int64(jobs) {
		t.Errorf("%+v, want %d mails", c, jobs)
	}
	t.Logf("%d attempts came to nothing, %+v", again.Load(), s.Counts())
}

func TestAConnectionEndsAfterItsMailsWithRides(t *testing.T) {
	s, v := startSink(t, nil)
	v.login.MaxConnections = 1
	a := action(t, v, 0)
	const rounds = 2*mailsMax/8 + 32
	together(8, func(n int) {
		for i := range rounds {
			if _, err := do(t, a, job(t, fmt.Sprint(n, "-", i), nil)); err != nil {
				t.Error(err)
			}
		}
	})
	if c := s.Counts(); c.Connections != 3 || c.Messages != 8*rounds || c.Distinct != 8*rounds {
		t.Errorf("%+v, want %d mails by 3 connections", c, 8*rounds)
	}
}

// TestWhoCannotRideIsNotPassedOver: a large mail that has waited longest gets the
// connection before small ones that could ride.
func TestWhoCannotRideIsNotPassedOver(t *testing.T) {
	f, a := pipelined(t, map[string]string{"data@1": "wait"})
	var order []string
	var mu sync.Mutex
	var side sync.WaitGroup
	send := func(id string, size int) {
		side.Go(func() {
			_, err := do(t, a, job(t, id, fields{"message": id + " text " + strings.Repeat("x", size)}))
			mu.Lock()
			defer mu.Unlock()
			if order = append(order, id); err != nil {
				t.Error(err)
			}
		})
	}
	send("first", 1)
	eventually(t, "the first is on its way", func() bool { return a.Stats().Busy == 1 })
	inLine := func() int { acc := only(a); acc.mu.Lock(); defer acc.mu.Unlock(); return len(acc.line) }
	send("large", 2*rideMax)
	eventually(t, "one waits", func() bool { return inLine() == 1 })
	send("small", 1)
	eventually(t, "two wait", func() bool { return inLine() == 2 })
	close(f.open)
	side.Wait()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f.drain()
	_, inner := f.heard()
	if strings.Index(inner, "large text") > strings.Index(inner, "small text") || len(f.conns) != 1 {
		t.Errorf("the small one was first: %v, %d connections", order, len(f.conns))
	}
}
