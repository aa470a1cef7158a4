package email

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/mailaddress"
	"github.com/sealpost/sealpost/queue"
)

// maxSubject is the longest subject in bytes. A header line may have 998
// characters (RFC 5322, section 2.1.1), and a word in it cannot be folded.
const maxSubject = 900

// Params is the action object of an email-smtp job.
type Params struct {
	Type    string `json:"type"`
	Secret  string `json:"smtp_secret"` // id or key of a secret of type smtp
	From    string `json:"from"`        // an address, "Name <address>", or only a name; "" means the secret's sender
	To      string `json:"to"`          // addresses with , or ; between
	Cc      string `json:"cc"`
	Bcc     string `json:"bcc"`
	ReplyTo string `json:"reply_to"`
	Subject string `json:"subject"` // may hold message variables, as the next two
	Message string `json:"message"` // plain text
	HTML    string `json:"html"`    // with Message: both, as alternatives

	Attachments []json.RawMessage          `json:"attachments"` // each an [Attachment]
	Headers     map[string]json.RawMessage `json:"headers"`     // further headers, see checkHeaderName; values may hold message variables

	// ListUnsubscribe are https: and mailto: URIs, an array or one text, which
	// may hold message variables (RFC 2369).
	ListUnsubscribe texts `json:"list_unsubscribe"`
	// ListUnsubscribePost says that a POST to the first https one unsubscribes
	// (RFC 8058). It is true unless the job says otherwise, and counts only if
	// there is an https one.
	ListUnsubscribePost bool `json:"list_unsubscribe_post"`

	DKIM map[string]json.RawMessage `json:"dkim"` // a [DKIM]; nil: no signature
}

// plan is a checked mail: what will be sent, but for the sender where that
// comes from the secret.
type plan struct {
	secret               string
	fromName             string // with from nil: the name before the secret's address
	from                 *mail.Address
	to, cc, bcc, replyTo []*mail.Address
	subject, text, html  string
	files                []file
	headers              []header
	unsubscribe          []string // URIs
	oneClick             bool
	dkim                 signature
}

// decode reads and checks the action of a job. Its errors are permanent.
func decode(job *queue.Job) (*plan, error) {
	p := Params{ListUnsubscribePost: true}
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
		return nil, errors.New("field \"smtp_secret\": want the id or the key of a secret of type smtp")
	}
	pl, err := p.addresses()
	if err != nil {
		return nil, err
	}
	pl.secret = p.Secret
	if pl.dkim, err = p.readDKIM(); err != nil {
		return nil, err
	}
	vars, err := actions.JobVariables(job)
	if err != nil {
		return nil, err
	}
	if err := pl.fill(p, vars); err != nil {
		return nil, err
	}
	if pl.headers, err = fillHeaders(p.Headers, vars); err != nil {
		return nil, err
	}
	if pl.unsubscribe, pl.oneClick, err = fillUnsubscribe(p.ListUnsubscribe, vars); err != nil {
		return nil, err
	}
	pl.oneClick = pl.oneClick && p.ListUnsubscribePost
	pl.files, err = readFiles(p.Attachments)
	return pl, err
}

// addresses checks the sender and the recipients.
func (p *Params) addresses() (*plan, error) {
	pl := &plan{}
	if err := pl.setFrom(p.From); err != nil {
		return nil, fmt.Errorf("field \"from\": %w", err)
	}
	for _, f := range []struct {
		name, list string
		dst        *[]*mail.Address
	}{{"to", p.To, &pl.to}, {"cc", p.Cc, &pl.cc}, {"bcc", p.Bcc, &pl.bcc}, {"reply_to", p.ReplyTo, &pl.replyTo}} {
		addresses, err := mailaddress.ParseList(f.list)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", f.name, err)
		}
		*f.dst = addresses
	}
	switch n := len(pl.to) + len(pl.cc) + len(pl.bcc); {
	case n == 0:
		return nil, errors.New("no recipient: give \"to\", \"cc\" or \"bcc\"")
	case n > mailaddress.MaxRecipients || len(pl.replyTo) > mailaddress.MaxRecipients:
		return nil, fmt.Errorf("more than %d recipients", mailaddress.MaxRecipients)
	}
	return pl, nil
}

// setFrom takes an address, a name with an address, or only a name.
func (pl *plan) setFrom(from string) error {
	if err := actions.CheckLine(from); err != nil { // before trimming, which would take line ends off
		return err
	}
	from = strings.TrimSpace(from)
	if !strings.Contains(from, "@") {
		pl.fromName = from
		return mailaddress.CheckName(from)
	}
	list, err := mailaddress.ParseList(from)
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return errors.New("want one address")
	}
	pl.from = list[0]
	return nil
}

// lineEnds makes all line ends one form. mime/quotedprintable loses the line end
// after a CR that stands alone before a letter outside ASCII (Go 1.26).
var lineEnds = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")

// lines returns a text with CRLF for all line ends.
func lines(text string) string {
	if strings.Contains(text, "\r") {
		return lineEnds.Replace(text)
	}
	return strings.ReplaceAll(text, "\n", "\r\n")
}

// filler puts values in the place of message variables.
type filler interface {
	Fill(text string, place actions.Place) (string, error)
}

// fill checks the texts and fills in the variables.
func (pl *plan) fill(p *Params, vars filler) error {
	if p.Message == "" && p.HTML == "" {
		return errors.New("no text: give \"message\", \"html\" or both")
	}
	if err := actions.CheckLine(p.Subject); err != nil {
		return fmt.Errorf("field \"subject\": %w", err)
	}
	for name, text := range map[string]string{"message": p.Message, "html": p.HTML} {
		if err := actions.CheckText(text); err != nil {
			return fmt.Errorf("field %q: %w", name, err)
		}
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
		filled, err := vars.Fill(f.text, f.place)
		if err != nil {
			return fmt.Errorf("field %q %w", f.name, err)
		}
		*f.dst = filled
	}
	pl.text, pl.html = lines(pl.text), lines(pl.html)
	if len(pl.subject) > maxSubject {
		return fmt.Errorf("field \"subject\": more than %d bytes", maxSubject)
	}
	return nil
}

// needsUTF8 reports whether an address has letters outside ASCII, so that the
// server must offer SMTPUTF8 (RFC 6531). Names do not count: they are encoded.
func (pl *plan) needsUTF8(from *mail.Address) bool {
	for _, a := range slices.Concat(pl.to, pl.cc, pl.bcc, pl.replyTo, []*mail.Address{from}) {
		if !mailaddress.IsASCII(a.Address) {
			return true
		}
	}
	return false
}

// envelope returns the addresses of all recipients, each once.
func (pl *plan) envelope() []string {
	var all []string
	seen := map[string]bool{}
	for _, list := range [][]*mail.Address{pl.to, pl.cc, pl.bcc} {
		for _, a := range list {
			// Domains are lower case already; local parts may mean different boxes.
			if !seen[a.Address] {
				seen[a.Address] = true
				all = append(all, a.Address)
			}
		}
	}
	return all
}
