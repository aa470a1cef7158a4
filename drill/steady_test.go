package drill

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sealpost/sealpost/faultline"
	"github.com/sealpost/sealpost/queue"
)

func TestTimesAreOfAllCases(t *testing.T) {
	var all []time.Duration
	for i := range 101 {
		all = append(all, time.Duration(100-i)*time.Second)
	}
	if diff := cmp.Diff(&Times{Count: 101, P50: 50, P99: 99, Max: 100}, timesOf(all)); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
	if got := timesOf(nil); got != nil {
		t.Errorf("times of nothing are %v, want none", got)
	}
}

// soaked is a soak of an hour, a sample each 10 s, with noise and a growth by hour.
func soaked(rss, fds, goroutines float64) *Soak {
	random := rand.New(rand.NewPCG(1, 2))
	var all []sample
	for at := time.Duration(0); at < time.Hour; at += sampleEach {
		h := at.Hours()
		all = append(all, sample{time.Unix(1_000_000, 0).Add(at), (60 + rss*h + 6*random.NormFloat64()) * mib, 100 * mib,
			40 + fds*h + 4*random.NormFloat64(), 500 + goroutines*h + 20*random.NormFloat64()})
	}
	return soakOf(all, time.Hour)
}

func TestASoakMissesWhatGrows(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		rss, fds, goroutines float64
		want                 string // a part of the only miss, "" for none
	}{
		{"noise alone", 0, 0, 0, ""},
		{"memory that falls", -20, 0, 0, ""},
		{"memory", 20, 0, 0, "memory"},
		{"descriptors", 0, 15, 0, "descriptors"},
		{"goroutines", 0, 0, 120, "goroutines"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := soaked(tt.rss, tt.fds, tt.goroutines).missed()
			if tt.want == "" && len(got) > 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)) {
				t.Errorf("missed %q, want one with %q", got, tt.want)
			}
		})
	}
	if got := soakOf(nil, time.Hour).missed(); len(got) == 0 {
		t.Error("a soak without samples missed nothing")
	}
}

func TestASoakFindsTheSlope(t *testing.T) {
	got := soaked(10, 0, 0).RSS
	if diff := cmp.Diff(10.0, got.PerHour, cmpopts.EquateApprox(0, 4*got.Error)); diff != "" || got.Error > 4 {
		t.Errorf("slope %.2f ± %.2f MiB/h, want about 10", got.PerHour, got.Error)
	}
}

// The first mail after an outage is one whose attempt began after it.
func TestMailsAfterAnOutageComeInOrder(t *testing.T) {
	l := newLedger()
	for _, m := range []struct {
		job int
		at  float64
	}{{3, 12}, {1, 11}, {2, 9}, {4, 19}} {
		a := arrival(m.at, "a", false)
		a.From = senderOf(m.job)
		l.arrived(a)
	}
	var jobs []int
	for _, a := range l.after(at(10)) {
		jobs = append(jobs, a.job)
	}
	if !slices.Equal(jobs, []int{1, 3}) {
		t.Errorf("mails of jobs %v, want 1 and 3", jobs)
	}
}

func TestTakeOversRunFromTheLastKill(t *testing.T) {
	l := newLedger()
	for _, m := range []struct {
		job int
		at  float64
	}{{1, 9.9}, {1, 16}, {2, 18}, {3, 9.8}} {
		a := arrival(m.at, "a", false)
		a.From = senderOf(m.job)
		l.arrived(a)
	}
	l.held(holding{at(10), at(10), []int{1, 2, 3}}) // 3 had been sent, and recorded just before
	l.held(holding{at(12), at(12), []int{2}})       // the one that took over was killed too
	got := l.takeOvers()
	slices.Sort(got)
	if diff := cmp.Diff([]time.Duration{6 * time.Second, 6 * time.Second}, got); diff != "" {
		t.Errorf("take-overs (-want +got):\n%s", diff)
	}
}

func TestALineThatCutIsACauseOnlyWithoutAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		answered float64
		cut      float64
		want     string
	}{
		{"the client heard nothing after the mail", 9.9, 10.3, causeLine},
		{"the client was answered", 10.01, 10.3, causeNothing},
		{"an earlier connection of that port", 1, 2, causeNothing},
		{"the cut came later than any answer takes", 9.9, 30, causeNothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			l.accept(7)
			l.arrived(arrival(10, "a", false))
			l.arrived(arrival(40, "b", false))
			l.lineEnds([]faultline.Event{{At: at(tt.cut), Kind: faultline.Cut, Server: "a", Answered: at(tt.answered)}})
			s := queue.Status{Attempts: []queue.Attempt{{At: at(40), Certainty: queue.Accepted}}}
			if diff := cmp.Diff([]string{tt.want}, l.causes(7, s, lease)); diff != "" {
				t.Errorf("causes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatWasNotSeenIsMissed: a run in which nothing came shows nothing.
func TestWhatWasNotSeenIsMissed(t *testing.T) {
	r := &run{Config: Config{Quiet: true, Judge: true}, ledger: newLedger()}
	var result Result
	if err := r.judge(t.Context(), &result); err != nil || len(result.Missed) != 1 {
		t.Errorf("no take-over was seen: got %q, %v, want one miss", result.Missed, err)
	}
	began := time.Unix(1_000_000, 0)
	r = &run{Config: Config{Outages: true, Judge: true, For: time.Minute}, ledger: newLedger(), began: began,
		back: []time.Time{began.Add(10 * time.Second), began.Add(time.Minute)}} // at the second nothing is sent any more
	result = Result{}
	if err := r.judge(t.Context(), &result); err != nil || len(result.Missed) != 1 || result.FirstJob == nil || result.FirstJob.Count != 1 {
		t.Errorf("no mail after a return: got %q, %+v, %v, want one miss", result.Missed, result.FirstJob, err)
	}
}
