package drill

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/faultline"
	"github.com/sealpost/sealpost/queue"
)

// Causes of a duplicate.
const (
	causeReply   = "reply lost: the mail server took it and cut the line or refused"
	causeLine    = "reply lost: the line was cut after the server took it"
	causeWorker  = "worker killed between the server's yes and its record"
	causeRedis   = "redis killed before the record was taken"
	causeLease   = "lease lost: another worker had the job by then"
	causeNothing = "unexplained"
)

// Times within which two clocks and two goroutines see one thing.
const (
	seenLate = 300 * time.Millisecond // the end of a connection after its process was killed
	// recordLate is how long after its return Redis may still lack a record: the
	// longest pause between two tries, with jitter, and the call.
	recordLate = 750 * time.Millisecond
	skew       = 750 * time.Millisecond // between a record's times (Redis' clock, as a worker knows it) and ours
)

// receipt is one arrival of a job's mail.
type receipt struct {
	at     time.Time
	remote string // of the connection
	spoilt bool   // the sink cut or refused after it took the mail
}

// span is when something was killed: from before the signal until it was gone.
type span struct{ from, to time.Time }

// near reports whether t is in the span, or up to late after it.
func (s span) near(t time.Time, late time.Duration) bool {
	return !t.Before(s.from) && !t.After(s.to.Add(late))
}

// ledger is both sides of the account, and what was done in between. Any
// goroutine may use it.
type ledger struct {
	mu       sync.Mutex
	asked    int         // jobs below it were sent, perhaps in vain
	sent     []time.Time // when each was first sent
	accepted map[int]bool
	arrivals map[int][]receipt
	dead     map[int]bool
	cuts     map[string][]faultline.Event // faults that ended a connection to the mail server, by its address there
	strange  int                          // mails of no job
	ends     map[string][]time.Time       // of connections, by the client's address
	last     map[string]time.Time         // mail of a connection
	workers  []span
	redis    []span
	holdings []holding // in the order of the kills
	total    int
}

func newLedger() *ledger {
	return &ledger{accepted: map[int]bool{}, arrivals: map[int][]receipt{}, dead: map[int]bool{}, ends: map[string][]time.Time{}, last: map[string]time.Time{}}
}

// ask notes that all jobs below last are being sent.
func (l *ledger) ask(last int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = last
	for len(l.sent) < last {
		l.sent = append(l.sent, at)
	}
}

// accept notes a job that the queue has taken.
func (l *ledger) accept(job int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[job] = true
}

// arrived notes a mail at the sink.
func (l *ledger) arrived(m sink.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	job, ok := jobOf(m.From)
	if !ok {
		l.strange++
		return
	}
	l.last[m.Remote] = m.At
	l.arrivals[job] = append(l.arrivals[job], receipt{m.At, m.Remote, m.Spoilt})
}

// ended notes the end of a connection.
func (l *ledger) ended(remote string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[remote] = append(l.ends[remote], at)
}

// lineEnds notes what the line to the mail server has cut.
func (l *ledger) lineEnds(events []faultline.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cuts = map[string][]faultline.Event{}
	for _, e := range events {
		l.cuts[e.Server] = append(l.cuts[e.Server], e)
	}
}

// bury notes a dead letter.
func (l *ledger) bury(job int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead[job] = true
}

// killed notes the kill of a worker, or of Redis.
func (l *ledger) killed(redis bool, from, to time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if redis {
		l.redis = append(l.redis, span{from, to})
	} else {
		l.workers = append(l.workers, span{from, to})
	}
}

// Progress is how far a run is.
type Progress struct {
	Accepted, Delivered int // jobs
	Arrivals            int // mails, copies counted
	Kills, RedisKills   int
	Seconds             float64
}

func (l *ledger) progress() Progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Progress{Accepted: len(l.accepted), Delivered: len(l.arrivals), Arrivals: l.total, Kills: len(l.workers), RedisKills: len(l.redis)}
}

// missing returns the accepted jobs that have neither arrived nor died, in order.
func (l *ledger) missing() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var jobs []int
	for job := range l.accepted {
		if len(l.arrivals[job]) == 0 && !l.dead[job] {
			jobs = append(jobs, job)
		}
	}
	slices.Sort(jobs)
	return jobs
}

// repeated returns the jobs that arrived more than once, in order.
func (l *ledger) repeated() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var jobs []int
	for job, list := range l.arrivals {
		if len(list) > 1 {
			jobs = append(jobs, job)
		}
	}
	slices.Sort(jobs)
	return jobs
}

