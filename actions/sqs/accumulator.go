package sqs

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sealpost/sealpost/actions"
)

// How messages are gathered into requests.
const (
	maxEntries = 10                   // of a request (AWS SDK, SendMessageBatch)
	linger     = 5 * time.Millisecond // longest wait for company while another request is out
	maxFlights = 16                   // requests at once; 10 were enough for 34,000 messages a second on loopback
)

// accumulator gathers the messages for one queue.
//
// A message that finds no request in flight goes at once, with all that became
// ready in the same moment; others gather while requests are out, until a
// request is full or [linger] has passed. So a single job waits for nobody, and
// under load requests are full.
//
// Of a FIFO queue, each message group has at most one request in flight, so
// that messages of a group arrive in the order in which they were added.
//
// Until a request has succeeded there is only one in flight: ten thousand jobs
// with a wrong key make one request and not ten thousand.
type accumulator struct {
	fifo  bool
	fly   func(ctx context.Context, batch []*entry) (results []result, whole bool)
	limit time.Duration // of one request

	mu       sync.Mutex
	pending  []*entry // in the order of add
	since    []time.Time
	flights  map[*flight]bool
	busy     map[string]bool // groups in flight
	starting bool            // a flight gathers what is ready right now
	armed    bool            // a timer runs
	proven   bool            // a request has succeeded with this credential
	refusal  *failure        // the credential was refused,
	until    time.Time       // and is not tried again before this
	used     time.Time       // when something was added last
	crew     crew            // makes the requests
	wait     sync.WaitGroup
}

// flight is a request with its messages.
type flight struct {
	batch  []*entry
	cancel context.CancelFunc
}

// refusalMemory is how long a refused credential answers for the jobs that were
// on their way when it was refused. Then the queue's gate keeps further ones
// back, in all processes.
const refusalMemory = 2 * time.Second

// add takes messages of d. Each gets a result by d.settle.
func (a *accumulator) add(d *delivery, entries []*entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.used = now
	if a.refusal != nil && now.Before(a.until) {
		for _, e := range entries {
			d.settle(e, result{failed: a.refusal})
		}
		return
	}
	a.pending = append(a.pending, entries...)
	for range entries {
		a.since = append(a.since, now)
	}
	a.kick()
}

// kick starts what can start. a.mu is held.
func (a *accumulator) kick() {
	for !a.starting {
		width := 1
		if a.proven {
			width = maxFlights
		}
		if len(a.flights) >= width {
			return // the next landing kicks again
		}
		chosen, full := a.choose()
		if len(chosen) == 0 {
			return
		}
		if len(a.flights) == 0 && !full {
			a.starting = true
			a.wait.Go(a.start)
			return
		}
		if wait := linger - time.Since(a.since[chosen[0]]); !full && wait > 0 {
			a.arm(wait)
			return
		}
		a.launch(chosen)
	}
}

// start lets the goroutines that are ready to add run first, and then takes
// what is there.
func (a *accumulator) start() {
	runtime.Gosched()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.starting = false
	if chosen, _ := a.choose(); len(chosen) > 0 {
		a.launch(chosen)
	}
	a.kick()
}

// arm kicks again after wait.
func (a *accumulator) arm(wait time.Duration) {
	if a.armed {
		return
	}
	a.armed = true
	time.AfterFunc(wait, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.armed = false
		a.kick()
	})
}

// choose returns the places of the pending messages that the next request
// takes, and whether no more can join them.
func (a *accumulator) choose() (chosen []int, full bool) {
	size := 0
	var passed map[string]bool // groups of which a message was passed over
	for i, e := range a.pending {
		if a.fifo && (a.busy[e.group] || passed[e.group]) {
			if passed == nil {
				passed = map[string]bool{}
			}
			passed[e.group] = true
			continue
		}
		if len(chosen) > 0 && (e.alone || size+e.size > maxBytes) {
			return chosen, true
		}
		chosen = append(chosen, i)
		size += e.size
		if e.alone || len(chosen) == maxEntries {
			return chosen, true
		}
	}
	return chosen, false
}

