package drill

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

// at is a moment of a run.
func at(seconds float64) time.Time {
	return time.Unix(1_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func arrival(seconds float64, remote string, spoilt bool) sink.Message {
	return sink.Message{At: at(seconds), From: senderOf(7), Remote: remote, Spoilt: spoilt}
}

func TestEachDuplicateNeedsEvidence(t *testing.T) {
	accepted := queue.Attempt{At: at(20), DurationMS: 100, Certainty: queue.Accepted}
	for _, tt := range []struct {
		name string
		mail sink.Message
		with func(*ledger)
		job  queue.Status
		want string
	}{
		{"the sink's own log", arrival(10, "a", true), nil, queue.Status{}, causeReply},
		{"its connection ended with a killed worker", arrival(10, "a", false), func(l *ledger) {
			l.killed(false, at(10.4), at(10.5))
			l.ended("a", at(10.45))
		}, queue.Status{Crashes: 1}, causeWorker},
		{"a worker was killed, but the connection went on", arrival(10, "a", false), func(l *ledger) {
			l.killed(false, at(10.4), at(10.5))
			l.ended("a", at(12))
		}, queue.Status{}, causeNothing},
		{"the connection that ended was an earlier one", arrival(10, "a", false), func(l *ledger) {
			l.ended("a", at(5))
			l.killed(false, at(4.9), at(5.1))
		}, queue.Status{}, causeNothing},
		{"redis was killed while the record was on its way", arrival(10, "a", false), func(l *ledger) {
			l.killed(true, at(9.9), at(10.2))
		}, queue.Status{Crashes: 1}, causeRedis},
		{"redis was killed, but no claim was lost", arrival(10, "a", false), func(l *ledger) {
			l.killed(true, at(9.9), at(10.2))
		}, queue.Status{}, causeNothing},
		{"redis was there for long enough to take the record", arrival(17, "a", false), func(l *ledger) {
			l.killed(true, at(16), at(16.2))
		}, queue.Status{Crashes: 1}, causeNothing},
		{"a worker held it when it was killed", arrival(10, "a", false), func(l *ledger) {
			l.held(holding{at(10.2), at(10.3), []int{6, 7}})
		}, queue.Status{Crashes: 1}, causeWorker},
		{"a worker that was killed held others", arrival(10, "a", false), func(l *ledger) {
			l.held(holding{at(10.2), at(10.3), []int{6, 8}})
		}, queue.Status{}, causeNothing},
		{"redis was killed long before", arrival(10, "a", false), func(l *ledger) {
			l.killed(true, at(2), at(2.2))
		}, queue.Status{}, causeNothing},
		{"the queue counts a lost lease", arrival(10, "a", false), nil, queue.Status{Crashes: 1}, causeLease},
		{"the queue counts a lost lease, but too little time has passed", arrival(17, "a", false), nil, queue.Status{Crashes: 1}, causeNothing},
		{"the sink read the rest of a dead worker's line late", arrival(10, "a", false), func(l *ledger) {
			l.killed(false, at(9.4), at(9.5))
			l.ended("a", at(10.1))
		}, queue.Status{Crashes: 1}, causeWorker},
		{"the connection had other mails after it", arrival(17, "a", false), func(l *ledger) {
			l.killed(false, at(16.4), at(16.5))
			l.ended("a", at(17.1))
			l.arrived(sink.Message{At: at(17.05), From: senderOf(8), Remote: "a"})
		}, queue.Status{Crashes: 1}, causeNothing},
		{"nothing at all", arrival(10, "a", false), nil, queue.Status{}, causeNothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			l.accept(7)
			l.arrived(tt.mail)
			l.arrived(arrival(20.05, "b", false))
			if tt.with != nil {
				tt.with(l)
			}
			tt.job.Attempts = []queue.Attempt{accepted}
			if diff := cmp.Diff([]string{tt.want}, l.causes(7, tt.job, lease)); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
		})
	}
}

// An attempt that was recorded as accepted is no duplicate's excuse: a kill near
// it does not explain why it was sent again.
func TestARecordedAttemptIsNotExplainedByAKill(t *testing.T) {
	l := newLedger()
	l.accept(7)
	l.arrived(arrival(10, "a", false))
	l.arrived(arrival(20, "b", false))
	l.killed(false, at(10.4), at(10.5))
	l.ended("a", at(10.45))
	records := []queue.Attempt{{At: at(9.9), DurationMS: 200, Certainty: queue.Accepted}, {At: at(20), Certainty: queue.Accepted}}
	if diff := cmp.Diff([]string{causeNothing}, l.causes(7, queue.Status{Attempts: records}, lease)); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

func TestTheLedgerTellsLossFromRepetition(t *testing.T) {
	l := newLedger()
	l.ask(6, at(0))
	for job := range 5 {
		l.accept(job)
	}
	l.bury(4)
	for _, from := range []string{senderOf(0), senderOf(1), senderOf(1), senderOf(5), senderOf(9), "x@drill.test"} {
		l.arrived(sink.Message{From: from})
	}
	if diff := cmp.Diff([]int{2, 3}, l.missing()); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{1}, l.repeated()); diff != "" {
		t.Errorf("repeated (-want +got):\n%s", diff)
	}
	var got Result
	l.count(&got)
	// Job 5 was asked for and arrived, so it was accepted; 9 and x are nobody's.
	want := Result{Accepted: 1, Delivered: 3, Dead: 1, Unexplained: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("count (-want +got):\n%s", diff)
	}
	if got.Err() == nil || (Result{Lost: 1}).Err() == nil {
		t.Error("a mail of nobody or a lost job is no error")
	}
	if err := (Result{Accepted: 4, Delivered: 4, Duplicated: 2}).Err(); err != nil {
		t.Errorf("duplicates with a cause got %v, want no error: at least once is what was promised", err)
	}
}

func TestFaultsFollowFromTheSeed(t *testing.T) {
	const jobs = 20_000
	a, b, other := newMischief(1), newMischief(1), newMischief(2)
	hit, differ := map[string]int{}, 0
	for job := range jobs {
		k, ok := a.of(job)
		if again, _ := b.of(job); again != k {
			t.Fatalf("job %d got %q and then %q by one seed", job, k.name, again.name)
		}
		if o, _ := other.of(job); o != k {
			differ++
		}
		if ok {
			hit[k.name]++
		}
	}
	sum := 0
	for _, n := range hit {
		sum += n
	}
	if sum < jobs*28/100 || sum > jobs*32/100 || differ < jobs/10 {
		t.Errorf("%d of %d jobs have a fault, %d another one by another seed; want 30 %% and many", sum, jobs, differ)
	}
	if len(hit) != len(kinds()) || len(hit) < 12 {
		t.Errorf("%d kinds of faults, want all %d, 12 at least: %v", len(hit), len(kinds()), hit)
	}
}
