// Package sendgrid does jobs of kind "email-sendgrid": it sends a mail by
// SendGrid's v3 API, with a key that is a text secret.
//
// What SendGrid answers is judged by the table in replies.go. Only 202 means that
// it has the mail. It knows no idempotency key: a line that breaks after the
// request was written leaves open whether the mail goes out, and the job's
// on_ambiguous decides. Each mail carries the job's id as the custom argument
// sealpost_job_id, which SendGrid repeats in its events.
package sendgrid

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/provider"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Kind is the action's type in jobs.
const Kind = "email-sendgrid"

// DefaultURL is where the API is. Only the configuration of a process replaces
// it: for the region EU, https://api.eu.sendgrid.com.
const DefaultURL = "https://api.sendgrid.com"

// sendPath is the one operation that is used.
const sendPath = "/v3/mail/send"

// Config is what an [Action] is made of.
type Config struct {
	Vault   provider.Vault
	Guard   *netguard.Guard // nil: the public internet only
	Worker  string          // name of this process, for the audit stream
	URL     string          // "" means [DefaultURL]
	Timeout time.Duration   // of one request; 0 means webclient.DefaultTimeout
	Roots   *x509.CertPool  // authorities to trust; nil: the system's
}

// Action does jobs of kind "email-sendgrid". Use [New].
type Action struct {
	config   Config
	client   *webclient.Client
	now      func() time.Time
	refusals *actions.Refusals // of keys, so that a refused one is not tried for each job
}

// New returns an action. It connects to nothing yet.
func New(config Config) *Action {
	if config.URL == "" {
		config.URL = DefaultURL
	}
	config.URL = strings.TrimRight(config.URL, "/") + sendPath
	client := webclient.New(webclient.Config{Guard: config.Guard, Timeout: config.Timeout, Roots: config.Roots})
	return &Action{config: config, client: client, now: time.Now, refusals: actions.NewRefusals(actions.JobRefusal)}
}

// Kind returns "email-sendgrid".
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

// Lane is kind and secret: jobs with one key share its slots.
func (w *work) Lane() string { return Kind + "/" + w.plan.secret }

// SecretRefs returns the id or key of the secret that the job names.
func (w *work) SecretRefs() []string { return []string{w.plan.secret} }

// Recipients returns whom the mail goes to: to, cc and bcc.
func (w *work) Recipients() []string { return w.plan.recipients() }

// Actions returns nil: it starts none.
func (w *work) Actions() []string { return nil }

// Do sends the mail once.
func (w *work) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	use := secrets.Use{Actor: "worker " + w.action.config.Worker, Why: "job " + c.Job.ID}
	key, err := provider.Open(ctx, w.action.config.Vault, w.plan.secret, use)
	if err != nil {
		return actions.SecretError(w.plan.secret, secrets.TypeText, err)
	}
	return w.action.send(ctx, c, w.plan, key.Value).Outcome(Kind, key.Ref)
}

// SendWith sends one mail with the key that came with the request. Texts go out
// as they are, without message variables.
func (a *Action) SendWith(ctx context.Context, value redact.String, request json.RawMessage) (queue.Reply, error) {
	p, err := decodeDirect(request)
	if err != nil {
		return queue.Reply{Stage: "params", Reason: string(actions.Payload), Certainty: queue.Rejected}, queue.Permanent(err)
	}
	return a.send(ctx, queue.NewClaim(actions.NewDirectJob(), 1, nil), p, value).Outcome(Kind, secrets.Ref{})
}

// send makes the request, unless the key was refused a moment ago.
func (a *Action) send(ctx context.Context, c *queue.Claim, p *plan, key redact.String) provider.Verdict {
	if v, ok := provider.Refused(a.refusals.Last(key)); ok {
		return v
	}
	v := a.exchange(ctx, c, p, key)
	if v.Reason == actions.Credential && !v.Accepted {
		a.refusals.Note(key, &provider.Failure{Kind: Kind, Verdict: v})
	}
	return v
}

