package panel

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// field is one input of a secret's value.
type field struct {
	Name, Label, Hint string
	Kind              string // "text", "password", "number", "area" or "choice"
	Required          bool
	More              bool   // seldom needed; shown on request
	Meta              string // its name in the metadata, which may be shown; "" for what is never shown again
	Value             string // to begin with
	Options           []option
}

// fieldsOf returns the inputs for a type of secret, nil for an unknown one.
// They are the fields that the stores check; the order is the panel's.
func fieldsOf(t secrets.Type) []field {
	switch t {
	case secrets.TypeText:
		return []field{{Name: "text", Label: "Value", Kind: "area", Required: true, Hint: "6 to 2048 characters. It cannot be shown again."}}
	case secrets.TypeSMTP:
		return []field{
			{Name: "smtp_server", Label: "Server", Kind: "text", Required: true, Meta: "server", Hint: "Such as smtp.example.com."},
			{Name: "smtp_port", Label: "Port", Kind: "number", Meta: "port", Value: "587", Hint: "587 for STARTTLS, 465 for TLS from the start."},
			{Name: "username", Label: "User name", Kind: "text", Required: true, Hint: "Half of the login, so it is not shown again."},
			{Name: "password", Label: "Password", Kind: "password", Required: true},
			{Name: "tls", Label: "Encryption", Kind: "choice", Meta: "tls", Options: []option{
				{Label: "By the port"}, {Value: "starttls", Label: "STARTTLS"}, {Value: "implicit", Label: "TLS from the start"}},
				Hint: "Mail is never sent without TLS."},
			{Name: "from", Label: "Default sender", Kind: "text", Meta: "from", Hint: "Used when a job names none. Empty: the user name."},
			{Name: "auth", Label: "Login method", Kind: "choice", More: true, Meta: "auth",
				Options: options("", "auto", "plain", "login", "cram-md5", "scram-sha-256", "xoauth2")},
			{Name: "server_name", Label: "Name in the certificate", Kind: "text", More: true, Meta: "server_name", Hint: "If it is not the server's."},
			{Name: "ca_pem", Label: "Own certificate authority", Kind: "area", More: true, Hint: "PEM. Trusted besides the system's."},
			{Name: "max_connections", Label: "Connections at once", Kind: "number", More: true, Hint: "4 unless given."},
			{Name: "messages_per_second", Label: "Messages a second", Kind: "text", More: true, Hint: "Empty: no limit."},
		}
	case secrets.TypeSQS:
		return []field{
			{Name: "aws_region", Label: "Region", Kind: "text", Required: true, Meta: "region", Hint: "Such as eu-west-1."},
			{Name: "queue_url", Label: "Queue URL", Kind: "text", Required: true, Meta: "queue_url"},
			{Name: "access_key_id", Label: "Access key ID", Kind: "password", Required: true},
			{Name: "secret_access_key", Label: "Secret access key", Kind: "password", Required: true},
			{Name: "session_token", Label: "Session token", Kind: "area", More: true, Hint: "Of temporary credentials only."},
			{Name: "endpoint", Label: "Endpoint", Kind: "text", More: true, Meta: "endpoint", Hint: "Of a VPC or an emulator. Empty: the region's."},
		}
	}
	return nil
}

// prefill puts what may be shown into the fields.
func prefill(list []field, shown func(f field) string) []field {
	for i, f := range list {
		if f.Meta == "" {
			continue
		}
		if v := shown(f); v != "" {
			list[i].Value = v
		}
		for j, o := range list[i].Options {
			list[i].Options[j].Chosen = o.Value == list[i].Value
		}
	}
	return list
}

// fromMeta prefills with the metadata of a secret.
func fromMeta(s secrets.Secret) []field {
	return prefill(fieldsOf(s.Type), func(f field) string { return s.Meta[f.Meta] })
}

// fromForm prefills with what was sent, without what is never shown again.
func fromForm(t secrets.Type, form url.Values) []field {
	return prefill(fieldsOf(t), func(f field) string { return form.Get(f.Name) })
}

// readValue makes the value of a secret out of the fields of a form: the text
// itself, or JSON of the fields that are not empty. The stores check it.
func readValue(t secrets.Type, form url.Values) (redact.String, error) {
	if t == secrets.TypeText {
		return redact.New(unixLines(form.Get("text"))), nil
	}
	object := map[string]any{}
	for _, f := range fieldsOf(t) {
		text := form.Get(f.Name)
		switch f.Kind {
		case "area":
			text = strings.TrimSpace(unixLines(text))
		case "password": // as it is: spaces may be part of it
		default:
			text = strings.TrimSpace(text)
		}
		if text == "" {
			continue
		}
		object[f.Name] = text
		if f.Name == "smtp_port" || f.Name == "max_connections" || f.Name == "messages_per_second" {
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return redact.String{}, fmt.Errorf("%w: %s is not a number", secrets.ErrInvalid, f.Label)
			}
			object[f.Name] = number
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return redact.String{}, fmt.Errorf("%w: a field is not a number or text", secrets.ErrInvalid)
	}
	return redact.New(string(text)), nil
}

// labelled says in a sentence of the stores what the form calls the fields.
func labelled(t secrets.Type, faults []string) []string {
	for i, text := range faults {
		for _, f := range fieldsOf(t) {
			text = strings.ReplaceAll(text, fmt.Sprintf("Field %q", f.Name), f.Label)
		}
		faults[i] = text
	}
	return faults
}

// unixLines undoes what browsers do to the line ends of a text area.
func unixLines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
