package model

import (
	"strings"
	"testing"
)

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

	{ProbeForGood, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Faults: 1, Gate: true}, "stuck"},
	{ProbeForGood, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Faults: 1, Lane: true}, "stuck"},
	{ProbesForAll, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Gate: true}, "another may begin"},
	{AskErrorTries, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Faults: 1, Gate: true}, "another may begin"},
	{ParkUnchecked, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Secret: true}, "what it waits for has happened"},
	{ParkByOldRefusal, Config{Jobs: 2, Parts: 1, Workers: 2, Tries: 1, Gate: true}, "what it waits for has happened"},
	{SweepForgets, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Secret: true}, "stuck"},
	{GateForgotten, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Faults: 1, Gate: true}, "stuck"},
	{ProbeOwnPartitions, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Gate: true, Partitions: true}, "stuck"},
	{LeftCounts, killer, "lost"},
	{LonersTogether, killer, "by another's doing"},
	{SuspectsWait, killer, "by another's doing"},
	{BurialAfterAck, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Faults: 2, Aborts: true, Losses: 1, Suspicion: 1}, "lost"},
	{ShrunkUnread, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Partitions: true}, "nobody will read"},
	{HighestLater, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 1, Partitions: true}, "nobody will read"},
	{HandbackCounts, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Lane: true}, "counts 1 attempts and had 0"},
	{RemoveBeforeAdd, Config{Jobs: 1, Parts: 1, Workers: 1, Tries: 2, Faults: 1, Aborts: true, Lane: true}, "lost"},
}

func TestEveryMistakeIsFound(t *testing.T) {
	found := map[Mistake]bool{}
	for _, s := range seeded {
		t.Run(s.mistake.String(), func(t *testing.T) {
			found[s.mistake] = true
			search := Search
			if s.says == "stuck" {
				search = Resumes
			}
			if r := search(s.cfg); r.Wrong != "" {
				t.Fatalf("without the mistake: %v", r)
			}
			s.cfg.Mistake = s.mistake
			r := search(s.cfg)
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
