package sqs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// service is the other end of an accumulator: it notes requests and answers
// after delay.
type service struct {
	delay  time.Duration
	answer func(batch []*entry) ([]result, bool) // nil: accept all

	mu       sync.Mutex
	requests [][]string // bodies
	at       []time.Time
	open     int
	most     int // requests at once
}

func (s *service) fly(ctx context.Context, batch []*entry) ([]result, bool) {
	s.mu.Lock()
	var bodies []string
	for _, e := range batch {
		bodies = append(bodies, e.body)
	}
	s.requests = append(s.requests, bodies)
	s.at = append(s.at, time.Now())
	s.open++
	s.most = max(s.most, s.open)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
		return all(batch, abandoned(ctx.Err(), true)), true
	}
	if s.answer != nil {
		return s.answer(batch)
	}
	return all(batch, nil), false
}

func all(batch []*entry, f *failure) []result {
	results := make([]result, len(batch))
	for i := range results {
		results[i] = result{id: "m-" + batch[i].body, failed: f}
	}
	return results
}

func (s *service) sizes() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []int
	for _, r := range s.requests {
		list = append(list, len(r))
	}
	slices.Sort(list) // requests that go at once start in any order
	return list
}

func failWith(code string) *failure {
	return newFailure(actions.Answer{Stage: stageSend, Code: 400, Status: code}, code)
}

func gather(s *service, fifo bool) *accumulator {
	return &accumulator{
		fifo: fifo, fly: s.fly, limit: time.Minute, proven: true,
		flights: map[*flight]bool{}, busy: map[string]bool{},
	}
}

// give adds a delivery of these bodies; a body "g/x" is of group g.
func give(a *accumulator, bodies ...string) *delivery {
	return giveWith(a, nil, bodies...)
}

func giveWith(a *accumulator, begin func(context.Context) error, bodies ...string) *delivery {
	d := deliver(a.fifo, begin, bodies...)
	a.add(d, d.entries)
	return d
}

func deliver(fifo bool, begin func(context.Context) error, bodies ...string) *delivery {
	job := &queue.Job{ID: "j", JID: "1-0"}
	d := newDelivery(context.Background(), queue.NewClaim(job, 1, begin), &plan{bodies: bodies}, fifo)
	for _, e := range d.entries {
		if group, _, ok := strings.Cut(e.body, "/"); ok {
			e.group = group
		}
	}
	return d
}

func numbered(n int, format string) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(format, i))
	}
	return list
}

func bubble(t *testing.T, s *service, fifo bool, f func(t *testing.T, a *accumulator)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := gather(s, fifo)
		f(t, a)
		a.dismiss()
		a.wait.Wait()
	})
}

func TestASingleMessageWaitsForNobody(t *testing.T) {
	s := &service{delay: time.Second}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		begin := time.Now()
		<-give(a, "one").done
		if got := time.Since(begin); got != time.Second {
			t.Errorf("took %v, want 1s: the request and nothing else", got)
		}
	})
}

func TestMessagesThatComeTogetherShareRequests(t *testing.T) {
	s := &service{delay: 100 * time.Millisecond}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		first := give(a, "first")
		synctest.Wait() // it is out
		var list []*delivery
		for range 25 {
			list = append(list, give(a, "x"))
		}
		begin := time.Now()
		for _, d := range append(list, first) {
			<-d.done
		}
		if diff := cmp.Diff(s.sizes(), []int{1, 5, 10, 10}); diff != "" {
			t.Errorf("sizes of requests: got - want +\n%s", diff)
		}
		// Full requests go at once; the rest waits for company no longer than linger.
		if got, want := time.Since(begin), linger+s.delay; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
	})
}

func TestRequestsKeepTheLimits(t *testing.T) {
	big := strings.Repeat("x", 400<<10)
	s := &service{delay: time.Second}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		<-give(a, append([]string{big, big, big, big}, numbered(12, "%d")...)...).done
		if diff := cmp.Diff(s.sizes(), []int{2, 4, 10}); diff != "" {
			t.Errorf("sizes of requests: got - want +\n%s", diff)
		}
		if s.most > maxFlights {
			t.Errorf("requests at once: got %d, want at most %d", s.most, maxFlights)
		}
	})
}

func TestABurstUsesAllFlightsAndNoMore(t *testing.T) {
	s := &service{delay: time.Second}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		var list []*delivery
		for range 1000 {
			list = append(list, give(a, "x"))
		}
		for _, d := range list {
			<-d.done
		}
		if s.most != maxFlights {
			t.Errorf("requests at once: got %d, want %d", s.most, maxFlights)
		}
		if got := len(s.sizes()); got > 101 { // the first goes with what is ready
			t.Errorf("requests: got %d, want at most 101", got)
		}
	})
}

func TestAnUnprovenCredentialIsTriedOnce(t *testing.T) {
	s := &service{delay: time.Second, answer: func(b []*entry) ([]result, bool) { return all(b, failWith("InvalidClientTokenId")), true }}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		a.proven = false
		var list []*delivery
		for range 10_000 {
			list = append(list, give(a, "x"))
		}
		for _, d := range list {
			<-d.done
			if d.results[0].failed == nil || !d.results[0].failed.refused() {
				t.Fatalf("result: got %+v, want refused", d.results[0])
			}
		}
		if got := len(s.sizes()); got != 1 {
			t.Errorf("requests: got %d, want 1", got)
		}
		<-give(a, "later").done
		if got := len(s.sizes()); got != 1 {
			t.Errorf("requests while the refusal is remembered: got %d, want 1", got)
		}
		<-time.After(refusalMemory)
		<-give(a, "much later").done
		if got := len(s.sizes()); got != 2 {
			t.Errorf("requests after the refusal is forgotten: got %d, want 2", got)
		}
	})
}

