package twilio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/provider"
	"github.com/sealpost/sealpost/queue"
)

// result is what became of one recipient.
type result struct {
	verdict provider.Verdict
	tried   bool // in this attempt
}

// partID names a recipient of a job: its place, and enough of a hash to tell when
// the list of a stored action has changed meanwhile.
func partID(index int, to string) string {
	sum := sha256.Sum256([]byte(to))
	return fmt.Sprintf("%d-%s", index+1, hex.EncodeToString(sum[:5]))
}

// deliver sends the message to all who are not settled yet.
func (a *Action) deliver(ctx context.Context, c *queue.Claim, p *plan, in *login) (queue.Reply, error) {
	if words := in.check(); words != "" {
		return provider.Judge(replies, actions.Answer{Stage: "secret", Status: statusSecret}, "", words).Outcome(a.kind, in.token.Ref)
	}
	if v, ok := provider.Refused(a.refusals.Last(in.key())); ok {
		return a.judged(v, in)
	}
	results := settled(c.Parts, p.to)
	var stop *provider.Verdict
	for i := range p.to {
		// A recipient of whom no answer comes must not hold up the same others in
		// each attempt: the next one begins one further.
		n := (i + c.Attempt - 1) % len(p.to)
		r := &results[n]
		switch {
		case !r.tried:
			continue // settled before
		case stop != nil:
			r.verdict, r.tried = stop.Unsent("not sent after this: "+stop.Text), false
			continue
		}
		r.verdict = a.exchange(ctx, c, p, in, p.to[n])
		if ends(r.verdict) || ctx.Err() != nil {
			stop = &r.verdict
		}
	}
	if stop != nil && stop.Reason == actions.Credential {
		a.refusals.Note(in.key(), &provider.Failure{Kind: a.kind, Verdict: *stop})
	}
	return a.outcome(p, in, results)
}

// settled returns a result for each recipient: of those whom earlier attempts
// settled theirs, the others are to be tried.
func settled(parts []queue.Part, to []string) []result {
	byID := map[string]queue.Part{}
	for _, p := range parts {
		byID[p.ID] = p
	}
	results := make([]result, len(to))
	for i := range to {
		p, ok := byID[partID(i, to[i])]
		switch {
		case !ok:
			results[i].tried = true
		case p.State == queue.PartAccepted:
			results[i].verdict = provider.Verdict{Accepted: true}
		default:
			results[i].verdict = provider.Judge(replies, actions.Answer{Stage: "send", Status: statusBefore}, p.Code, p.Text)
		}
	}
	return results
}

// ends says that the others would fare no better: what came is about the account
// or the line and not about the recipient.
func ends(v provider.Verdict) bool {
	switch v.Reason {
	case actions.Credential, actions.Throttled, actions.Policy, actions.Config:
		return !v.Accepted
	}
	return v.Cause != nil || !v.Accepted && v.Code == "" // no answer at all
}

// judged is the outcome of a verdict. What refuses a login does not say whether the
// token or the SID is wrong.
func (a *Action) judged(v provider.Verdict, in *login) (queue.Reply, error) {
	reply, err := v.Outcome(a.kind, in.token.Ref)
	return reply, actions.Beside(err, in.sid.Ref)
}

// outcome is what came of all recipients together.
func (a *Action) outcome(p *plan, in *login, results []result) (queue.Reply, error) {
	var worst *provider.Verdict
	accepted, unknown := 0, false
	for i := range results {
		v := &results[i].verdict
		if v.Accepted {
			accepted++
			continue
		}
		unknown = unknown || v.Reason == actions.Ambiguous
		if worst == nil || v.Weight() > worst.Weight() {
			worst = v
		}
	}
	parts := partsOf(p, results)
	if worst == nil {
		reply, err := success(results).Outcome(a.kind, in.token.Ref)
		reply.Parts = parts
		return reply, err
	}
	v := *worst
	if len(results) > 1 {
		v.Text = fmt.Sprintf("%d of %d recipients have it; of the others: %s", accepted, len(results), v.Text)
	}
	reply, err := a.judged(v, in)
	if unknown {
		reply.Certainty = queue.Unknown
	}
	reply.Parts = parts
	return reply, err
}

// success is the verdict of messages that Twilio has.
func success(results []result) provider.Verdict {
	first := provider.Verdict{Accepted: true, Stage: "done", Code: "201", Text: "accepted before"}
	for i := range results {
		if results[i].tried {
			first = results[i].verdict
			break
		}
	}
	if n := len(results); n > 1 {
		first.Text = fmt.Sprintf("%d messages, the first: %s", n, first.Text)
	}
	return first
}

// partsOf says which recipients of several were settled in this attempt.
func partsOf(p *plan, results []result) []queue.Part {
	if len(results) == 1 {
		return nil
	}
	var parts []queue.Part
	for i, r := range results {
		part := queue.Part{ID: partID(i, p.to[i]), State: queue.PartAccepted}
		switch {
		case !r.tried:
			continue
		case !r.verdict.Accepted && !refused(r.verdict):
			continue
		case !r.verdict.Accepted:
			part.State, part.Code, part.Text = queue.PartRefused, r.verdict.Code, r.verdict.Text
		}
		parts = append(parts, part)
	}
	return parts
}

// refused says that this recipient will never get the message.
func refused(v provider.Verdict) bool {
	return v.Reason == actions.Recipient || v.Reason == actions.Payload
}
