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

// guarded are instances in which a job may be turned away for as long as nothing
// changes: there is a way to an end, and not each way ends.
var guarded = []struct {
	name string
	cfg  Config
}{
	{"a refused credential and a newer version", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 1, Faults: 1, Secret: true, Gate: true}},
	{"a refused credential that works again", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 1, Faults: 1, Gate: true}},
	{"two jobs with a refused credential", Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 1, Gate: true}},
	{"a refused credential in a partition of before", Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Gate: true, Partitions: true}},
	{"a destination that does not answer", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2, Faults: 1, Aborts: true, Lane: true}},
	{"two partitions and one again", Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Faults: 1, Aborts: true, Partitions: true}},
	{"two processes with other numbers of partitions", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 1, Partitions: true}},
	{"suspects", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 1, Faults: 3, Losses: 3, Suspicion: 2}},
	{"losses and a failover", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 1, Faults: 1, Failover: true, Wait: true, Losses: 3, Suspicion: 1}},
	{"a job that kills its process, with the numbers of queue/suspect.go", killer},
}

var killer = Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 1, Losses: 5, Suspicion: 2, Loner: 3, Killer: true}

func TestNothingIsLostAndEachDuplicateHasACause(t *testing.T) {
	for _, i := range append(instances, guarded...) {
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

func TestNoJobIsStuck(t *testing.T) {
	for _, i := range guarded {
		t.Run(i.name, func(t *testing.T) {
			i.cfg.Aborts = false // what a script left half done may be in no place
			if r := Resumes(i.cfg); r.Wrong != "" {
				t.Error(r)
			}
		})
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
	g := Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 2, Faults: 2, Gate: true, Partitions: true, Failover: true, Suspicion: 1, Losses: 3, Most: 20000}
	for _, c := range []Config{c, g, killer} {
		_, seen := c.search()
		for i := range seen.len() {
			s := decode(seen.code(i))
			if got := codeOf(s, nil); string(got) != string(seen.code(i)) {
				t.Fatalf("state %d: got code %x, want %x", i, got, seen.code(i))
			}
		}
	}
}

func TestLargeInstances(t *testing.T) {
	if !*long {
		t.Skip("minutes and some GB: make model")
	}
	for _, i := range []struct {
		name   string
		cfg    Config
		search func(Config) Result
	}{
		{"operators", Config{Jobs: 1, Parts: 2, Workers: 2, Tries: 2, Faults: 1, Failover: true, Wait: true, People: true, Secret: true}, Search},
		{"three jobs", Config{Jobs: 3, Parts: 1, Workers: 2, Tries: 1, Failover: true, Wait: true}, Search},
		{"two jobs", Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 1, Faults: 1, Failover: true, Wait: true}, Search},
		{"gate and two jobs", Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 1, Faults: 1, Gate: true}, Resumes},
		{"gate and failover", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 1, Secret: true, Failover: true, Wait: true, Gate: true}, Resumes},
		{"lane and failover", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 2, Faults: 1, Failover: true, Wait: true, Lane: true}, Resumes},
		{"partitions and failover", Config{Jobs: 1, Parts: 1, Workers: 2, Tries: 1, Failover: true, Wait: true, Partitions: true}, Resumes},
		{"suspects and two jobs", Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 1, Faults: 2, Losses: 3, Suspicion: 2}, Resumes},
	} {
		t.Run(i.name, func(t *testing.T) {
			start := time.Now()
			r := i.search(i.cfg)
			t.Logf("%v in %v: %+v", r, time.Since(start).Round(time.Second), i.cfg)
			if r.Wrong != "" || r.Cut {
				t.Error("it does not hold, or was cut off")
			}
		})
	}
}
