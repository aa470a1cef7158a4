package script

import (
	"errors"
	"slices"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Stages of an attempt, as in [queue.Reply].
const (
	stageAnalysis = "analysis" // finding it and opening its environment
	stageStart    = "start"
	stageRun      = "run"
	stageDone     = "done"
)

// result is what came of one analysis. It holds no value of a secret.
type result struct {
	id      string // of the analysis
	status  string // for the table; "" when it is done
	stage   string
	code    string // for people: "exit 3"
	text    string // for people, scrubbed
	unknown bool   // it may have done its work, or some of it
	cause   error  // for the queue to see: ErrLeaseLost and its like; nil otherwise
}

// Error is code and text.
func (r *result) Error() string {
	text := "script: analysis " + r.id + ": " + r.code
	if r.text != "" {
		text += ": " + r.text
	}
	return text
}

// Unwrap returns the cause that the queue looks for.
func (r *result) Unwrap() error { return r.cause }

func (r *result) done() bool { return r.status == "" }

// verdict is what the table says of a result that is not done.
func (r *result) verdict() actions.Verdict {
	v, _ := replies.Classify(actions.Answer{Stage: r.stage, Status: r.status}) // its last row matches all
	return v
}

// refused reports whether starting the analysis again cannot help.
func (r *result) refused() bool {
	if r.done() {
		return false
	}
	reason := r.verdict().Reason
	return reason == actions.Config || reason == actions.Payload
}

// part is the result as the job keeps it, if it has ended for good.
func (r *result) part() (queue.Part, bool) {
	p := queue.Part{ID: r.id, State: queue.PartAccepted, Code: r.code, Text: r.text}
	if r.refused() {
		p.State = queue.PartRefused
	}
	return p, r.done() || r.refused()
}

// outcome puts the results of an attempt together. What may still succeed
// decides first: the job is tried again for it. When nothing is left, an
// analysis that was refused, now or before, makes the job a dead letter.
func outcome(before []queue.Part, results []result) (queue.Reply, error) {
	var parts []queue.Part
	unknown := false
	for i := range results {
		if p, ended := results[i].part(); ended {
			parts = append(parts, p)
		}
		unknown = unknown || results[i].unknown
	}
	worst := worstOf(before, results)
	if worst == nil {
		return accepted(before, results, parts), nil
	}
	v := worst.verdict()
	reply := queue.Reply{
		Stage: worst.stage, Code: worst.code, Text: redact.Scrub(worst.text), Rule: v.Rule, Reason: string(v.Reason),
		Certainty: queue.Rejected, Parts: parts,
	}
	if unknown {
		reply.Certainty = queue.Unknown
	}
	return reply, actions.Outcome(v, "", 0, worst)
}

// worstOf returns the result that decides what becomes of the job, nil when
// everything is done.
func worstOf(before []queue.Part, results []result) *result {
	for _, matters := range []func(r *result) bool{
		func(r *result) bool { return errors.Is(r.cause, queue.ErrLeaseLost) },
		func(r *result) bool { return !r.done() && !r.refused() },
		(*result).refused,
	} {
		if i := slices.IndexFunc(results, func(r result) bool { return matters(&r) }); i >= 0 {
			return &results[i]
		}
	}
	i := slices.IndexFunc(before, func(p queue.Part) bool { return p.State == queue.PartRefused })
	if i < 0 {
		return nil
	}
	p := before[i]
	return &result{id: p.ID, status: p.Code, stage: stageAnalysis, code: p.Code, text: p.Text}
}

// accepted is the reply when everything is done.
func accepted(before []queue.Part, results []result, parts []queue.Part) queue.Reply {
	reply := queue.Reply{Stage: stageDone, Certainty: queue.Accepted, Parts: parts}
	all := append(slices.Clone(before), parts...)
	if n := len(all); n > 0 {
		reply.Code, reply.Text = all[n-1].Code, all[n-1].Text
	}
	if n := len(results); n > 0 {
		reply.Text = redact.Scrub(results[n-1].text)
	}
	return reply
}

// storeFailed is the result when the store could not say what the analysis is.
// The error's own text is for the store's people.
func storeFailed(id string, err error) result {
	for _, row := range []struct {
		is           error
		status, text string
	}{
		{ErrNoAnalysis, statusMissing, "no analysis has this id"},
		{ErrInactive, statusInactive, "the analysis is not active"},
		{secrets.ErrSealBroken, statusBroken, "a seal is broken"},
		{secrets.ErrSealed, statusStore, "the store is sealed: give the process the right master key"},
	} {
		if errors.Is(err, row.is) {
			return result{id: id, status: row.status, stage: stageAnalysis, code: row.status, text: row.text}
		}
	}
	return result{id: id, status: statusStore, stage: stageAnalysis, code: statusStore, text: "the store did not answer"}
}

// notTold is the result when a listener could not be told.
func notTold(id string, err error) result {
	switch {
	case errors.Is(err, ErrNobodyListens):
		return result{id: id, status: statusNobody, stage: stageStart, code: statusNobody, text: "nobody listens to this analysis"}
	case errors.Is(err, ErrPerhapsTaken):
		return result{id: id, status: statusPerhaps, stage: stageStart, code: statusPerhaps, text: "a listener may have the run, and did not say so", unknown: true}
	}
	return storeFailed(id, err)
}

// notBegun is the result when the claim could not be confirmed.
func notBegun(id string, err error) result {
	return result{id: id, status: statusClaim, stage: stageStart, code: statusClaim, cause: err,
		text: "the claim on the job could not be confirmed, so nothing was started"}
}

// notReached is the result when the attempt ended before the start.
func notReached(id string, cause error) result {
	return result{id: id, status: statusEnded, stage: stageStart, code: statusEnded, cause: cause, text: "the attempt ended before the script was started"}
}
