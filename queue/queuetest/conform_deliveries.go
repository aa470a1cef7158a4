package queuetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

var deliveryRules = []rule{
	{"the log tells every attempt, page by page, each once", ruleDeliveryPages},
	{"the log is asked by job, secret, kind, outcome, reason and time", ruleDeliveryFilter},
}

func (r *rig) deliveries(f queue.DeliveryFilter) (all []queue.Delivery, pages int) {
	r.t.Helper()
	for {
		page, err := r.client.Deliveries(r.ctx, f)
		if err != nil {
			r.t.Fatalf("Deliveries: %v", err)
		}
		if f.Limit > 0 && len(page.Deliveries) > f.Limit {
			r.t.Errorf("got %d in a page, want at most %d", len(page.Deliveries), f.Limit)
		}
		all = append(all, page.Deliveries...)
		if pages++; page.Cursor == "" {
			return all, pages
		}
		f.Cursor = page.Cursor
	}
}

func ruleDeliveryPages(t *testing.T, r *rig) {
	do := failTimes(30, errors.New("451 try later"))
	r.run(func(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
		reply, err := do(ctx, c)
		reply.Code = "451" // an answer: a lane that is silent would be left alone
		return reply, err
	})
	ids := r.enqueueMany(200)
	r.all(ids, queue.Done)
	all, pages := r.deliveries(queue.DeliveryFilter{Limit: 7})
	seen := map[string]int{}
	for _, d := range all {
		seen[d.Job+"/"+d.At.String()+"/"+string(rune('0'+d.Number))]++
	}
	if len(all) != 230 || len(seen) != len(all) || pages < 230/7 {
		t.Errorf("got %d attempts, %d of them once, in %d pages; want 230", len(all), len(seen), pages)
	}
	if page, err := r.client.Deliveries(r.ctx, queue.DeliveryFilter{}); err != nil || page.Retention != queue.DefaultLogRetention.Seconds() {
		t.Errorf("got %v, %v, want the retention", page.Retention, err)
	}
	for _, cursor := range []string{"x", "1-2-3", "1-0-2-0-0", "1-0-x-0-0", "2--1-1-0-0", "1-0-1-0--1"} {
		if _, err := r.client.Deliveries(r.ctx, queue.DeliveryFilter{Cursor: cursor}); !errors.Is(err, queue.ErrCursor) {
			t.Errorf("cursor %s: got %v", cursor, err)
		}
	}
}

func ruleDeliveryFilter(t *testing.T, r *rig) {
	big, policy, parked := r.graves()
	now := time.Now()
	for _, tt := range []struct {
		name string
		f    queue.DeliveryFilter
		want int
	}{
		{"all", queue.DeliveryFilter{}, 5},
		{"job", queue.DeliveryFilter{Job: big[0]}, 1},
		{"job and reason", queue.DeliveryFilter{Job: big[0], Reason: "policy"}, 0},
		{"secret", queue.DeliveryFilter{Secret: gateCredential.Secret}, 5},
		{"other secret", queue.DeliveryFilter{Secret: "ffff56789abcdef012345678"}, 0},
		{"kind", queue.DeliveryFilter{Kind: "test"}, 5},
		{"other kind", queue.DeliveryFilter{Kind: "other"}, 0},
		{"destination", queue.DeliveryFilter{Lane: "lane"}, 5},
		{"other destination", queue.DeliveryFilter{Lane: "elsewhere"}, 0},
		{"certainty that nothing had", queue.DeliveryFilter{Certainty: queue.Accepted}, 0},
		{"outcome", queue.DeliveryFilter{Outcome: queue.Parked}, 1},
		{"reason", queue.DeliveryFilter{Reason: "payload"}, 3},
		{"from", queue.DeliveryFilter{From: now.Add(-time.Minute)}, 5},
		{"from later", queue.DeliveryFilter{From: now.Add(time.Minute)}, 0},
		{"to", queue.DeliveryFilter{To: now.Add(time.Minute)}, 5},
		{"to before", queue.DeliveryFilter{To: now.Add(-time.Minute)}, 0},
	} {
		if got, _ := r.deliveries(tt.f); len(got) != tt.want {
			t.Errorf("%s: got %+v, want %d", tt.name, got, tt.want)
		}
	}
	got, _ := r.deliveries(queue.DeliveryFilter{Reason: "policy"})
	if len(got) != 1 || got[0].Job != policy[0] || got[0].State != queue.Dead || got[0].Code != "550 5.7.1" || len(parked) != 1 {
		t.Errorf("got %+v", got)
	}
	if _, err := r.client.Deliveries(r.ctx, queue.DeliveryFilter{Job: "nobody"}); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("an unknown job: got %v", err)
	}
}
