package drill

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sealpost/sealpost/queue"
)

// account compares both sides of the ledger, and asks the queue about each job
// that did not arrive, or arrived again.
func (r *run) account(ctx context.Context) (Result, error) {
	if r.server != nil && !r.server.proc.running() { // stopped between a kill and a start
		if err := r.server.start(); err != nil {
			return Result{}, err
		}
	}
	if err := r.buried(ctx); err != nil {
		return Result{}, err
	}
	if line := r.lines[workerMail]; line != nil {
		r.ledger.lineEnds(line.Events())
	}
	p := r.ledger.progress()
	result := Result{Causes: map[string]int{}, Faults: r.mischief.counts(), LineFaults: r.lineFaults(), Accepted: p.Accepted, Kills: p.Kills,
		RedisKills: p.RedisKills, Refused: r.sink.Counts().Refusals, Parked: r.parked, Seed: r.Seed}
	r.ledger.count(&result)
	result.Restarts = len(r.drains)
	for _, job := range r.ledger.missing() {
		s, err := r.queue.Show(ctx, idOf(job))
		switch {
		case errors.Is(err, queue.ErrNotFound):
			result.Lost++
		case err != nil:
			return result, err
		case s.State == queue.Dead || s.State == queue.Ready || s.State == queue.Running || s.State == queue.Delayed || s.State == queue.Parked:
			result.Left++
		default:
			result.Lost++ // it counts as done, and nobody has it
		}
	}
	for _, job := range r.ledger.repeated() {
		s, err := r.queue.Show(ctx, idOf(job))
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			return result, err
		}
		for _, cause := range r.ledger.causes(job, s, lease) {
			result.Duplicated++
			result.Causes[cause]++
			if cause == causeNothing {
				result.Unexplained++
				result.Unknown = append(result.Unknown, r.ledger.facts(job, s))
			}
		}
	}
	return result, r.judge(ctx, &result)
}

// facts are what is known of a job whose duplicate has no cause.
func (l *ledger) facts(job int, s queue.Status) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	const clock = "15:04:05.000"
	var b strings.Builder
	fmt.Fprintf(&b, "job %d, %d crashes:", job, s.Crashes)
	for _, r := range l.arrivals[job] {
		fmt.Fprintf(&b, " mail %s from %s;", r.at.UTC().Format(clock), r.remote)
		for _, end := range l.ends[r.remote] {
			fmt.Fprintf(&b, " its end %s;", end.UTC().Format(clock))
		}
		for _, e := range l.cuts[r.remote] {
			fmt.Fprintf(&b, " %s %s, answered %s;", e.Kind, e.At.UTC().Format(clock), e.Answered.UTC().Format(clock))
		}
	}
	for _, a := range s.Attempts {
		fmt.Fprintf(&b, " attempt %s of %d ms, %s %s %s by %s;", a.At.UTC().Format(clock), a.DurationMS, a.Certainty, a.State, a.Reason, a.Worker)
	}
	return b.String()
}

// count fills in what the ledger alone knows.
func (l *ledger) count(result *Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	result.Unexplained = l.strange
	for job := range l.arrivals {
		if job < l.asked && !l.accepted[job] { // the run was stopped before the queue had answered
			l.accepted[job] = true
			result.Accepted++
		}
		if l.accepted[job] {
			result.Delivered++
		} else {
			result.Unexplained += len(l.arrivals[job])
		}
	}
	for job := range l.accepted {
		if l.dead[job] && len(l.arrivals[job]) == 0 {
			result.Dead++
		}
	}
}

// buried notes the jobs that ended as dead letters.
func (r *run) buried(ctx context.Context) error {
	for cursor := ""; ; {
		letters, next, err := r.queue.DeadList(ctx, queue.MaxBatch, cursor)
		if err != nil {
			return err
		}
		for _, letter := range letters {
			if strings.HasPrefix(letter.ID, hostilePrefix) {
				continue
			}
			job, ok := numberOf(letter.ID)
			if !ok {
				return fmt.Errorf("a dead letter of no job of this run: %s", letter.ID)
			}
			r.ledger.bury(job)
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}
