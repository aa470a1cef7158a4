package post

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// opened is what one attempt holds: the values of the secrets, for as long as it
// runs, and what no text of it may show.
type opened struct {
	ref    secrets.Ref   // that a refusal is blamed on; the zero Ref without secrets
	beside []secrets.Ref // the others: a receiver does not say which one it refuses
	values map[string]redact.String
	hide   []redact.String
}

// open looks up and opens all secrets of the job. With an error it returns the
// reference that could not be opened.
func (w *work) open(ctx context.Context, c *queue.Claim) (*opened, string, error) {
	in := &opened{values: map[string]redact.String{}}
	use := secrets.Use{Actor: "worker " + w.action.config.Worker, Why: "job " + c.Job.ID}
	for _, ref := range w.plan.secretRefs() {
		if _, ok := in.values[ref]; ok {
			continue
		}
		found, err := w.action.config.Vault.Lookup(ctx, ref)
		if err == nil && found.Type != secrets.TypeText { // a login for mail is no header
			err = secrets.ErrWrongType
		}
		if err != nil {
			return in, ref, err
		}
		text, err := w.action.config.Vault.OpenText(ctx, found, use)
		if err != nil {
			return in, ref, err
		}
		if in.ref.ID == "" {
			in.ref = text.Ref
		} else {
			in.beside = append(in.beside, text.Ref)
		}
		in.values[ref] = text.Value
	}
	in.hideAll(w.plan)
	return in, "", nil
}

// hideAll gathers what a receiver could repeat: the secrets, all values of
// headers, and the parts of the URL that may be a token.
func (in *opened) hideAll(p *plan) {
	for _, value := range in.values {
		in.add(value.Reveal())
	}
	for _, h := range p.headers {
		in.add(h.value)
	}
	u, err := url.Parse(p.url)
	if err != nil {
		return // checked before
	}
	if uri := u.RequestURI(); len(uri) > 1 {
		in.hide = append(in.hide, redact.New(uri))
	}
	parts := strings.Split(u.Path, "/")
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	for _, part := range parts {
		if len(part) >= minToken {
			in.hide = append(in.hide, redact.New(part))
		}
	}
}

// minToken is from which length on a part of a value or of a URL counts as a
// token of its own: shorter ones are words.
const minToken = 12

// add hides a value and its parts: of "Bearer x" a receiver repeats x, of "Basic
// x" the password.
func (in *opened) add(value string) {
	in.hide = append(in.hide, redact.New(value))
	words := strings.Fields(value)
	for _, word := range words {
		if len(word) >= minToken && word != value {
			in.hide = append(in.hide, redact.New(word))
		}
		in.hideKey(word)
	}
	if len(words) != 2 || !strings.EqualFold(words[0], "basic") {
		return
	}
	if login, err := base64.StdEncoding.DecodeString(words[1]); err == nil {
		_, password, _ := strings.Cut(string(login), ":")
		in.hide = append(in.hide, redact.New(string(login)), redact.New(password))
	}
}

// hideKey hides a key for signing in its other form.
func (in *opened) hideKey(word string) {
	rest, ok := strings.CutPrefix(word, keyPrefix)
	if !ok {
		return
	}
	in.hide = append(in.hide, redact.New(rest))
	if key, err := base64.StdEncoding.DecodeString(rest); err == nil {
		in.hide = append(in.hide, redact.New(string(key)))
	}
}

// header returns the headers of the request. The errors are about secrets that
// cannot be used, without their values.
func (w *work) header(c *queue.Claim, in *opened) (http.Header, error) {
	h := http.Header{}
	for _, given := range w.plan.headers {
		value := given.value
		if given.secret != "" {
			value = in.values[given.secret].Reveal()
			if err := actions.CheckLine(value); err != nil {
				return nil, fmt.Errorf("secret for header %q %w: a header is one line; store the value without it (\"sealpost secret put\")", given.name, err)
			}
		}
		h.Set(given.name, value)
	}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Sealpost")
	h.Set("Idempotency-Key", c.Job.ID)
	h.Set("TagoIO-Retries", strconv.Itoa(c.Attempt))
	if w.plan.signing == "" {
		return h, nil
	}
	signature, err := sign(in.values[w.plan.signing], c.Job.ID, w.action.now(), w.plan.body)
	if err != nil {
		return nil, err
	}
	for name, value := range signature {
		h.Set(name, value)
	}
	return h, nil
}

// outcome is the reply and the error of a verdict.
func (in *opened) outcome(v verdict) (queue.Reply, error) {
	reply := queue.Reply{
		Secret: in.ref.ID, SecretVersion: in.ref.Version, Stage: v.stage, Code: v.code, Text: v.text, Certainty: queue.Accepted,
	}
	if v.accepted {
		return reply, nil
	}
	if errors.Is(v.cause, queue.ErrLeaseLost) {
		reply.Certainty = queue.Rejected
		return reply, queue.ErrLeaseLost
	}
	if v.Reason == actions.Credential && in.ref.ID == "" {
		v.Reason, v.Advice = actions.Config, adviceNoSecret
	}
	reply.Rule, reply.Reason, reply.Certainty = v.Rule, string(v.Reason), queue.Rejected
	if v.Reason == actions.Ambiguous {
		reply.Certainty = queue.Unknown
	}
	return reply, actions.Beside(actions.Outcome(v.Verdict, in.ref.ID, in.ref.Version, &failure{v}), in.beside...)
}
