// Package queue carries jobs from those who ask to those who do, at least once.
//
// A job is JSON in a Redis Stream. Every job is in exactly one place at a
// time (ready, running, delayed, parked, dead) and every move between places is one
// Lua script that writes the new place before it removes the old one, so that
// a crash at any point loses nothing. DESIGN.md has the state machine; keys.go
// every key; scripts/ every move.
//
// Producers use a [Client]; a process that works runs a [Pool] with a [Handler].
package queue

import (
	"context"
	"encoding/json"
	"time"
)

// Limits of a job, from the public contract. A job over one of them is
// refused by Enqueue and, if it came straight to Redis, becomes a dead letter.
const (
	MaxJobBytes = 256 << 10 // bytes of JSON, the whole job
	MaxJobDepth = 32        // levels of JSON nesting
	MaxBatch    = 1000      // jobs in one Enqueue
	MaxIDLength = 128       // characters of [A-Za-z0-9_.:-]
)

// DedupWindow is how long a producer's id stands for the same job.
const DedupWindow = 24 * time.Hour

// Job is one request to do an action, decoded once from its JSON, whose bytes it shares:
// nobody may change them.
type Job struct {
	// JID is ours, unique in its partition and the same over all attempts: the
	// stream entry id of the job's first place, such as "1732366294123-0".
	JID string
	// ID is what users see: the producer's id, or else "q<partition>-<JID>".
	ID string

	Action      json.RawMessage // the inline action object; nil when ActionID is set
	ActionID    string          // 24 hex: a stored action
	Locked      bool            // of the stored action; set by who has read it
	Data        json.RawMessage // array of datum objects, or nil
	NotBefore   time.Time       // zero: at once
	ExpiresAt   time.Time       // zero: never
	MaxAttempts int             // 0: the default of the process
	OnAmbiguous string          // "resend" (also "") or "park"
	Traceparent string          // W3C Trace Context, or ""
}

// State is where a job is.
type State string

// The states of a job. Ready to Dead are places; the last three are ends.
const (
	Ready     State = "ready"     // waits in the stream
	Running   State = "running"   // claimed by a worker
	Delayed   State = "delayed"   // waits for a time: a retry, a hand-back, not_before
	Parked    State = "parked"    // waits for a credential to change
	Dead      State = "dead"      // given up; kept until a person decides
	Done      State = "done"      // the other side accepted it
	Cancelled State = "cancelled" // taken back before it was done
	Expired   State = "expired"   // expires_at passed before it was done
)

// Certainty says what is known of the other side after an attempt.
type Certainty string

// Certainties of an attempt.
const (
	Accepted Certainty = "accepted" // the other side has it
	Rejected Certainty = "rejected" // the other side surely does not have it
	Unknown  Certainty = "unknown"  // the line broke when it may have had it
)

// Reply is what came of one attempt: what the sender saw and which rule of its
// table judged it. It never holds a secret value, a recipient or a URL: Text
// is scrubbed by the sender and at most 200 characters.
type Reply struct {
	Secret        string    // id of the secret used, "" if none
	SecretVersion int64     // 0 if none was opened
	Stage         string    // how far it came: "params", "secret", "dial", "tls", "auth", "mail", "rcpt", "data", "dot", "send", "done"
	Code          string    // the provider's code: "250", "535 5.7.8", "RequestThrottled"
	Text          string    // the provider's words or the message id, scrubbed
	Rule          string    // the row that classified it, "" when accepted
	Reason        string    // one of actions.Reason as text, "" when accepted
	Certainty     Certainty // "" counts as Rejected

	// Parts are the pieces of the job that ended for good in this attempt,
	// whatever became of the rest. The queue keeps them with the job.
	Parts []Part
	// OnDead is a job that becomes ready in the same step by which this attempt
	// makes its job a dead letter; it is dropped if the attempt does not. With an
	// "id" that a job had within [DedupWindow] it is that job. At most MaxJobBytes.
	OnDead json.RawMessage
}

// Work is a job that has been decoded and checked and can be done.
type Work interface {
	// Kind is the action's type, such as "email-smtp": a metric label.
	Kind() string
	// Lane names the destination (kind and secret). Jobs of one lane share its
	// slots; see lanes.go. It must not be empty.
	Lane() string
	// Do makes one attempt. The type of its error is the outcome (outcome.go).
	// It must return soon after ctx ends.
	Do(ctx context.Context, c *Claim) (Reply, error)
}

// Limited is a [Work] with a limit of attempts of its own.
type Limited interface {
	// MaxAttempts is the limit for a job that names none; 0 means the process'.
	MaxAttempts() int
}

// Handler turns a job into work. Prepare does no I/O and may be called from
// several goroutines. Its error is an outcome too, usually [Permanent]: a bad
// job is dead at once.
type Handler interface {
	Prepare(job *Job) (Work, error)
}

// Claim is a job in the hands of this worker, for one attempt.
type Claim struct {
	Job       *Job
	Attempt   int // this try, from 1; hand-backs and crashes do not count
	Handbacks int // times the job was handed back without an attempt
	Crashes   int // times a worker lost the job while it held it
	// Parts are the pieces of the job that ended for good in earlier attempts.
	// The accepted ones must not be done again.
	Parts []Part
	// Limit is what the destination is known to bear; see pace.go.
	Limit Limit

	holder beginner // nil: Begin does nothing
}

// beginner is who knows whether a claim still holds: the claim of a pool, or a test.
type beginner interface {
	beginStep(ctx context.Context) error
}

// beginFunc is a beginner made of a function.
type beginFunc func(ctx context.Context) error

func (f beginFunc) beginStep(ctx context.Context) error { return f(ctx) }

// NewClaim returns a claim on job for tests of handlers. begin may be nil.
func NewClaim(job *Job, attempt int, begin func(context.Context) error) *Claim {
	c := &Claim{Job: job, Attempt: attempt}
	if begin != nil {
		c.holder = beginFunc(begin)
	}
	return c
}

// Begin is called by a sender right before a step that cannot be taken back,
// and returns [ErrLeaseLost] when another worker may have the job by now; the
// sender then stops and returns that error. It costs nothing while the claim
// is younger than a third of the lease, and one round trip after that.
func (c *Claim) Begin(ctx context.Context) error {
	if c.holder == nil {
		return nil
	}
	return c.holder.beginStep(ctx)
}