func (a *Action) exchange(ctx context.Context, c *queue.Claim, p *plan, key redact.String) provider.Verdict {
	body, err := p.body(c.Job.ID)
	if err != nil { // texts and lists of texts always encode
		return provider.Judge(replies, actions.Answer{Stage: "params", Status: statusMail}, "", "the mail cannot be written as JSON")
	}
	header, err := headerOf(key)
	if err != nil {
		return provider.Judge(replies, actions.Answer{Stage: "secret", Status: statusSecret}, "", err.Error())
	}
	resp, err := a.client.Do(ctx, c.Begin, webclient.Request{Method: http.MethodPost, URL: a.config.URL, Header: header, Body: body})
	if err != nil {
		return judgeFailure(err)
	}
	return judge(resp, a.now(), hidden(key))
}

// headerOf returns the headers of a request. The error does not show the key.
func headerOf(key redact.String) (http.Header, error) {
	value := key.Reveal()
	if actions.CheckLine(value) != nil || strings.ContainsAny(value, " \t") || value == "" {
		return nil, errors.New("the secret of sendgrid_api_key is no API key: it has blanks or line ends; store the key alone")
	}
	h := http.Header{}
	h.Set("Authorization", "Bearer "+value)
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json")
	return h, nil
}

// hidden is what no text may show: the key, and the parts of one such as
// SG.name.value.
func hidden(key redact.String) []redact.String {
	hide := []redact.String{key}
	for part := range strings.SplitSeq(key.Reveal(), ".") {
		if len(part) >= minPart {
			hide = append(hide, redact.New(part))
		}
	}
	return hide
}

// minPart is from which length on a part of a key is no word.
const minPart = 12

// judge says what an answer means.
func judge(resp *webclient.Response, now time.Time, hide []redact.String) provider.Verdict {
	code := strconv.Itoa(resp.Status)
	if resp.Status == http.StatusAccepted {
		return provider.Verdict{Accepted: true, Stage: webclient.StageDone, Code: code, Text: messageID(resp.Header.Get("X-Message-Id"), hide)}
	}
	v := provider.Judge(replies, resp.Answer(), code, wordsOf(resp, hide))
	if resp.Status == http.StatusTooManyRequests {
		v.After = max(v.After, untilReset(resp.Header.Get("X-Ratelimit-Reset"), now))
	}
	v.After = max(v.After, resp.RetryAfter)
	return v
}

// judgeFailure says what an exchange without an answer means.
func judgeFailure(err error) provider.Verdict {
	f, ok := errors.AsType[*webclient.Failure](err)
	if !ok { // it gives no others
		f = &webclient.Failure{Stage: webclient.StageSend, Status: "net.closed"}
	}
	v := provider.Judge(replies, f.Answer(), "", f.Text())
	v.Cause = f.Err
	return v
}

// messageID returns the id that SendGrid gave the mail, "" if it is no id.
func messageID(id string, hide []redact.String) string {
	if id == "" || len(id) > 100 || strings.Trim(strings.ToLower(id), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return ""
	}
	return "message " + redact.Scrub(id, hide...)
}

// wordsOf returns the messages of an error answer with their fields, or what else
// was answered.
func wordsOf(resp *webclient.Response, hide []redact.String) string {
	var body struct {
		Errors []struct{ Message, Field string }
	}
	if json.Unmarshal(resp.Body, &body) != nil || len(body.Errors) == 0 {
		return resp.Text(hide...)
	}
	var words []string
	for _, e := range body.Errors {
		if e.Field != "" {
			e.Message = e.Field + ": " + e.Message
		}
		words = append(words, e.Message)
	}
	return webclient.Text([]byte(strings.Join(words, "; ")), hide...)
}

// maxReset bounds what X-RateLimit-Reset can ask for. SendGrid's limits refill
// within a minute; a header from far ahead is a clock that is wrong.
const maxReset = time.Hour

// untilReset reads seconds since 1970. 0 for the past and for what is none.
func untilReset(header string, now time.Time) time.Duration {
	seconds, err := strconv.ParseInt(header, 10, 64)
	if err != nil || seconds <= 0 || seconds > now.Add(maxReset).Unix() {
		return 0
	}
	return max(time.Unix(seconds, 0).Sub(now), 0)
}
