package twilio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// Limits of a message.
const (
	maxBody       = 1600 // characters (Twilio, Messages resource, Body)
	maxRecipients = 100  // ours: each is a request of its own
	maxVariables  = 100  // of a template (Twilio, "Using variables with content templates")
	maxVariable   = 16   // characters of a variable's name (the same page)
	maxValue      = 1600 // characters of its value; Twilio's own bound is lower for some templates
)

// SMSParams is the action object of an sms-twilio job.
type SMSParams struct {
	Type    string `json:"type"`
	From    string `json:"from"`    // a number, a sender's name, or the SID of a messaging service
	To      string `json:"to"`      // numbers with , or ; between
	Message string `json:"message"` // may hold message variables
	SID     string `json:"twilio_sid"`
	Token   string `json:"twilio_token"`
}

// WhatsAppParams is the action object of a whatsapp-twilio job.
type WhatsAppParams struct {
	Type     string `json:"type"`
	From     string `json:"from"` // a number or the SID of a messaging service
	To       string `json:"to"`
	Message  string `json:"message"`     // may hold message variables; this or Template
	Template string `json:"content_sid"` // id or key of a text secret with the SID of a template

	// Variables of the template: [{"name","value"}], or an object of texts. Values
	// may hold message variables.
	Variables json.RawMessage `json:"content_variables"`

	SID   string `json:"twilio_sid"`
	Token string `json:"twilio_token"`
}

// plan is a checked job.
type plan struct {
	sid, token, template string // references of secrets; template "" for a text
	from, service        string // one of them: From or MessagingServiceSid
	to                   []string
	body                 string
	variables            string // JSON object, "" for none
	media                string // URL of a file, "" for none
}

// filler puts values in the place of message variables.
type filler interface {
	Fill(text string, place actions.Place) (string, error)
}

// asIs leaves texts without variables alone.
type asIs struct{}

// Fill returns the text.
func (asIs) Fill(text string, _ actions.Place) (string, error) { return text, nil }

// decode reads and checks the action of a job. Its errors are permanent.
func decode(kind string, job *queue.Job) (*plan, error) {
	var p WhatsAppParams
	if kind == KindSMS {
		var s SMSParams
		if err := actions.Decode(kind, job.Action, &s); err != nil {
			return nil, err
		}
		p = WhatsAppParams{From: s.From, To: s.To, Message: s.Message, SID: s.SID, Token: s.Token}
	} else if err := actions.Decode(kind, job.Action, &p); err != nil {
		return nil, err
	}
	pl, err := p.plan(kind, job)
	if err != nil {
		return nil, queue.Permanent(fmt.Errorf("%s: %w", kind, err))
	}
	return pl, nil
}

// plan checks every field and fills the variables.
func (p *WhatsAppParams) plan(kind string, job *queue.Job) (*plan, error) {
	for _, f := range []struct {
		name, ref string
		need      bool
	}{{"twilio_sid", p.SID, true}, {"twilio_token", p.Token, true}, {"content_sid", p.Template, false}} {
		if !actions.IsSecretRef(f.ref) && (f.need || f.ref != "") {
			return nil, fmt.Errorf("field %q: want the id or the key of a secret of type text, not the value itself", f.name)
		}
	}
	vars, err := actions.JobVariables(job)
	if err != nil {
		return nil, err
	}
	pl, err := p.message(kind, vars)
	if err != nil {
		return nil, err
	}
	pl.sid, pl.token, pl.template = p.SID, p.Token, p.Template
	return pl, nil
}

// message checks everything but the login.
func (p *WhatsAppParams) message(kind string, vars filler) (*plan, error) {
	pl := &plan{}
	if err := pl.setFrom(kind, p.From); err != nil {
		return nil, fmt.Errorf("field \"from\": %w", err)
	}
	if err := pl.setTo(kind, p.To); err != nil {
		return nil, fmt.Errorf("field \"to\": %w", err)
	}
	if err := pl.setBody(p.Message, vars); err != nil {
		return nil, fmt.Errorf("field \"message\": %w", err)
	}
	if err := pl.setVariables(p.Variables, vars); err != nil {
		return nil, fmt.Errorf("field \"content_variables\": %w", err)
	}
	switch {
	case p.Template == "" && pl.body == "":
		return nil, errors.New("no text: \"message\" is missing or empty")
	case p.Template == "" && pl.variables != "":
		return nil, errors.New("field \"content_variables\": there is no \"content_sid\" that they belong to")
	case p.Template != "" && pl.body != "":
		return nil, errors.New("field \"message\": a message has either a text or a \"content_sid\"")
	}
	return pl, nil
}

// whatsApp begins the addresses of that channel.
const whatsApp = "whatsapp:"

// Forms of senders.
var (
	serviceSID = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	shortCode  = regexp.MustCompile(`^[0-9]{3,6}$`)
	// senderName is an alphanumeric sender ID (Twilio, "Alphanumeric Sender ID").
	senderName = regexp.MustCompile(`^[A-Za-z0-9 &_+-]{1,11}$`)
	letter     = regexp.MustCompile(`[A-Za-z]`)
)

