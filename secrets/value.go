package secrets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Limits of values. Characters are counted as JavaScript does, in UTF-16 units:
// the clients that exist count so.
const (
	minText       = 6               // characters of a text value
	maxText       = 2048            // characters of a text value
	maxStructured = 16 << 10        // bytes of a structured value: room for a ca_pem with a few certificates
	maxField      = 1024            // bytes of one field of it, but for those named below
	maxToken      = 8 << 10         // bytes of an sqs session_token, which AWS does not bound
	minCredential = redact.MinValue // bytes: a shorter one could not be taken out of error texts
)

// value is a checked value: what of it may be shown, and of which type it is.
type value struct {
	kind   Type
	text   redact.String
	length int // UTF-16 units
	meta   map[string]string
}

// invalid makes an ErrInvalid. The arguments never hold a value.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// checkValue checks a value against the rules of its type. An empty kind means
// that the text's own form decides.
func checkValue(kind Type, text redact.String) (value, error) {
	s := text.Reveal()
	if !utf8.ValidString(s) {
		return value{}, invalid("value is not UTF-8")
	}
	if kind == "" {
		kind = infer(s)
	}
	v := value{kind: kind, text: text, length: utf16Len(s)}
	var err error
	switch kind {
	case TypeText:
		err = checkText(s, v.length)
	case TypeSMTP:
		var login SMTP
		if login, err = parseSMTP(s); err == nil {
			v.meta = smtpMeta(login)
		}
	case TypeSQS:
		var login SQS
		if login, err = parseSQS(s); err == nil {
			v.meta = sqsMeta(login)
		}
	default:
		err = invalid("type must be text, smtp or sqs")
	}
	return v, err
}

// infer returns the type whose own fields the text has: smtp_server makes an
// smtp secret, queue_url with any part of AWS credentials an sqs one. Fields
// that are missing are then reported instead of storing a text that no sender
// can use.
func infer(text string) Type {
	var fields map[string]json.RawMessage
	if !strings.HasPrefix(strings.TrimSpace(text), "{") || len(text) > maxStructured || json.Unmarshal([]byte(text), &fields) != nil {
		return TypeText
	}
	has := func(name string) bool { _, ok := fields[name]; return ok }
	switch {
	case has("smtp_server"):
		return TypeSMTP
	case has("queue_url") && (has("access_key_id") || has("secret_access_key") || has("aws_region")):
		return TypeSQS
	}
	return TypeText
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

func checkText(s string, length int) error {
	switch {
	case length < minText || length > maxText:
		return invalid("a text value has %d to %d characters, this one has %d", minText, maxText, length)
	case strings.ContainsRune(s, 0):
		return invalid("a value holds no NUL character, since no environment can")
	}
	return nil
}

// field is one allowed field of a structured value.
type field struct {
	name     string
	required bool
	max      int // bytes of a text; 0 means maxField
	to       any // *string, *redact.String, *int or *float64
}

// decodeObject reads a JSON object strictly: exact names, each at most once,
// the right kind of value, and nothing after it. Errors name the field and
// never quote a value.
func decodeObject(text string, fields []field) error {
	if len(text) > maxStructured {
		return invalid("value is longer than %d bytes", maxStructured)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return invalid("value is not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return invalid("value is not a JSON object")
		}
		if seen[name] {
			return invalid("field %q is there twice", clip(name))
		}
		seen[name] = true
		if err := decodeField(dec, name, fields); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil || dec.InputOffset() != int64(len(strings.TrimRight(text, " \t\r\n"))) {
		return invalid("value is not one JSON object")
	}
	for _, f := range fields {
		if f.required && !seen[f.name] {
			return invalid("field %q is missing", f.name)
		}
	}
	return nil
}

func decodeField(dec *json.Decoder, name string, fields []field) error {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return invalid("unknown field %q", clip(name))
	}
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return invalid("value is not a JSON object")
	}
	f := fields[i]
	if bytes.Equal(raw, []byte("null")) {
		return invalid("field %q is null", name)
	}
	switch to := f.to.(type) {
	case *int, *float64:
		if json.Unmarshal(raw, to) != nil {
			return invalid("field %q is not a number that fits", name)
		}
		return nil
	case *string:
		s, err := f.text(raw)
		*to = s
		return err
	case *redact.String:
		s, err := f.text(raw)
		*to = redact.New(s)
		return err
	}
	return invalid("field %q cannot be read", name)
}

// text decodes a JSON string and applies the rules for all texts.
func (f field) text(raw json.RawMessage) (string, error) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", invalid("field %q is not a text", f.name)
	}
	limit := f.max
	if limit == 0 {
		limit = maxField
	}
	switch {
	case f.required && s == "":
		return "", invalid("field %q is empty", f.name)
	case len(s) > limit:
		return "", invalid("field %q is longer than %d bytes", f.name, limit)
	case strings.ContainsRune(s, unicode.ReplacementChar): // also what a lone surrogate decodes to
		return "", invalid("field %q is not proper Unicode", f.name)
	case f.name != "ca_pem" && strings.ContainsFunc(s, unicode.IsControl):
		return "", invalid("field %q holds a control character", f.name)
	}
	return s, nil
}

// clip shortens a name that the user chose for an error text.
func clip(name string) string {
	name = redact.Scrub(name)
	if r := []rune(name); len(r) > 40 {
		return string(r[:40]) + "..."
	}
	return name
}
