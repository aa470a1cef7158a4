// Package sqs does jobs of kind "queue-sqs": it puts a job's data into an
// Amazon SQS queue, one message for each datum, or one text.
//
// Messages of many jobs share requests: one accumulator for each version of a
// secret gathers up to 10 of them (accumulator.go). What the service answers is
// judged by a table (replies.go), for the whole request or for each message.
//
// Delivery is at least once. Messages of a FIFO queue carry a deduplication id
// made of the job and the message's place in it, so that a repeated attempt
// within SQS' window of five minutes adds nothing. A standard queue knows
// no such thing: when an attempt ends without an answer, messages can come
// twice. Of a job of several messages those that were accepted are parts that
// the queue keeps; a later attempt sends the others only. Messages carry the attributes "sealpost-job-id" and "sealpost-job-part",
// which together name a message, for consumers that want to tell.
package sqs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Kind is the action's type in jobs.
const Kind = "queue-sqs"

// Vault is what the action needs of the secret store.
type Vault interface {
	// Lookup returns the current version of the secret with this id or key.
	Lookup(ctx context.Context, ref string) (secrets.Ref, error)
	// OpenSQS opens the secret, in a newer version if there is one by now.
	OpenSQS(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.SQS, error)
}

// Config is what an [Action] is made of.
type Config struct {
	Vault  Vault
	Guard  *netguard.Guard // nil: public addresses only
	Worker string          // name of this process, for the audit stream
	Logger *slog.Logger    // nil: no log

	// Timeout is how long one request may take, connecting included. 0 means
	// [DefaultTimeout].
	Timeout time.Duration
}

// DefaultTimeout of a request: SQS answers in milliseconds, and a request that
// was lost should not hold the messages behind it for long.
const DefaultTimeout = 15 * time.Second

// Action does jobs of kind "queue-sqs". Use [New].
type Action struct {
	config Config

	mu       sync.Mutex
	accounts map[string]*account // by the secret's id; its newest version

	refusals *actions.Refusals // of credentials that came with requests
}

// New returns an action. It connects to nothing yet.
func New(config Config) *Action {
	if config.Timeout <= 0 {
		config.Timeout = DefaultTimeout
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Action{config: config, accounts: map[string]*account{}, refusals: actions.NewRefusals(actions.DirectRefusal)}
}

// Kind returns "queue-sqs".
func (a *Action) Kind() string { return Kind }

// SecretType returns the type of secrets that the action uses.
func (a *Action) SecretType() secrets.Type { return secrets.TypeSQS }

// Close ends all kept connections. No Do is running then.
func (a *Action) Close() error {
	a.mu.Lock()
	accounts := a.accounts
	a.accounts = map[string]*account{}
	a.mu.Unlock()
	for _, acc := range accounts {
		acc.close()
	}
	return nil
}

// Prepare decodes and checks a job; see [Params].
func (a *Action) Prepare(job *queue.Job) (queue.Work, error) {
	p, err := decode(job)
	if err != nil {
		return nil, err
	}
	return &work{action: a, plan: p}, nil
}

// work is one checked job.
type work struct {
	action *Action
	plan   *plan
}

// Kind returns the action's kind.
func (w *work) Kind() string { return Kind }

// Lane is kind and secret: jobs for one queue share its slots.
func (w *work) Lane() string { return Kind + "/" + w.plan.secret }

// SecretRefs returns the id or key of the secret that the job names.
func (w *work) SecretRefs() []string { return []string{w.plan.secret} }

// Actions returns nil: it starts none.
func (w *work) Actions() []string { return nil }

// Recipients returns nil: a queue is named by its secret.
func (w *work) Recipients() []string { return nil }

// Do sends the job's messages once.
func (w *work) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	vault := w.action.config.Vault
	ref, err := vault.Lookup(ctx, w.plan.secret)
	if err == nil && ref.Type != secrets.TypeSQS {
		err = secrets.ErrWrongType
	}
	if err != nil {
		return actions.SecretError(w.plan.secret, secrets.TypeSQS, err)
	}
	use := secrets.Use{Actor: "worker " + w.action.config.Worker, Why: "job " + c.Job.ID}
	acc, err := w.action.account(ctx, ref, use)
	if f, ok := errors.AsType[*failure](err); ok {
		return f.outcome(ref)
	}
	if err != nil {
		return actions.SecretError(w.plan.secret, secrets.TypeSQS, err)
	}
	d := newDelivery(ctx, c, w.plan, acc.fifo)
	w.send(ctx, acc, d)
	return d.outcome(acc.ref)
}

// Resending within an attempt. The queue owns retries, but it keeps no record of
// which messages of a job were accepted: after a partial failure it would
// send them all again. So the few that surely were not taken get a
// second and third chance here, while we still know which they are.
const (
	maxResends  = 2
	resendDelay = 200 * time.Millisecond // doubles; a throttled queue refills each second
)

// send hands over the messages, and those again that were refused for the
// moment while others of the job were accepted.
func (w *work) send(ctx context.Context, acc *account, d *delivery) {
	entries := d.entries
	if len(entries) == 0 { // all were accepted by an attempt that nobody heard of
		return
	}
	for resend := 0; ; resend++ {
		acc.add(d, entries)
		select {
		case <-d.done:
		case <-ctx.Done():
			acc.abandon(d, context.Cause(ctx))
			return
		}
		entries = d.again()
		if len(entries) == 0 || resend == maxResends {
			return
		}
		select {
		case <-time.After(resendDelay << resend):
		case <-ctx.Done():
			return // the results stand
		}
		d.reset(entries)
	}
}
