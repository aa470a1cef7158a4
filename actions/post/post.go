// Package post does jobs of kind "post": it sends a job's data to a URL.
//
// The body is the whole data array as JSON. Tokens never stand in the job: a
// header's value, and the key that signs the body by the rules of Standard
// Webhooks, are secrets that the job names. What the receiver answers is judged
// by the table in replies.go; only 200 to 209 is success.
//
// Delivery is at least once: each request carries the job's id as
// Idempotency-Key and webhook-id, the same in all attempts. When a job ends as a
// dead letter, a stored action can get its data (fallback.go).
package post

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Kind is the action's type in jobs.
const Kind = "post"

// maxAttempts is the limit for jobs that name none, as users of this kind know
// it: the header TagoIO-Retries counts from 1 to 10.
const maxAttempts = 10

// Vault is what the action needs of the secret store.
type Vault interface {
	// Lookup returns the current version of the secret with this id or key.
	Lookup(ctx context.Context, ref string) (secrets.Ref, error)
	// OpenText opens the secret, in a newer version if there is one by now.
	OpenText(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.Text, error)
}

// Config is what an [Action] is made of.
type Config struct {
	Vault   Vault
	Guard   *netguard.Guard // nil: the public internet only
	Worker  string          // name of this process, for the audit stream
	Logger  *slog.Logger    // nil: no log
	Timeout time.Duration   // of one request; 0 means webclient.DefaultTimeout
	Roots   *x509.CertPool  // authorities to trust; nil: the system's
}

// Action does jobs of kind "post". Use [New].
type Action struct {
	config Config
	client *webclient.Client
	now    func() time.Time
}

// New returns an action. It connects to nothing yet.
func New(config Config) *Action {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	client := webclient.New(webclient.Config{Guard: config.Guard, Timeout: config.Timeout, Roots: config.Roots})
	return &Action{config: config, client: client, now: time.Now}
}

// Kind returns "post".
func (a *Action) Kind() string { return Kind }

// Close ends all kept connections. No Do is running then.
func (a *Action) Close() error {
	a.client.Close()
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

// Lane is kind and origin: jobs for one host share its slots.
func (w *work) Lane() string { return Kind + "/" + w.plan.origin }

// MaxAttempts is the limit for a job that names none.
func (w *work) MaxAttempts() int { return maxAttempts }

// SecretRefs returns the ids or keys of all secrets that the job names.
func (w *work) SecretRefs() []string { return w.plan.secretRefs() }

// Recipients returns nil: it sends no mail.
func (w *work) Recipients() []string { return nil }

// Actions returns the stored action that gets the data of a dead letter.
func (w *work) Actions() []string {
	if w.plan.fallback == "" {
		return nil
	}
	return []string{w.plan.fallback}
}

// Do sends the data once.
func (w *work) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	reply, err := w.try(ctx, c)
	if err != nil {
		w.plan.addFallback(&reply, c)
	}
	return reply, err
}

// try is Do without the fallback.
func (w *work) try(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	in, ref, err := w.open(ctx, c)
	if err != nil {
		return actions.SecretError(ref, secrets.TypeText, err)
	}
	header, err := w.header(c, in)
	if err != nil {
		return in.outcome(unusable(err.Error()))
	}
	crashpoint.Point("post-before")
	resp, err := w.action.client.Do(ctx, c.Begin, webclient.Request{
		Method: http.MethodPost, URL: w.plan.url, Header: header, Body: w.plan.body,
	})
	crashpoint.Point("post-after")
	if err != nil {
		return in.outcome(judgeFailure(err))
	}
	return in.outcome(judge(resp, in.hide))
}
