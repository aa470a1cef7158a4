// Package actions says what a job can do: the list of action types, how a
// job's "action" object is decoded into work, and the reasons by which every
// sender classifies what the other side answered.
//
// Adding a type is a folder below this one (its Params, its client or pool,
// its replies.go) and one line in builtin.
package actions

import (
	"context"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Action is one type of thing that a job can do. Actions hold connections and
// are shared by all jobs; their methods may be called at the same time.
type Action interface {
	// Kind is the type's name in a job, such as "email-smtp". It never changes.
	Kind() string
	// Prepare decodes and checks the job's action strictly and does no I/O. A
	// bad action gives a [queue.Permanent] error that names the field.
	Prepare(job *queue.Job) (queue.Work, error)
	// Close ends the connections that the action keeps. No Do is running then.
	Close() error
}

// Reach is a [queue.Work] that says what it will touch, as Do will touch it. A
// token with scopes may only send work that says so.
type Reach interface {
	// SecretRefs are the ids or keys of all secrets that it uses; nil if none.
	SecretRefs() []string
	// Recipients are the addresses it sends mail to, with domains in lower case
	// and ASCII; nil if it sends none.
	Recipients() []string
	// Actions are the ids of the stored actions that it may start, whose secrets
	// and recipients are theirs; nil if none.
	Actions() []string
}

// Refused says why no login with this version of a secret may be tried, because
// another process was refused; "" if one may. A sender that keeps connections
// asks before each new one.
type Refused func(ctx context.Context, ref secrets.Ref) string

// Tester is an Action that can try a secret without sending anything.
type Tester interface {
	// SecretType is the type of secrets that Test takes.
	SecretType() secrets.Type
	// Test opens the secret by the way production takes, connects and
	// authenticates, and sends nothing. It reports each step.
	Test(ctx context.Context, ref secrets.Ref) []Step
}

// Prober is an Action that can try a secret of type text, which itself does not
// say whose key it is, without sending anything.
type Prober interface {
	// Probe is as Test of [Tester].
	Probe(ctx context.Context, ref secrets.Ref) []Step
}

// Step is one step of a test: "dial", "starttls", "certificate", "auth"...
// The first step whose OK is false is the last one.
type Step struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty"` // scrubbed; says what to do when not OK
}
