// Package provider has what senders to the HTTP API of a provider share: how they
// open a key that is a text secret, and how they turn what was answered into the
// outcome of a job.
package provider

import (
	"context"
	"errors"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Vault is what such a sender needs of the secret store.
type Vault interface {
	// Lookup returns the current version of the secret with this id or key.
	Lookup(ctx context.Context, ref string) (secrets.Ref, error)
	// OpenText opens the secret, in a newer version if there is one by now.
	OpenText(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.Text, error)
}

// Open opens a secret of type text. The store would open any type: the login of
// a mail server must not go to somebody else as a key.
func Open(ctx context.Context, v Vault, ref string, use secrets.Use) (secrets.Text, error) {
	found, err := v.Lookup(ctx, ref)
	if err == nil && found.Type != secrets.TypeText {
		err = secrets.ErrWrongType
	}
	if err != nil {
		return secrets.Text{}, err
	}
	return v.OpenText(ctx, found, use)
}

// Verdict is what came of an exchange.
type Verdict struct {
	actions.Verdict
	Accepted bool
	Stage    string // as in [queue.Reply]
	Code     string // the provider's; "" when there was none
	Text     string // the provider's words or the id of what it took, scrubbed
	Cause    error  // for callers that look for it, such as queue.ErrLeaseLost; nil otherwise
}

// Judge classifies an answer by a table that ends with a row for everything.
// text is what people read, scrubbed.
func Judge(table actions.Table, a actions.Answer, code, text string) Verdict {
	v, ok := table.Classify(a)
	if !ok {
		v = actions.Verdict{Reason: actions.Payload, Rule: "unlisted"}
	}
	return Verdict{Verdict: v, Stage: a.Stage, Code: code, Text: text}
}

// Unsent is the verdict on what was not sent because what came before it failed
// with v: as v, but surely not taken.
func (v Verdict) Unsent(text string) Verdict {
	v.Text = text
	if v.Reason == actions.Ambiguous {
		v.Reason = actions.Transient
	}
	return v
}

// Dead reports whether no later attempt can do better.
func (v Verdict) Dead() bool {
	switch v.Reason {
	case actions.Payload, actions.Policy, actions.Config, actions.Recipient:
		return !v.Accepted
	}
	return false
}

// Weight orders verdicts of which a job has several: while any part of it can
// still be done by waiting or by a new credential, the job must not be dead for
// another's sake.
func (v Verdict) Weight() int {
	switch {
	case v.Accepted:
		return 0
	case errors.Is(v.Cause, queue.ErrLeaseLost): // whatever came before it, the job is another worker's
		return 6
	case v.Reason == actions.Credential:
		return 5
	case v.Reason == actions.Throttled:
		return 4
	case v.Reason == actions.Ambiguous:
		return 3
	case v.Dead():
		return 1
	}
	return 2
}

// Outcome is the reply and the error of a verdict. ref is the secret that a
// refusal is blamed on; the zero Ref for one that came with a request.
func (v Verdict) Outcome(kind string, ref secrets.Ref) (queue.Reply, error) {
	reply := queue.Reply{Secret: ref.ID, SecretVersion: ref.Version, Stage: v.Stage, Code: v.Code, Text: v.Text, Certainty: queue.Accepted}
	if v.Accepted {
		return reply, nil
	}
	reply.Certainty = queue.Rejected
	if errors.Is(v.Cause, queue.ErrLeaseLost) {
		return reply, queue.ErrLeaseLost
	}
	reply.Rule, reply.Reason = v.Rule, string(v.Reason)
	if v.Reason == actions.Ambiguous {
		reply.Certainty = queue.Unknown
	}
	return reply, actions.Outcome(v.Verdict, ref.ID, ref.Version, &Failure{Kind: kind, Verdict: v})
}

// Failure is the error of a verdict. It holds no secret value.
type Failure struct {
	Kind    string
	Verdict Verdict
}

// Error names the code and the provider's words, or the stage and ours.
func (f *Failure) Error() string {
	what := f.Kind + ": " + f.Verdict.Stage
	if f.Verdict.Code != "" {
		what = f.Kind + ": HTTP " + f.Verdict.Code
	}
	return strings.TrimSuffix(what+": "+f.Verdict.Text, ": ")
}

// Unwrap returns the cause that the queue looks for.
func (f *Failure) Unwrap() error { return f.Verdict.Cause }

// Refused returns the verdict in an error of [Verdict.Outcome] that blames the
// credential.
func Refused(err error) (Verdict, bool) {
	f, ok := errors.AsType[*Failure](err)
	if !ok || f.Verdict.Reason != actions.Credential {
		return Verdict{}, false
	}
	return f.Verdict, true
}
