package queuetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

var checkRules = []rule{
	{"a queue at work has nothing to find", ruleCheckClean},
	{"a check finds what was lost and changes nothing", ruleCheckFinds},
	{"a repair brings every job back and a second one finds nothing", ruleCheckMends},
	{"a check of many jobs goes on page by page and can be stopped", ruleCheckPages},
	{"an id whose job is lost without a trace is told and kept", ruleCheckIDs},
}

func (r *rig) check(repair bool) queue.Report {
	r.t.Helper()
	report, err := queue.Check(r.ctx, r.rdb, queue.CheckOptions{Prefix: r.prefix, Repair: repair})
	if err != nil {
		r.t.Fatalf("Check: %v", err)
	}
	return report
}

func ruleCheckClean(t *testing.T, r *rig) {
	r.graves()
	r.enqueue(`"not_before":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`)
	for range 20 {
		r.enqueueMany(10)
		if report := r.check(true); len(report.Findings) > 0 || report.Looked == 0 {
			t.Fatalf("got %+v", report)
		}
	}
}

// wreck loses a part of the data in every way that fsck knows.
func (r *rig) wreck() (jobs []string) {
	r.t.Helper()
	do := func(args ...any) {
		r.t.Helper()
		args[1] = r.base + args[1].(string)
		if err := r.rdb.Do(r.ctx, args...).Err(); err != nil && !errors.Is(err, redis.Nil) {
			r.t.Fatalf("%v: %v", args, err)
		}
	}
	stray := r.enqueue(`"id":"stray"`)
	r.claim("gone")
	if err := r.rdb.XGroupDelConsumer(r.ctx, r.base+"jobs", "w", "gone").Err(); err != nil {
		r.t.Fatal(err)
	}
	do("HSET", "body", "5-1", `{"j":"5-1","n":1,"e":5}`+"\n"+string(Job()))
	do("ZADD", "dead", 1, "1-1")
	do("HSET", "parks", "nobody:1", 1)
	do("HSET", "moved", "2-1", "3-1")
	do("HSET", "cancel", "2-2", 1)
	do("HSET", "mark", "2-3", "x")
	do("HSET", "body", "4-1", `{"j":"4-1","n":1,"e":4,"s":"lost","v":1}`+"\n"+string(Job(`"id":"unlisted"`)))
	do("ZADD", "parked:lost:1", 4, "4-1")
	return []string{stray, "q0-5-1"}
}

var wrecked = []string{"stray", "no-place", "body-lost", "parks-left", "moved-left", "cancel-left", "mark-left", "unlisted"}

func ruleCheckFinds(t *testing.T, r *rig) {
	r.wreck()
	for range 2 {
		report := r.check(false)
		for _, word := range wrecked {
			if got := report.Found[word]; got.Found != 1 || got.Mended != 0 {
				t.Errorf("%s: got %+v, want it found once", word, got)
			}
		}
		if len(report.Found) != len(wrecked) || report.Left() != int64(len(wrecked)) {
			t.Errorf("got %v", report)
		}
		for _, f := range report.Findings {
			if f.Text == "" {
				t.Errorf("%s says nothing", f.Word)
			}
		}
	}
}

func ruleCheckMends(t *testing.T, r *rig) {
	ids := r.wreck()
	if report := r.check(true); report.Left() != 0 || len(report.Findings) != len(wrecked) {
		t.Errorf("got %+v", report)
	}
	if report := r.check(true); len(report.Findings) != 0 {
		t.Errorf("a second time: got %v", report)
	}
	h, _ := r.run(nil)
	r.all(ids, queue.Done)
	if n, err := r.client.ReleaseParked(r.ctx, "lost", 1); err != nil || n != 1 {
		t.Errorf("the parked job: released %d, %v", n, err)
	}
	Eventually(t, "the parked job is done", func() bool { return h.Count("unlisted") == 1 })
	Eventually(t, "nothing is left", func() bool { n, err := r.rdb.XLen(r.ctx, r.base+"jobs").Result(); return err == nil && n == 0 })
	r.nothingLeft()
}

func ruleCheckPages(t *testing.T, r *rig) {
	r.enqueueMany(350)
	if err := r.rdb.XGroupCreateMkStream(r.ctx, r.base+"jobs", "w", "$").Err(); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stopped")
	pages := 0
	o := queue.CheckOptions{Prefix: r.prefix, Repair: true, Looked: func(int64) error {
		if pages++; pages == 2 {
			return stop
		}
		return nil
	}}
	report, err := queue.Check(r.ctx, r.rdb, o)
	if !errors.Is(err, stop) || report.Found["stray"].Mended != 200 {
		t.Errorf("got %+v, %v, want two pages", report.Found, err)
	}
	if report := r.check(true); report.Found["stray"].Found != 150 {
		t.Errorf("then: got %+v", report.Found)
	}
	if report := r.check(false); report.Left() != 0 {
		t.Errorf("at last: got %v", report)
	}
}

// ruleCheckIDs: ids of jobs in every place, and of those that ended with a record, are
// no findings.
func ruleCheckIDs(t *testing.T, r *rig) {
	r.enqueue(`"id":"waits","not_before":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`)
	_, stop := r.run(func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		if c.Job.ID == "refused" {
			return queue.Reply{}, queue.Permanent(errors.New("no"))
		}
		return queue.Reply{Stage: "done"}, nil
	})
	r.becomes(r.enqueue(`"id":"ended"`), queue.Done)
	r.becomes(r.enqueue(`"id":"refused"`), queue.Dead)
	if n, err := r.client.RemoveDead(r.ctx, "refused"); err != nil || n != 1 {
		t.Fatalf("RemoveDead: %d, %v", n, err)
	}
	stop()
	r.enqueue(`"id":"killer"`)
	r.ghost(queue.MaxCrashes) // who left no record
	r.run(nil)
	if s := r.becomes("killer", queue.Dead); len(s.Attempts) != 0 || s.Reason != "poison" {
		t.Errorf("a job that took its workers along: got %+v, want no attempt", s)
	}
	if n, err := r.client.RemoveDead(r.ctx, "killer"); err != nil || n != 1 {
		t.Fatalf("RemoveDead: %d, %v", n, err)
	}
	if report := r.check(true); len(report.Findings) > 0 {
		t.Fatalf("got %+v", report.Findings)
	}
	now := time.Now()
	for id, value := range map[string]string{
		"ghost": fmt.Sprintf("%d-0 %d", now.UnixMilli(), now.UnixMilli()),
		"old":   fmt.Sprintf("5-0 %d", now.Add(-queue.DefaultLogRetention-time.Minute).UnixMilli()),
		"mine":  "somebody else's",
	} {
		if err := r.rdb.Set(r.ctx, r.base+"dedup:"+id, value, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		report := r.check(true)
		got := map[string]string{}
		for _, f := range report.Findings {
			got[f.ID] = f.Word
		}
		if len(got) != 2 || got["ghost"] != "dedup-lost" || got["mine"] != "unreadable" || report.Left() != 2 {
			t.Errorf("got %v, want the id of a lost job and one that is not ours, both left as they are", report.Findings)
		}
	}
	if report, err := queue.Check(r.ctx, r.rdb, queue.CheckOptions{Prefix: r.prefix, LogRetention: -1}); err != nil || len(report.Findings) > 0 {
		t.Errorf("without a log: got %+v, %v, want no finding: nothing can be known", report.Findings, err)
	}
}
