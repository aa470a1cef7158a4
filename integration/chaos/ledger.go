package chaos

import (
	"bytes"
	"net/mail"
	"strconv"
	"sync"

	"github.com/sealpost/sealpost/actions/sink"
)

// ledger is both sides of the account: which jobs were accepted, and which
// arrived how often. A job is known by its number, which is the subject of its
// mail. Any goroutine may use it.
type ledger struct {
	mu       sync.Mutex
	accepted map[int]bool
	arrivals map[int]int
	dead     map[int]bool
	strange  int // mails with no number for a subject
	sum      int // of all arrivals
}

func newLedger() *ledger {
	return &ledger{accepted: map[int]bool{}, arrivals: map[int]int{}, dead: map[int]bool{}}
}

// accept notes the jobs from first to last-1.
func (l *ledger) accept(first, last int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := first; n < last; n++ {
		l.accepted[n] = true
	}
}

// bury notes a job that was found among the dead letters.
func (l *ledger) bury(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead[n] = true
}

// arrived notes a mail at the sink.
func (l *ledger) arrived(m sink.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum++
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		l.strange++
		return
	}
	n, err := strconv.Atoi(parsed.Header.Get("Subject"))
	if err != nil {
		l.strange++
		return
	}
	l.arrivals[n]++
}

// total is how many mails have arrived, copies counted.
func (l *ledger) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sum
}

// missing is how many accepted jobs have not arrived.
func (l *ledger) missing() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for job := range l.accepted {
		if l.arrivals[job] == 0 {
			n++
		}
	}
	return n
}

// result compares the two sides.
func (l *ledger) result() Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Result{Accepted: len(l.accepted), Unknown: l.strange}
	for job := range l.accepted {
		switch {
		case l.arrivals[job] > 0: // counted below
		case l.dead[job]:
			r.Dead++
		default:
			r.Lost++
		}
	}
	for job, times := range l.arrivals {
		if !l.accepted[job] {
			r.Unknown++
			continue
		}
		r.Delivered++
		r.Duplicated += times - 1
	}
	return r
}
