package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/sealpost/sealpost/actions/sqs"
	"github.com/sealpost/sealpost/integration/peers"
)

// wholeSQS is a job in Redis that becomes a message in SQS: a stub that only counts,
// so that it costs little beside what is measured, or fauxqs.
type wholeSQS struct{ fauxqs bool }

func (k wholeSQS) name() string {
	if k.fauxqs {
		return "whole-fauxqs"
	}
	return "whole-sqs"
}

func (k wholeSQS) slots() []int {
	if k.fauxqs {
		return []int{50}
	}
	return []int{50, 200}
}

// sink starts the SQS. why says why it cannot be.
func (k wholeSQS) sink(ctx context.Context, w *world) (p *process, q *sqsQueue, why string, err error) {
	r := request{Op: "start", Dir: w.dir}
	side := "sqs-sink"
	if k.fauxqs {
		side = "fauxqs"
		if r.Cache, err = filepath.Abs(filepath.Join(w.cache, "fauxqs")); err != nil {
			return nil, nil, "", fmt.Errorf("find the cache: %w", err)
		}
		if err := peers.InstallFauxqs(ctx, r.Cache); err != nil {
			return nil, nil, err.Error(), nil
		}
	}
	if p, err = w.goSide(side); err != nil {
		return nil, nil, "", err
	}
	a, err := p.call(ctx, r)
	return p, a.SQS, "", err
}

func (k wholeSQS) open(ctx context.Context, w *world) ([]side, error) {
	sink, to, why, err := k.sink(ctx, w)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return []side{{name: k.ours(50), skip: why}, {name: k.peer(50), skip: why}}, nil
	}
	var job map[string]any
	if err := json.Unmarshal([]byte(payload), &job); err != nil {
		return nil, fmt.Errorf("decode the payload: %w", err)
	}
	job["action"] = map[string]string{"type": sqs.Kind, "sqs_secret": "QUEUE"}
	var sides []side
	for _, n := range w.sizes(k.slots()) {
		s, err := w.install("QUEUE", map[string]any{
			"aws_region": to.Region, "queue_url": to.URL, "endpoint": to.Endpoint,
			"access_key_id": to.ID, "secret_access_key": to.Key,
		}, fmt.Sprintf("SEALPOST_SLOTS=%d", n), fmt.Sprintf("SEALPOST_LANE_SLOTS=%d", n))
		if err != nil {
			return nil, err
		}
		sides = append(sides, side{name: k.ours(n), turn: s.whole(sink, encoded(job), w.some(20_000))})
		p, err := w.goSide("asynq")
		if err != nil {
			return nil, err
		}
		r := request{Op: "messages", Redis: w.redis.Addr, SQS: to, Concurrency: n, Jobs: w.some(5000), Payload: payload}
		sides = append(sides, side{name: k.peer(n), turn: w.queued(p, sink, r)})
	}
	return sides, nil
}

func (wholeSQS) ours(n int) string { return fmt.Sprintf("sealpost serve at %d", n) }
func (wholeSQS) peer(n int) string { return fmt.Sprintf("asynq + SendMessage at %d", n) }

func (k wholeSQS) rows(r results) []row {
	var rows []row
	for _, n := range k.slots() {
		if r.of[k.ours(n)] == nil {
			continue // a short run
		}
		what, is := fmt.Sprintf("job in Redis to message in SQS, %d slots", n), goal{is: 5}
		if k.fauxqs {
			what, is = fmt.Sprintf("job in Redis to message in fauxqs, %d slots", n), goal{}
		}
		rows = append(rows, r.compare(what, rate, k.ours(n), k.peer(n), is))
	}
	return rows
}