// setFrom takes a messaging service, a number, and for SMS a short code or a name.
func (pl *plan) setFrom(kind, from string) error {
	if err := actions.CheckLine(from); err != nil {
		return err
	}
	from = strings.TrimSpace(from)
	switch {
	case serviceSID.MatchString(from):
		pl.service = from
		return nil
	case kind == KindSMS && (shortCode.MatchString(from) || senderName.MatchString(from) && letter.MatchString(from)):
		pl.from = from
		return nil
	}
	var err error
	pl.from, err = address(kind, from)
	if err != nil && kind == KindSMS {
		return errors.New("want a number, a sender's name of at most 11 letters and digits, or the SID of a messaging service (MG...)")
	}
	return err
}

// setTo reads the recipients. One that stands twice gets one message.
func (pl *plan) setTo(kind, list string) error {
	if err := actions.CheckLine(list); err != nil {
		return err
	}
	place := 0
	for entry := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ';' }) {
		place++
		if strings.TrimSpace(entry) == "" {
			continue
		}
		to, err := address(kind, entry)
		if err != nil {
			return fmt.Errorf("number %d: %w", place, err) // not the number: it is personal data
		}
		if !slices.Contains(pl.to, to) {
			pl.to = append(pl.to, to)
		}
		if len(pl.to) > maxRecipients {
			return fmt.Errorf("more than %d numbers", maxRecipients)
		}
	}
	if len(pl.to) == 0 {
		return errors.New("want at least one number")
	}
	return nil
}

// maxDigits of a number with its country code (ITU-T E.164, section 6.1).
const maxDigits = 15

// nanpDigits is how long a number of North America is with its country code. No
// area code there begins with 1, so that such a number has its code already.
const nanpDigits = 11

// address returns a number as Twilio wants it. One without a country code is of
// North America, as users of these kinds know it.
func address(kind, text string) (string, error) {
	text, marked := strings.CutPrefix(strings.TrimSpace(text), whatsApp)
	if marked && kind == KindSMS {
		return "", errors.New("is for WhatsApp; this action sends SMS")
	}
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -().", r) {
			return -1
		}
		return r
	}, text)
	digits, international := strings.CutPrefix(text, "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", errors.New("want a number such as +15551234567")
	}
	if !international && (len(digits) != nanpDigits || digits[0] != '1') {
		digits = "1" + digits
	}
	if len(digits) > maxDigits {
		return "", fmt.Errorf("has more than %d digits", maxDigits)
	}
	if kind == KindWhatsApp {
		return whatsApp + "+" + digits, nil
	}
	return "+" + digits, nil
}

func (pl *plan) setBody(message string, vars filler) (err error) {
	if err := actions.CheckText(message); err != nil {
		return err
	}
	if pl.body, err = vars.Fill(message, actions.Plain); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(pl.body); n > maxBody {
		return fmt.Errorf("has %d characters with its variables filled, and Twilio takes %d", n, maxBody)
	}
	return nil
}

// setVariables reads the variables of a template in both forms, and writes the
// object that Twilio takes. A value is one line: templates take no line ends.
func (pl *plan) setVariables(raw json.RawMessage, vars filler) error {
	pairs, err := readPairs(raw)
	if err != nil || len(pairs) == 0 {
		return err
	}
	if len(pairs) > maxVariables {
		return fmt.Errorf("more than %d variables", maxVariables)
	}
	values := map[string]string{}
	for i, p := range pairs {
		if err := checkName(p.Name); err != nil {
			return fmt.Errorf("variable %d: its name %w", i+1, err)
		}
		if _, twice := values[p.Name]; twice {
			return fmt.Errorf("variable %d: its name stands twice", i+1)
		}
		if err := actions.CheckText(p.Value); err != nil {
			return fmt.Errorf("variable %d: its value %w", i+1, err)
		}
		value, err := vars.Fill(p.Value, actions.Header)
		if err != nil {
			return fmt.Errorf("variable %d: its value %w", i+1, err)
		}
		if utf8.RuneCountInString(value) > maxValue {
			return fmt.Errorf("variable %d: its value has more than %d characters", i+1, maxValue)
		}
		values[p.Name] = value
	}
	text, err := json.Marshal(values)
	pl.variables = string(text)
	return err
}

func checkName(name string) error {
	if err := actions.CheckLine(name); err != nil {
		return err
	}
	if name == "" || utf8.RuneCountInString(name) > maxVariable || strings.Contains(name, " ") {
		return fmt.Errorf("must have 1 to %d characters and no blanks", maxVariable)
	}
	return nil
}

// pair is one variable of a template.
type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// readPairs reads [{"name","value"}] or an object of texts. Its errors hold no
// value.
func readPairs(raw json.RawMessage) ([]pair, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if raw[0] == '{' {
		return readObject(raw)
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, errors.New("want an array of {\"name\",\"value\"} or an object of texts")
	}
	var pairs []pair
	for i, item := range list {
		var p pair
		if err := actions.Decode(fmt.Sprintf("variable %d", i+1), item, &p); err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// readObject reads an object of texts in its order, with names that stand twice.
func readObject(raw json.RawMessage) ([]pair, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil { // the brace
		return nil, errors.New("is not valid JSON")
	}
	var pairs []pair
	for dec.More() {
		var p pair
		name, err := dec.Token()
		if err == nil {
			p.Name, _ = name.(string)
			var value any
			if err = dec.Decode(&value); err == nil {
				text, ok := value.(string)
				if !ok {
					return nil, errors.New("want an object of texts")
				}
				p.Value = text
			}
		}
		if err != nil {
			return nil, errors.New("is not valid JSON")
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}
