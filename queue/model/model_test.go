package model

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var long = flag.Bool("model.long", false, "search the large instances too: minutes and some GB")

// instances are what is searched each time. Together they have every kind of
// step; each is small enough that all its states are visited.
var instances = []struct {
	name string
	cfg  Config
}{
	{"two workers and one failover, anything else may fail once", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2, Faults: 1, Failover: true, Wait: true}},
	{"a producer without an id", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2, Faults: 2, NoID: 1}},
	{"a delayed job, scripts may stop half-way", Config{Jobs: 1, Parts: 2, Workers: 2, Tries: 2, Faults: 1, Aborts: true, Later: 1}},
	{"a refused login", Config{Jobs: 1, Parts: 2, Workers: 2, Tries: 2, Faults: 1, Aborts: true, Secret: true}},
	{"operators", Config{Jobs: 1, Parts: 2, Workers: 2, Tries: 2, Faults: 1, People: true}},
	{"a job that follows a dead letter", Config{Jobs: 2, Parts: 2, Workers: 1, Tries: 2, Faults: 1, Aborts: true, Follow: true}},
	{"two producers", Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 2, Faults: 1}},
}

func TestNothingIsLostAndEachDuplicateHasACause(t *testing.T) {
	for _, i := range instances {
		t.Run(i.name, func(t *testing.T) {
			r := Search(i.cfg)
			if t.Log(r); r.Wrong != "" {
				t.Error("it does not hold")
			}
			if r.States < 1000 {
				t.Errorf("only %d states: the instance has lost its steps", r.States)
			}
		})
	}
}

func TestTheQueueComesToRest(t *testing.T) {
	for _, i := range instances {
		t.Run(i.name, func(t *testing.T) {
			i.cfg.Aborts = false // copies that a script left may chase each other for ever
			i.cfg.Faults = 1     // with two, a producer without an id makes more copies than the machine has
			if r := Ends(i.cfg); r.Wrong != "" {
				t.Error(r)
			}
		})
	}
}

// seeded are mistakes with the smallest instance that shows them, and a part of
// what the search says then.
var seeded = []struct {
	mistake Mistake
	cfg     Config
	says    string
}{
	{AckBeforeSend, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2}, "lost"},
	{BareDelconsumer, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Faults: 1}, "nobody will ever get"},
	{DedupBeforeJob, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Faults: 1, Aborts: true}, "lost"},
	{Trim, Config{Jobs: 2, Parts: 1, Workers: 1, Tries: 2}, "lost"},
	{GroupAtEnd, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2}, "nobody will ever get"},
	{RemoveBeforeAdd, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Faults: 1, Aborts: true}, "lost"},
	{StealBack, Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2, Faults: 1}, "have a cause"},
	{LateFailure, Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2, Faults: 1}, "is in 2 places"},
	{TakeWithoutIdle, Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2}, "have a cause"},
	{LateSuccessRefused, Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2, Faults: 1}, "although its success was recorded"},
	{ForgetParts, Config{Jobs: 1, Parts: 2, Workers: 1, Tries: 2, People: true}, "without a part that was recorded as accepted"},
	{FollowLast, Config{Jobs: 2, Parts: 1, Workers: 1, Tries: 2, Faults: 1, Aborts: true, Follow: true}, "follows it is not there"},
	{ToldWithoutWait, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Failover: true, Wait: true}, "lost"},
	{AckBeforeDelete, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Faults: 2, Aborts: true}, "nobody will ever get"},
	{FirstEntryLeft, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Failover: true, Wait: true}, "although its success was recorded"},
	{DuplicateNoWait, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Faults: 1, Failover: true, Wait: true}, "lost"},
}

func TestEveryMistakeIsFound(t *testing.T) {
	found := map[Mistake]bool{}
	for _, s := range seeded {
		t.Run(s.mistake.String(), func(t *testing.T) {
			found[s.mistake] = true
			if r := Search(s.cfg); r.Wrong != "" {
				t.Fatalf("without the mistake: %v", r)
			}
			s.cfg.Mistake = s.mistake
			r := Search(s.cfg)
			if t.Log(r); !strings.Contains(r.Wrong, s.says) || len(r.Path) == 0 {
				t.Errorf("got %q after %d steps, want one that says %q", r.Wrong, len(r.Path), s.says)
			}
		})
	}
	for m := None + 1; int(m) < len(mistakes); m++ {
		if !found[m] {
			t.Errorf("no instance shows the mistake %q", m)
		}
	}
}

func TestWithoutWaitAFailoverLosesWhatWasAccepted(t *testing.T) {
	r := Search(Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Failover: true})
	if !strings.Contains(r.Wrong, "lost") {
		t.Errorf("got %v, want a loss: level memory promises no more", r)
	}
	last := r.Path[len(r.Path)-1]
	if !strings.Contains(last, "failover") {
		t.Errorf("it is lost by %q", last)
	}
}

func TestCodesAreReversible(t *testing.T) {
	c := Config{Jobs: 2, Parts: 2, Workers: 2, Tries: 2, Faults: 2, Aborts: true, Failover: true, Secret: true, People: true, Most: 20000}
	_, seen := c.search()
	for i := range seen.len() {
		s := decode(seen.code(i))
		if got := codeOf(s, nil); string(got) != string(seen.code(i)) {
			t.Fatalf("state %d: got code %x, want %x", i, got, seen.code(i))
		}
	}
}

func TestLargeInstances(t *testing.T) {
	if !*long {
		t.Skip("minutes and some GB: make model")
	}
	for _, c := range []Config{
		{Jobs: 1, Parts: 2, Workers: 2, Tries: 2, Faults: 1, Failover: true, Wait: true, People: true, Secret: true},
		{Jobs: 3, Parts: 1, Workers: 2, Tries: 1, Failover: true, Wait: true},
		{Jobs: 2, Parts: 1, Workers: 2, Tries: 1, Faults: 1, Failover: true, Wait: true},
	} {
		start := time.Now()
		r := Search(c)
		t.Logf("%v in %v: %+v", r, time.Since(start).Round(time.Second), c)
		if r.Wrong != "" || r.Cut {
			t.Error("it does not hold, or was cut off")
		}
	}
}
