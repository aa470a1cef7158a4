package email

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// directRequest is a mail that an analysis sends with a credential of its own.
// Other fields are ignored, as the clients that send them expect.
type directRequest struct {
	From       string          `json:"from"`
	To         string          `json:"to"`
	Subject    string          `json:"subject"`
	Message    string          `json:"message"`
	HTML       string          `json:"html"` // goes before Message
	Attachment *directFile     `json:"attachment"`
	Template   json.RawMessage `json:"template"`
}

// directFile is an attachment: text, or base64 when Type says so.
type directFile struct {
	Archive  string `json:"archive"`
	FileName string `json:"filename"`
	Type     string `json:"type"` // "base64", or a media type such as "text/csv", or ""
}

// SendWith sends one mail through the server that value names, on a connection
// of its own, which ends with it. Texts go out as they are, without message
// variables.
func (a *Action) SendWith(ctx context.Context, value redact.String, request json.RawMessage) (queue.Reply, error) {
	params := queue.Reply{Stage: stageParams, Reason: string(actions.Payload), Certainty: queue.Rejected}
	login, err := secrets.ParseSMTP(value)
	if err != nil {
		return params, queue.Permanent(fmt.Errorf("smtp_secret: %w", err))
	}
	pl, err := decodeDirect(request)
	if err != nil {
		return params, queue.Permanent(err)
	}
	w := &work{action: a, plan: pl}
	if err := a.refusals.Last(value); err != nil {
		return w.refused(secrets.Ref{}, err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	reply, err := w.direct(ctx, login)
	if f, ok := errors.AsType[*failure](err); ok && f.verdict.Reason == actions.Credential {
		a.refusals.Note(value, f)
	}
	return reply, err
}

// direct dials, sends the mail and leaves.
func (w *work) direct(ctx context.Context, login secrets.SMTP) (queue.Reply, error) {
	c, err := w.action.pool.dialer.dial(ctx, login, nil, nil)
	if err != nil {
		return w.refused(secrets.Ref{}, err)
	}
	d, failed := w.handOver(ctx, c, login)
	if failed != nil && failed.broken {
		_ = c.raw.Close() // not even a QUIT: in the middle of a text that would end it
	} else {
		c.quit()
	}
	if failed != nil {
		return w.refused(secrets.Ref{}, failed)
	}
	return accepted(secrets.Ref{}, d.text), nil
}

// handOver sends the mail to all recipients or to none: there is no second
// attempt that could do the rest.
func (w *work) handOver(ctx context.Context, c *conn, login secrets.SMTP) (delivery, *failure) {
	own := login.From
	if own == "" {
		own = login.Username
	}
	l, err := w.letter(actions.NewDirectJob(), own, w.plan.recipients(), nil)
	if err != nil {
		return delivery{}, c.fail(ctx, stageParams, err)
	}
	l.whole = true
	begin := func(context.Context) error { return nil } // nobody else has this mail
	d, failed := c.transact(ctx, begin, l)
	if n := len(d.refused) + len(d.later) + len(d.rest); failed != nil && n > 0 && len(l.to) > 1 {
		failed.text = redact.Scrub(fmt.Sprintf("%d of %d recipients refused: %s", n, len(l.to), failed.text))
	}
	return d, failed
}

// decodeDirect reads and checks a direct request. Its errors quote nothing.
func decodeDirect(request json.RawMessage) (*plan, error) {
	var d directRequest
	if err := json.Unmarshal(request, &d); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return nil, fmt.Errorf("field %q: want %s", wrong.Field, wrong.Type)
		}
		return nil, errors.New("want a JSON object")
	}
	if len(d.Template) > 0 && string(d.Template) != "null" {
		return nil, errors.New("field \"template\": there are no templates here; send \"message\" or \"html\"")
	}
	p := Params{From: d.From, To: d.To, Subject: d.Subject, Message: d.Message, HTML: d.HTML}
	if p.HTML != "" {
		p.Message = ""
	}
	pl, err := p.addresses()
	if err != nil {
		return nil, err
	}
	if err := pl.fill(&p, asIs{}); err != nil {
		return nil, err
	}
	if d.Attachment == nil {
		return pl, nil
	}
	f, err := d.Attachment.file()
	if err != nil {
		return nil, fmt.Errorf("field \"attachment\": %w", err)
	}
	pl.files = []file{f}
	return pl, nil
}

// asIs leaves texts without variables alone.
type asIs struct{}

// Fill returns the text.
func (asIs) Fill(text string, _ actions.Place) (string, error) { return text, nil }

// file checks the attachment and decodes it. A type that is none, such as
// "text", counts as absent: the clients that exist send such.
func (d *directFile) file() (file, error) {
	content := []byte(d.Archive)
	if strings.EqualFold(d.Type, "base64") {
		var err error
		if content, err = base64.StdEncoding.DecodeString(d.Archive); err != nil {
			return file{}, errors.New("archive: is not base64")
		}
	}
	media, err := mediaType(d.Type)
	if err != nil {
		media = ""
	}
	f, err := newFile(d.FileName, media, content)
	if errors.Is(err, errEmptyFile) {
		return file{}, fmt.Errorf("archive: %w", err)
	}
	return f, err
}
