package main

import (
	"context"
	"fmt"
)

// levels are how many jobs are done at once.
func levels() []int { return []int{10, 50, 200} }

// few is how many jobs a peer gets that takes several times as long.
func (w *world) few() int { return max(w.jobs/8, 500) }

// drain empties a full queue of no-op jobs.
type drain struct{}

func (drain) name() string { return "drain" }

func (drain) open(ctx context.Context, w *world) ([]side, error) {
	var sides []side
	add := func(name string, p *process, at, jobs int) {
		sides = append(sides, side{name: name, turn: w.drained(p, at, jobs)})
	}
	few := w.few()
	for _, name := range []string{"raw", "sealpost", "asynq"} {
		at, jobs := w.sizes(levels()), w.jobs
		switch name {
		case "raw":
			at = []int{rawBatch}
		case "sealpost":
			at = append(at, w.sizes([]int{500})...) // its best on two cores; beyond it only takes memory
		case "asynq":
			jobs = few
		}
		for _, n := range at {
			p, err := w.goSide(name)
			if err != nil {
				return nil, err
			}
			add(fmt.Sprintf("%s at %d", name, n), p, n, jobs)
		}
	}
	for _, n := range w.sizes(levels()[1:]) {
		p, why, err := w.nodeSide(ctx, "bullmq.mjs")
		if err != nil {
			return nil, err
		}
		if why != "" {
			return append(sides, side{name: "bullmq", skip: why}), nil
		}
		add(fmt.Sprintf("bullmq at %d", n), p, n, few)
	}
	return sides, nil
}

// drained fills an empty Redis and drains it.
func (w *world) drained(p *process, concurrency, jobs int) func(context.Context) (figures, error) {
	return func(ctx context.Context) (figures, error) {
		if err := w.empty(ctx); err != nil {
			return nil, err
		}
		before, err := redisMemory(ctx, w.rdb)
		if err != nil {
			return nil, err
		}
		r := request{Op: "enqueue", Redis: w.redis.Addr, Jobs: jobs, Payload: payload}
		filled, err := p.call(ctx, r)
		if err != nil {
			return nil, err
		}
		after, err := redisMemory(ctx, w.rdb)
		if err != nil {
			return nil, err
		}
		r.Op, r.Concurrency = "drain", concurrency
		f, err := w.timed(ctx, p, r)
		if err != nil {
			return nil, err
		}
		f[enqueue], f[waiting] = float64(jobs)/filled.Seconds, (after-before)/float64(jobs)
		return f, nil
	}
}

// timed has a side do jobs, and measures it and Redis.
func (w *world) timed(ctx context.Context, p *process, r request) (figures, error) {
	before, err := redisCPU(ctx, w.rdb)
	if err != nil {
		return nil, err
	}
	a, err := p.call(ctx, r)
	if err != nil {
		return nil, err
	}
	after, err := redisCPU(ctx, w.rdb)
	if err != nil {
		return nil, err
	}
	n := float64(r.Jobs)
	return figures{rate: n / a.Seconds, client: a.CPU * 1e6 / n, server: (after - before) * 1e6 / n, memory: a.RSS}, nil
}

func (drain) rows(r results) []row {
	ours := r.best("sealpost")
	rows := []row{
		r.compare("drain of no-op jobs", rate, ours, "asynq", goal{is: 15}),
		r.compare("drain of no-op jobs", rate, ours, "bullmq", goal{is: 8}),
		r.compare("drain of no-op jobs", rate, ours, "raw", goal{is: 0.7}),
		r.compare("Redis CPU of a job, drain", server, ours, "asynq", goal{1. / 12, true}),
		r.compare("bytes in Redis of a waiting job", waiting, ours, "asynq", goal{0.45, true}),
	}
	for i := range rows[:3] {
		rows[i].Raw = r.of[r.best("raw")][rate]
	}
	return rows
}

// both enqueues in bulk and drains at once.
type both struct{}

func (both) name() string { return "both" }

func (both) open(ctx context.Context, w *world) ([]side, error) {
	const at = 200
	var sides []side
	for _, name := range []string{"sealpost", "asynq"} {
		p, err := w.goSide(name)
		if err != nil {
			return nil, err
		}
		jobs := w.jobs
		if name == "asynq" {
			jobs = w.few()
		}
		sides = append(sides, side{name: name, turn: w.fed(p, at, jobs)})
	}
	p, why, err := w.nodeSide(ctx, "bullmq.mjs")
	if err != nil {
		return nil, err
	}
	return append(sides, side{name: "bullmq", skip: why, turn: w.fed(p, at, w.few())}), nil
}

// fed has an empty queue filled and drained by one process.
func (w *world) fed(p *process, concurrency, jobs int) func(context.Context) (figures, error) {
	return func(ctx context.Context) (figures, error) {
		if err := w.empty(ctx); err != nil {
			return nil, err
		}
		return w.timed(ctx, p, request{Op: "both", Redis: w.redis.Addr, Jobs: jobs, Concurrency: concurrency, Payload: payload})
	}
}

func (both) rows(r results) []row {
	const what = "enqueue in bulk and drain at once"
	return []row{
		r.compare(what, rate, "sealpost", "asynq", goal{is: 10}),
		r.compare(what, rate, "sealpost", "bullmq", goal{is: 8}),
	}
}

// latency is the time from enqueue to start, at a steady 500 jobs a second. The
// producer is a process of its own.
type latency struct{}

func (latency) name() string { return "latency" }

// pacedRate is what performance goals speak of.
const pacedRate = 500 // jobs a second

func (latency) open(ctx context.Context, w *world) ([]side, error) {
	var ends [2]*process
	var err error
	for i := range ends {
		if ends[i], err = w.goSide("sealpost"); err != nil {
			return nil, err
		}
	}
	sides := []side{{name: "sealpost", turn: w.heard(ends)}}
	why := ""
	for i := range ends {
		if ends[i], why, err = w.nodeSide(ctx, "bullmq.mjs"); err != nil {
			return nil, err
		}
	}
	return append(sides, side{name: "bullmq", skip: why, turn: w.heard(ends)}), nil
}

// heard has one process send and the other listen.
func (w *world) heard(ends [2]*process) func(context.Context) (figures, error) {
	return func(ctx context.Context) (figures, error) {
		if err := w.empty(ctx); err != nil {
			return nil, err
		}
		r := request{
			Op: "listen", Redis: w.redis.Addr, Concurrency: 50, Payload: fmt.Sprintf(stamped, 0),
			Rate: pacedRate, Warm: w.some(2 * pacedRate), Jobs: w.some(5 * pacedRate), // 5 s
		}
		if _, err := ends[1].call(ctx, r); err != nil {
			return nil, err
		}
		r.Op = "pace"
		sent, err := ends[0].call(ctx, r)
		if err != nil {
			return nil, err
		}
		r.Op = "heard"
		a, err := ends[1].call(ctx, r)
		if err != nil {
			return nil, err
		}
		return figures{rate: float64(r.Warm+r.Jobs) / sent.Seconds, p50: a.P50, p99: a.P99, memory: a.RSS}, nil
	}
}

func (latency) rows(r results) []row {
	const what = "from enqueue to start, 500 jobs/s"
	half := r.compare(what, p50, "sealpost", "bullmq", goal{})
	half.Goal, half.Less, half.Met = 0.6, true, half.Value < 0.6 // ms, whatever the peer does
	return []row{r.compare(what, p99, "sealpost", "bullmq", goal{0.25, true}), half}
}