func TestAGroupOfAFIFOQueueHasOneRequestInFlight(t *testing.T) {
	s := &service{delay: time.Second}
	bubble(t, s, true, func(t *testing.T, a *accumulator) {
		a1 := give(a, numbered(25, "a/%d")...)
		b1 := give(a, numbered(5, "b/%d")...)
		<-a1.done
		<-b1.done
		var order []string
		for _, request := range s.requests {
			for _, body := range request {
				if strings.HasPrefix(body, "a/") {
					order = append(order, body)
				}
			}
		}
		if diff := cmp.Diff(order, numbered(25, "a/%d")); diff != "" {
			t.Errorf("order of group a: got - want +\n%s", diff)
		}
		for i, request := range s.requests {
			for j, other := range s.requests[:i] {
				if s.at[i].Sub(s.at[j]) < s.delay && strings.HasPrefix(request[0], "a/") && strings.HasPrefix(other[0], "a/") {
					t.Errorf("requests %d and %d of group a were out at once", j, i)
				}
			}
		}
		if s.most != 2 {
			t.Errorf("requests at once: got %d, want 2: group b does not wait for a", s.most)
		}
	})
}

func TestAFailureHoldsTheRestOfItsJobBack(t *testing.T) {
	s := &service{delay: time.Second}
	s.answer = func(b []*entry) ([]result, bool) {
		results := all(b, nil)
		for i, e := range b {
			if e.body == "a/3" {
				results[i] = result{failed: failWith("InternalError")}
			}
		}
		return results, false
	}
	bubble(t, s, true, func(t *testing.T, a *accumulator) {
		d := give(a, numbered(25, "a/%d")...)
		other := give(a, "a/other")
		<-d.done
		<-other.done
		if got := d.accepted(); got != 9 {
			t.Errorf("accepted: got %d, want the 9 others of the first request", got)
		}
		if got := d.results[20].failed; got == nil || !strings.Contains(got.text, "not sent after an earlier") {
			t.Errorf("the 21st: got %+v, want held back", got)
		}
		if other.results[0].failed != nil {
			t.Errorf("another job: got %v, want accepted", other.results[0].failed)
		}
		again := d.again()
		if len(again) != 16 || again[0].index != 3 || again[1].index != 10 {
			t.Errorf("again: got %d entries, want 16: number 3, and 10 to 24", len(again))
		}
	})
}

func TestAMessageThatSpoilsARequestFailsAlone(t *testing.T) {
	s := &service{delay: time.Second}
	s.answer = func(b []*entry) ([]result, bool) {
		for _, e := range b {
			if e.body == "bad" {
				return all(b, failWith("InvalidMessageContents")), true
			}
		}
		return all(b, nil), false
	}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		first := give(a, "first")
		synctest.Wait() // it is on its way: the others gather
		good := give(a, "a")
		bad := give(a, "bad")
		more := give(a, "b", "c")
		for _, d := range []*delivery{first, good, bad, more} {
			<-d.done
		}
		if good.accepted() != 1 || more.accepted() != 2 || bad.accepted() != 0 {
			t.Errorf("accepted: got %d, %d, %d, want 1, 2, 0", good.accepted(), more.accepted(), bad.accepted())
		}
		if diff := cmp.Diff(s.sizes(), []int{1, 1, 1, 1, 1, 4}); diff != "" {
			t.Errorf("sizes of requests: got - want +\n%s", diff)
		}
	})
}

func TestALostClaimSendsNothing(t *testing.T) {
	s := &service{delay: time.Second}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		lost := giveWith(a, func(context.Context) error { return queue.ErrLeaseLost }, numbered(15, "lost%d")...)
		kept := give(a, "kept")
		<-lost.done
		<-kept.done
		if diff := cmp.Diff(s.requests, [][]string{{"kept"}}); diff != "" {
			t.Errorf("requests: got - want +\n%s", diff)
		}
		if lost.accepted() != 0 || !errors.Is(lost.results[14].failed, queue.ErrLeaseLost) {
			t.Errorf("lost: got %+v, want ErrLeaseLost for all", lost.results[14])
		}
	})
}

func TestAbandon(t *testing.T) {
	s := &service{delay: time.Hour}
	bubble(t, s, false, func(t *testing.T, a *accumulator) {
		a.proven = false // one request at a time
		sent := give(a, "sent")
		together := give(a, "together")
		synctest.Wait()
		waiting := give(a, "waiting")

		a.abandon(waiting, context.Canceled)
		if f := waiting.results[0].failed; f == nil || f.verdict.Reason != actions.Transient {
			t.Errorf("waiting: got %+v, want transient: it never left", f)
		}
		a.abandon(sent, context.Canceled)
		if f := sent.results[0].failed; f == nil || f.verdict.Reason != actions.Ambiguous {
			t.Errorf("sent: got %+v, want unknown", f)
		}
		synctest.Wait()
		if s.open != 1 {
			t.Errorf("the request that another job waits for was cut off")
		}
		a.abandon(together, context.Canceled)
		synctest.Wait()
		if s.open != 0 {
			t.Errorf("the request that nobody waits for goes on")
		}
		if !a.idle(time.Now().Add(time.Second)) {
			t.Errorf("idle: got false after all have left")
		}
	})
}
