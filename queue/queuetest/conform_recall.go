package queuetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

var recallRules = []rule{
	{"a lane that does well again gets what it had handed back, and nothing else", ruleRecall},
}

// In a lane of one slot of which nothing is known, jobs come back a second after each other.
func ruleRecall(t *testing.T, r *rig) {
	const backlog = 200
	cfg := r.config()
	cfg.Slots, cfg.LaneSlots = 32, 1
	cfg.Backoff = func(int) time.Duration { return time.Hour }
	release := make(chan struct{})
	h := &Handler{Do: func(_ context.Context, c *queue.Claim) (queue.Reply, error) {
		if strings.Contains(string(c.Job.Action), "wrong") {
			return queue.Reply{Stage: "x"}, errors.New(`"w":"stalled"`)
		}
		<-release
		return queue.Reply{}, nil
	}}
	failed := r.lane("wrong")
	receipts, err := r.client.Enqueue(r.ctx, []byte(`{"action":{"type":"test","lane":"stalled"},"not_before":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`))
	if err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	later := receipts[0].ID
	var other, stalled []string
	for range 3 {
		other = append(other, r.lane("other"))
	}
	for range backlog {
		stalled = append(stalled, r.lane("stalled"))
	}
	Run(t, cfg, h)
	Eventually(t, "the lane hands back", func() bool { return r.rdb.ZCard(r.ctx, r.base+"due").Val() > backlog-20 })
	close(release)
	// Without a recall the last would come after half a minute.
	Eventually(t, "the backlog comes back", func() bool {
		return r.rdb.ZCard(r.ctx, r.base+"due").Val() <= 2 && r.rdb.XLen(r.ctx, r.base+"jobs").Val() == 0
	})
	for _, id := range append(other, stalled...) {
		if s := r.becomes(id, queue.Done); h.Count(id) != 1 || s.Used != 1 || len(s.Attempts) != 1 {
			t.Errorf("got %d calls and %+v, want 1", h.Count(id), s)
		}
	}
	for _, id := range []string{failed, later} {
		if state := r.state(id); state != queue.Delayed {
			t.Errorf("a job that waits for something else is %s, want delayed", state)
		}
	}
}