// causes names why a job arrived again: one cause for each arrival but one. lease
// is how long a claim outlives its worker.
func (l *ledger) causes(job int, s queue.Status, lease time.Duration) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.arrivals[job])
	slices.SortFunc(list, func(a, b receipt) int { return a.at.Compare(b.at) })
	records := match(list, s.Attempts)
	free := one(list, records)
	var found []string
	for i, r := range list {
		if i != free {
			found = append(found, l.cause(job, r, records[i], s, lease, apart(list, i)))
		}
	}
	return found
}

// cause is the evidence why the arrival r was not the last word on its job.
func (l *ledger) cause(job int, r receipt, record *queue.Attempt, s queue.Status, lease, apart time.Duration) string {
	switch {
	case r.spoilt:
		return causeReply // by the sink's own log
	case (record == nil || record.Certainty != queue.Accepted) && l.cutOnTheWay(r):
		return causeLine // by the line's own log
	case record == nil && l.heldAtDeath(job, r, lease):
		return causeWorker // no record, and Redis itself says that a dead worker held it
	case record == nil && (l.endedByKill(r) || s.Crashes > 0 && l.cutOff(r, lease)):
		return causeWorker // no record, and the connection died with a worker
	case record == nil && s.Crashes > 0 && slices.ContainsFunc(l.redis, func(k span) bool {
		return k.near(r.at, recordLate) || k.from.After(r.at) && k.from.Sub(r.at) < seenLate
	}):
		return causeRedis // no record, a claim was lost, and Redis could not take the record then
	case s.Crashes > 0 && apart >= lease*2/3:
		return causeLease // the queue counts each claim that was taken from a worker, after its lease
	}
	return causeNothing
}

// cutOnTheWay reports whether the line cut the connection of r, and its client got
// nothing that the server said since r.
func (l *ledger) cutOnTheWay(r receipt) bool {
	// The server may read what was cut later; no fault of a line lasts longer.
	const before, after = 2 * time.Second, 5 * time.Second
	return slices.ContainsFunc(l.cuts[r.remote], func(e faultline.Event) bool {
		late := e.At.Sub(r.at)
		return e.Answered.Before(r.at) && late > -before && late < after
	})
}

// heldAtDeath reports whether r came before the kill of a worker that held the
// job when it died.
func (l *ledger) heldAtDeath(job int, r receipt, lease time.Duration) bool {
	return slices.ContainsFunc(l.holdings, func(h holding) bool {
		late := h.to.Sub(r.at)
		return late > -seenLate && late < 2*lease && slices.Contains(h.jobs, job)
	})
}

// endedByKill reports whether the connection of r ended when a worker was killed.
func (l *ledger) endedByKill(r receipt) bool {
	for _, end := range l.ends[r.remote] {
		if end.Before(r.at) {
			continue // of an earlier connection with the same port
		}
		return slices.ContainsFunc(l.workers, func(k span) bool { return k.near(end, seenLate) })
	}
	return false
}

// cutOff reports whether r was the last mail of its connection and a worker was
// killed around it or before its claim could be taken over. The sink reads what
// is left of a dead worker's line when it gets to it.
func (l *ledger) cutOff(r receipt, lease time.Duration) bool {
	if l.last[r.remote].After(r.at) {
		return false
	}
	return slices.ContainsFunc(l.workers, func(k span) bool {
		return k.to.After(r.at.Add(-time.Second)) && k.from.Before(r.at.Add(lease))
	})
}

// apart is the time between the i-th arrival and the nearest other one.
func apart(list []receipt, i int) time.Duration {
	nearest := time.Duration(1<<63 - 1)
	for j, r := range list {
		if j != i {
			nearest = min(nearest, r.at.Sub(list[i].at).Abs())
		}
	}
	return nearest
}

// match returns for each arrival the record of its attempt, nil for one whose
// attempt left no record. A record belongs to one arrival: the nearest.
func match(list []receipt, attempts []queue.Attempt) []*queue.Attempt {
	type pair struct {
		arrival, record int
		apart           time.Duration
	}
	var pairs []pair
	for i, r := range list {
		for j, a := range attempts {
			from, to := a.At, a.At.Add(time.Duration(a.DurationMS)*time.Millisecond)
			if apart := max(from.Sub(r.at), r.at.Sub(to), 0); apart <= skew && a.Certainty != queue.Rejected {
				pairs = append(pairs, pair{i, j, apart})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.apart, b.apart) })
	found := make([]*queue.Attempt, len(list))
	used := map[int]bool{}
	for _, p := range pairs {
		if found[p.arrival] == nil && !used[p.record] {
			found[p.arrival], used[p.record] = &attempts[p.record], true
		}
	}
	return found
}

// one picks the arrival that had to be: the last that was recorded as accepted,
// or else the last.
func one(list []receipt, records []*queue.Attempt) int {
	for i := len(list) - 1; i >= 0; i-- {
		if records[i] != nil && records[i].Certainty == queue.Accepted {
			return i
		}
	}
	return len(list) - 1
}
