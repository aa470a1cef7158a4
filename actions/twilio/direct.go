package twilio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// directRequest is a message that an analysis sends with a login of its own.
// Other fields are ignored, as the clients that send them expect.
type directRequest struct {
	From       string          `json:"from"`
	To         string          `json:"to"`
	Message    string          `json:"message"`
	Template   string          `json:"content_sid"` // the SID itself
	Variables  json.RawMessage `json:"content_variables"`
	Attachment json.RawMessage `json:"attachment"`
	MediaURL   string          `json:"media_url"` // of older clients; content_type goes with it and is not needed
}

// SendWith sends one message with the login that came with the request. value is
// {"twilio_sid","twilio_token"}. Texts go out as they are, without message
// variables.
func (a *Action) SendWith(ctx context.Context, value redact.String, request json.RawMessage) (queue.Reply, error) {
	params := queue.Reply{Stage: "params", Reason: string(actions.Payload), Certainty: queue.Rejected}
	in, err := readLogin(value)
	if err != nil {
		return params, queue.Permanent(err)
	}
	p, template, err := decodeDirect(a.kind, request)
	if err != nil {
		return params, queue.Permanent(err)
	}
	if template != "" {
		in.template = secrets.Text{Value: redact.New(template)}
	}
	return a.deliver(ctx, queue.NewClaim(actions.NewDirectJob(), 1, nil), p, in)
}

// readLogin reads both values. Its errors hold none.
func readLogin(value redact.String) (*login, error) {
	var v struct {
		SID   string `json:"twilio_sid"`
		Token string `json:"twilio_token"`
	}
	if json.Unmarshal([]byte(value.Reveal()), &v) != nil {
		return nil, errors.New("twilio_sid and twilio_token: want two texts")
	}
	return &login{sid: secrets.Text{Value: redact.New(v.SID)}, token: secrets.Text{Value: redact.New(v.Token)}}, nil
}

// decodeDirect reads and checks a direct request. Its errors quote nothing.
func decodeDirect(kind string, raw json.RawMessage) (p *plan, template string, err error) {
	var d directRequest
	if err := json.Unmarshal(raw, &d); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return nil, "", fmt.Errorf("field %q: want %s", wrong.Field, wrong.Type)
		}
		return nil, "", errors.New("want a JSON object")
	}
	if kind == KindSMS {
		d = directRequest{From: d.From, To: d.To, Message: d.Message}
	}
	if len(d.Attachment) > 0 && string(d.Attachment) != "null" {
		return nil, "", errors.New("field \"attachment\": Twilio takes no files, it fetches them from a public URL; send that as \"media_url\"")
	}
	if string(d.Variables) == "null" {
		d.Variables = nil
	}
	w := WhatsAppParams{From: d.From, To: d.To, Message: d.Message, Template: d.Template, Variables: d.Variables}
	if p, err = w.message(kind, asIs{}); err != nil {
		return nil, "", err
	}
	if err := p.setMedia(d.MediaURL); err != nil {
		return nil, "", fmt.Errorf("field \"media_url\": %w", err)
	}
	return p, d.Template, nil
}

// setMedia takes the URL of a file, which Twilio fetches.
func (p *plan) setMedia(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || actions.CheckLine(text) != nil { // err would quote it
		return errors.New("want an https URL that anybody can fetch")
	}
	p.media = text
	return nil
}
