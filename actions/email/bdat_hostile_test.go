package email

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

// TestAHostileServerMeetsFlights does everything that a server can do wrong to the replies
// of two flights, one behind the other. All run at once.
func TestAHostileServerMeetsFlights(t *testing.T) {
	steps := []string{"mail@3", "rcpt1@3", "bdat@3", "rset@3", "mail@4", "rcpt1@4", "bdat@4"}
	whats := []string{"hang", "cut", "rst", "drip", "trickle", "flood", "421 4.3.2 closing", strings.Repeat("2", 100_000),
		"\x00\x00\x00", "no SMTP at all", "\r\n", "999 4.0.0 what", "354 go", "250 " + strings.Repeat("x", 100_000),
		"535-5.7.8 you sent {auth}\r\n535 5.7.8 to b@receiver.test with " + password + " {b64} {hex} {url}"}
	var side sync.WaitGroup
	for _, step := range steps {
		for _, what := range whats {
			side.Go(func() { meetFlights(t, step, what) })
		}
	}
	side.Wait()
}

// meetFlights sends two mails to a server that does what at step.
func meetFlights(t *testing.T, step, what string) {
	f, a := distant(t, map[string]string{step: what})
	ctx1, cancel1 := context.WithCancel(t.Context())
	defer cancel1()
	ctx2, cancel2 := context.WithCancel(t.Context())
	defer cancel2()
	go func() { // the one that is stuck gives up
		select {
		case <-f.stuck:
			if strings.HasSuffix(step, "@3") && step != "rset@3" {
				cancel1()
			} else {
				cancel2()
			}
		case <-f.done:
		}
	}()
	first, second := tandem(t, f, a, ctx1, ctx2)
	name := fmt.Sprintf("%s at %s: ", what[:min(len(what), 20)], step)
	if strings.HasSuffix(step, "@4") && first.err != nil {
		t.Errorf("%s the first: %s (%v)", name, first, first.err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	f.close()
	_, inner := f.heard()
	got := flightsHeard(inner)
	for word, e := range map[string]ended{"first": first, "second": second} {
		n := got[word] + got[word+" by DATA"]
		if (e.err == nil) != (e.reply.Certainty == queue.Accepted) || e.err == nil && n == 0 {
			t.Errorf("%s the %s: %s with certainty %s, %d came", name, word, e, e.reply.Certainty, n)
		}
	}
	if s := a.Stats(); s != (Stats{}) {
		t.Errorf("%s connections %+v", name, s)
	}
	shown := fmt.Sprintf("%+v %#v %v %v", first.reply, second.reply, first.err, second.err)
	for _, bad := range []string{password, "Passw0rd", "AG1haWxlck", "Y2FuYXJ5", "receiver.test"} {
		if strings.Contains(shown, bad) {
			t.Errorf("%s %s shows in %s", name, bad, shown)
		}
	}
}
