package sendgrid

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/mailaddress"
	"github.com/sealpost/sealpost/queue"
)

// maxSubject is the longest subject in bytes, filled: a header line has at most
// 998 characters (RFC 5322, section 2.1.1).
const maxSubject = 900

// Params is the action object of an email-sendgrid job.
type Params struct {
	Type    string `json:"type"`
	Secret  string `json:"sendgrid_api_key"` // id or key of a secret of type text
	From    string `json:"from"`             // an address or "Name <address>"
	To      string `json:"to"`               // addresses with , or ; between
	Cc      string `json:"cc"`
	Bcc     string `json:"bcc"`
	ReplyTo string `json:"reply_to"`
	Subject string `json:"subject"` // may hold message variables, as the next two
	Message string `json:"message"` // plain text
	HTML    string `json:"html"`    // with Message: both, as alternatives

	Attachments []json.RawMessage `json:"attachments"` // each an [Attachment]
}

// plan is a checked mail.
type plan struct {
	secret               string
	from                 *mail.Address
	to, cc, bcc, replyTo []*mail.Address
	subject, text, html  string
	files                []file
}

// decode reads and checks the action of a job. Its errors are permanent.
func decode(job *queue.Job) (*plan, error) {
	var p Params
	if err := actions.Decode(Kind, job.Action, &p); err != nil {
		return nil, err
	}
	pl, err := p.plan(job)
	if err != nil {
		return nil, queue.Permanent(fmt.Errorf("%s: %w", Kind, err))
	}
	return pl, nil
}

// plan checks every field and fills the variables.
func (p *Params) plan(job *queue.Job) (*plan, error) {
	if !actions.IsSecretRef(p.Secret) {
		return nil, errors.New("field \"sendgrid_api_key\": want the id or the key of a secret of type text, not the key itself")
	}
	pl, err := p.addresses()
	if err != nil {
		return nil, err
	}
	pl.secret = p.Secret
	vars, err := actions.JobVariables(job)
	if err != nil {
		return nil, err
	}
	if err := pl.fill(p, vars); err != nil {
		return nil, err
	}
	pl.files, err = readFiles(p.Attachments)
	return pl, err
}

// addresses checks the sender and the recipients.
func (p *Params) addresses() (*plan, error) {
	pl := &plan{}
	var from []*mail.Address
	for _, f := range []struct {
		name, list string
		dst        *[]*mail.Address
	}{{"from", p.From, &from}, {"to", p.To, &pl.to}, {"cc", p.Cc, &pl.cc}, {"bcc", p.Bcc, &pl.bcc}, {"reply_to", p.ReplyTo, &pl.replyTo}} {
		list, err := readAddresses(f.list)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", f.name, err)
		}
		*f.dst = list
	}
	if len(from) != 1 {
		return nil, errors.New("field \"from\": want one address, or \"Name <address>\"")
	}
	pl.from = from[0]
	pl.unique()
	switch {
	case len(pl.to) == 0:
		return nil, errors.New("field \"to\": want at least one address")
	case len(pl.to)+len(pl.cc)+len(pl.bcc) > mailaddress.MaxRecipients || len(pl.replyTo) > mailaddress.MaxRecipients:
		return nil, fmt.Errorf("more than %d recipients", mailaddress.MaxRecipients)
	}
	return pl, nil
}

// readAddresses is mailaddress.ParseList for ASCII: SendGrid refuses letters
// beyond it before the @.
func readAddresses(list string) ([]*mail.Address, error) {
	out, err := mailaddress.ParseList(list)
	if err != nil {
		return nil, err
	}
	for i, a := range out {
		if strings.ContainsFunc(a.Address, func(r rune) bool { return r >= 0x80 }) {
			return nil, fmt.Errorf("address %d: has a letter outside ASCII before the @, which SendGrid refuses", i+1)
		}
	}
	return out, nil
}

// unique keeps of each address the first: SendGrid refuses a mail in which one
// stands twice, whatever the letter case.
func (pl *plan) unique() {
	seen := map[string]bool{}
	for _, list := range []*[]*mail.Address{&pl.to, &pl.cc, &pl.bcc} {
		var kept []*mail.Address
		for _, a := range *list {
			if key := strings.ToLower(a.Address); !seen[key] {
				seen[key] = true
				kept = append(kept, a)
			}
		}
		*list = kept
	}
}

// filler puts values in the place of message variables.
type filler interface {
	Fill(text string, place actions.Place) (string, error)
}

// asIs leaves texts without variables alone.
type asIs struct{}

// Fill returns the text.
func (asIs) Fill(text string, _ actions.Place) (string, error) { return text, nil }

// fill checks the texts and fills in the variables. SendGrid takes neither an
// empty subject nor an empty text.
func (pl *plan) fill(p *Params, vars filler) error {
	if err := actions.CheckLine(p.Subject); err != nil {
		return fmt.Errorf("field \"subject\": %w", err)
	}
	for _, f := range []struct {
		name, text string
		place      actions.Place
		dst        *string
	}{
		{"subject", p.Subject, actions.Header, &pl.subject},
		{"message", p.Message, actions.Plain, &pl.text},
		{"html", p.HTML, actions.HTML, &pl.html},
	} {
		if err := actions.CheckText(f.text); err != nil {
			return fmt.Errorf("field %q: %w", f.name, err)
		}
		filled, err := vars.Fill(f.text, f.place)
		if err != nil {
			return fmt.Errorf("field %q %w", f.name, err)
		}
		*f.dst = filled
	}
	switch {
	case len(pl.subject) > maxSubject:
		return fmt.Errorf("field \"subject\": more than %d bytes", maxSubject)
	case strings.TrimSpace(pl.subject) == "":
		return errors.New("field \"subject\": is empty, and SendGrid takes no mail without a subject")
	case pl.text == "" && pl.html == "":
		return errors.New("no text: give \"message\", \"html\" or both")
	}
	return nil
}

// recipients returns the addresses of all recipients, each once.
func (pl *plan) recipients() []string {
	var all []string
	for _, list := range [][]*mail.Address{pl.to, pl.cc, pl.bcc} {
		for _, a := range list {
			all = append(all, a.Address)
		}
	}
	return all
}