// launch sends the chosen messages. a.mu is held.
func (a *accumulator) launch(chosen []int) {
	f := &flight{}
	for _, i := range chosen {
		f.batch = append(f.batch, a.pending[i])
	}
	a.drop(func(e *entry) bool { return slices.Contains(f.batch, e) })
	for _, e := range f.batch {
		if a.fifo {
			a.busy[e.group] = true
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.limit)
	f.cancel = cancel
	a.flights[f] = true
	a.hand(func() {
		defer cancel()
		a.run(ctx, f)
	})
}

// drop removes pending messages. a.mu is held.
func (a *accumulator) drop(which func(*entry) bool) {
	pending, since := a.pending[:0], a.since[:0]
	for i, e := range a.pending {
		if !which(e) {
			pending, since = append(pending, e), append(since, a.since[i])
		}
	}
	clear(a.pending[len(pending):])
	a.pending, a.since = pending, since
}

// run makes the request of f.
func (a *accumulator) run(ctx context.Context, f *flight) {
	sent := a.begin(f)
	var results []result
	whole := false
	if len(sent) > 0 {
		results, whole = a.fly(ctx, sent)
	}
	a.land(f, sent, results, whole)
}

// begin asks each job's claim and returns the messages that may still be sent.
// A claim that was lost, or whose Redis does not answer, is no others' concern.
func (a *accumulator) begin(f *flight) []*entry {
	verdicts := map[*delivery]error{}
	for _, e := range f.batch {
		if _, asked := verdicts[e.of]; !asked {
			verdicts[e.of] = e.of.begin()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var sent []*entry
	for _, e := range f.batch {
		switch err := verdicts[e.of]; {
		case err != nil:
			e.of.settle(e, result{failed: notBegun(err)})
			a.hold(e.of, notBegun(err))
		case !e.of.gone:
			sent = append(sent, e)
		}
	}
	return sent
}

// land gives the messages of f their results and lets others go.
func (a *accumulator) land(f *flight, sent []*entry, results []result, whole bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.flights, f)
	for _, e := range f.batch {
		delete(a.busy, e.group)
	}
	if whole && len(sent) > 1 && results[0].failed.verdict.Reason == actions.Payload {
		a.separate(sent)
		a.kick()
		return
	}
	for i, e := range sent {
		r := results[i]
		e.of.settle(e, r)
		switch {
		case r.failed == nil:
			a.proven, a.refusal = true, nil
		case r.failed.refused():
			a.refuse(r.failed)
		case !r.failed.dead():
			a.hold(e.of, heldBack(r.failed))
		}
	}
	a.kick()
}

// separate sends messages again, each in a request of its own, because a
// request was refused as a whole, by the fault of one of them.
func (a *accumulator) separate(batch []*entry) {
	times := make([]time.Time, len(batch)) // zero: their time has come
	for _, e := range batch {
		e.alone = true
	}
	a.pending = append(slices.Clone(batch), a.pending...)
	a.since = append(times, a.since...)
	a.drop(func(e *entry) bool { return e.of.gone })
}

// hold gives the job's messages that still wait the failure of one before them:
// the job will be tried again anyway, and sending on would put messages of a
// group out of order, and make duplicates in a standard queue.
func (a *accumulator) hold(d *delivery, f *failure) {
	a.drop(func(e *entry) bool {
		if e.of != d {
			return false
		}
		d.settle(e, result{failed: f})
		return true
	})
}

// refuse remembers that the credential is refused and tells all who wait.
func (a *accumulator) refuse(f *failure) {
	a.refusal, a.until, a.proven = f, time.Now().Add(refusalMemory), false
	a.drop(func(e *entry) bool {
		e.of.settle(e, result{failed: f})
		return true
	})
}

// forgive forgets a refusal.
func (a *accumulator) forgive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusal = nil
}

// abandon ends the wait of d, whose context has ended. Its messages that have
// not left are dropped. A request that nobody waits for any more is cut off.
func (a *accumulator) abandon(d *delivery, cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(func(e *entry) bool {
		if e.of != d {
			return false
		}
		d.settle(e, result{failed: abandoned(cause, false)})
		return true
	})
	for f := range a.flights {
		for _, e := range f.batch {
			if e.of == d {
				d.settle(e, result{failed: abandoned(cause, true)})
			}
		}
	}
	d.gone = true
	for f := range a.flights {
		if !slices.ContainsFunc(f.batch, func(e *entry) bool { return !e.of.gone }) {
			f.cancel()
		}
	}
}

// idle reports whether nothing has been sent since then and nothing waits.
func (a *accumulator) idle(since time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.pending) == 0 && len(a.flights) == 0 && !a.starting && a.used.Before(since)
}
