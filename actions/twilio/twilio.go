// Package twilio does jobs of the kinds "sms-twilio" and "whatsapp-twilio": it
// sends messages by Twilio's API, with an account SID and a token that are text
// secrets.
//
// Each recipient is a request of its own, and with several of them a part of the
// job: who got the message never gets it again from that job. What Twilio answers
// is judged by the table in replies.go. Twilio knows no idempotency key: a line
// that breaks after the request was written leaves open whether the message goes
// out, and the job's on_ambiguous decides.
//
// The account SID stands in the URL, and is kept out of all that people see.
package twilio

import (
	"context"
	"crypto/x509"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/provider"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// The actions' types in jobs.
const (
	KindSMS      = "sms-twilio"
	KindWhatsApp = "whatsapp-twilio"
)

// DefaultURL is where the API is. Only the configuration of a process replaces it.
const DefaultURL = "https://api.twilio.com"

// Config is what an [Action] is made of.
type Config struct {
	Vault   provider.Vault
	Guard   *netguard.Guard // nil: the public internet only
	Worker  string          // name of this process, for the audit stream
	URL     string          // "" means [DefaultURL]
	Timeout time.Duration   // of one request; 0 means webclient.DefaultTimeout
	Roots   *x509.CertPool  // authorities to trust; nil: the system's
}

// Action does jobs of one of the kinds. Use [NewSMS] or [NewWhatsApp].
type Action struct {
	kind     string
	config   Config
	client   *webclient.Client
	refusals *actions.Refusals // of logins, so that a refused one is not tried for each job
}

// NewSMS returns an action of kind "sms-twilio". It connects to nothing yet.
func NewSMS(config Config) *Action { return newAction(KindSMS, config) }

// NewWhatsApp returns an action of kind "whatsapp-twilio".
func NewWhatsApp(config Config) *Action { return newAction(KindWhatsApp, config) }

func newAction(kind string, config Config) *Action {
	if config.URL == "" {
		config.URL = DefaultURL
	}
	config.URL = strings.TrimRight(config.URL, "/")
	client := webclient.New(webclient.Config{Guard: config.Guard, Timeout: config.Timeout, Roots: config.Roots})
	return &Action{kind: kind, config: config, client: client, refusals: actions.NewRefusals(actions.JobRefusal)}
}

// Kind returns the action's type.
func (a *Action) Kind() string { return a.kind }

// Close ends all kept connections. No Do is running then.
func (a *Action) Close() error {
	a.client.Close()
	return nil
}

// Prepare decodes and checks a job; see [SMSParams] and [WhatsAppParams].
func (a *Action) Prepare(job *queue.Job) (queue.Work, error) {
	p, err := decode(a.kind, job)
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
func (w *work) Kind() string { return w.action.kind }

// Lane is kind and the token's secret: jobs of one account share its slots.
func (w *work) Lane() string { return w.action.kind + "/" + w.plan.token }

// SecretRefs returns the ids or keys of the secrets that the job names.
func (w *work) SecretRefs() []string {
	refs := []string{w.plan.token, w.plan.sid}
	if w.plan.template != "" {
		refs = append(refs, w.plan.template)
	}
	return refs
}

// Recipients returns nil: it sends no mail.
func (w *work) Recipients() []string { return nil }

// Actions returns nil: it starts none.
func (w *work) Actions() []string { return nil }

// Do sends the message to each recipient once, but to those whom an earlier
// attempt has settled.
func (w *work) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	use := secrets.Use{Actor: "worker " + w.action.config.Worker, Why: "job " + c.Job.ID}
	var in login
	for _, s := range []struct {
		ref string
		dst *secrets.Text
	}{{w.plan.token, &in.token}, {w.plan.sid, &in.sid}, {w.plan.template, &in.template}} {
		if s.ref == "" {
			continue
		}
		var err error
		if *s.dst, err = provider.Open(ctx, w.action.config.Vault, s.ref, use); err != nil {
			return actions.SecretError(s.ref, secrets.TypeText, err)
		}
	}
	return w.action.deliver(ctx, c, w.plan, &in)
}
