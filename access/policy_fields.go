package access

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets"
)

// FieldError says which field of a body breaks which rule. It never holds the
// field's value, but for names from closed lists.
type FieldError struct {
	Field   string `json:"field"` // such as "permissions[0].effect"; "" is the body itself
	Message string `json:"message"`
}

// InvalidError lists all that is wrong with a body, in the order of its fields.
// It is a secrets.ErrInvalid.
type InvalidError struct{ Fields []FieldError }

// Error joins the fields and their messages.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = strings.TrimPrefix(f.Field+": "+f.Message, ": ")
	}
	return strings.Join(parts, "; ")
}

// Is makes the error a secrets.ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == secrets.ErrInvalid }

// maxFaults bounds how many faults of one body are told.
const maxFaults = 20

// faults gathers what is wrong with a body.
type faults struct{ list []FieldError }

func (f *faults) add(field, format string, args ...any) {
	if len(f.list) < maxFaults {
		f.list = append(f.list, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

// err returns an *InvalidError, or nil if nothing is wrong.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Fields: f.list}
}

// object is a JSON object that is read field by field. Names are exact; of a
// name that is there twice the last counts, as in JavaScript; names that are
// never asked for are ignored, as clients expect.
type object struct {
	raw    map[string]json.RawMessage
	path   string
	faults *faults
}

func readObject(raw json.RawMessage, path string, f *faults) object {
	o := object{path: path, faults: f}
	if k := kindOf(raw); k != "object" {
		f.add(path, "Expected object, received %s", k)
		return o
	}
	if err := json.Unmarshal(raw, &o.raw); err != nil {
		f.add(path, "Invalid JSON")
	}
	return o
}

func (o object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// text returns a text field, nil if it is absent or wrong.
func (o object) text(name string) *string {
	raw, ok := o.raw[name]
	if !ok {
		return nil
	}
	return readText(raw, o.at(name), o.faults)
}

// textOrNull is text for fields where null means "".
func (o object) textOrNull(name string) *string {
	if raw, ok := o.raw[name]; ok && kindOf(raw) == "null" {
		return new(string)
	}
	return o.text(name)
}

// need is text for a field that must be there; "" if it is absent or wrong.
func (o object) need(name string) string {
	if _, ok := o.raw[name]; !ok {
		o.faults.add(o.at(name), "Required")
		return ""
	}
	if s := o.text(name); s != nil {
		return *s
	}
	return ""
}

// flag returns a boolean field, nil if it is absent or wrong.
func (o object) flag(name string) *bool {
	raw, ok := o.raw[name]
	if !ok {
		return nil
	}
	var v bool
	if k := kindOf(raw); k != "boolean" || json.Unmarshal(raw, &v) != nil {
		o.faults.add(o.at(name), "Expected boolean, received %s", k)
		return nil
	}
	return &v
}

// list returns the elements of an array field, nil if it is absent or wrong and
// never nil otherwise.
func (o object) list(name string, most int) []json.RawMessage {
	raw, ok := o.raw[name]
	if !ok {
		return nil
	}
	return readList(raw, o.at(name), most, o.faults)
}

func readText(raw json.RawMessage, path string, f *faults) *string {
	var s string
	if k := kindOf(raw); k != "string" || json.Unmarshal(raw, &s) != nil {
		f.add(path, "Expected string, received %s", k)
		return nil
	}
	return &s
}

func readList(raw json.RawMessage, path string, most int, f *faults) []json.RawMessage {
	var v []json.RawMessage
	if k := kindOf(raw); k != "array" || json.Unmarshal(raw, &v) != nil {
		f.add(path, "Expected array, received %s", k)
		return nil
	}
	if len(v) > most {
		f.add(path, "Array must contain at most %d element(s)", most)
		return nil
	}
	if v == nil {
		v = []json.RawMessage{}
	}
	return v
}

// readTexts reads an array of texts.
func readTexts(raw json.RawMessage, path string, most int, f *faults) []string {
	list := readList(raw, path, most, f)
	if list == nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for i, item := range list {
		if s := readText(item, at(path, i), f); s != nil {
			out = append(out, *s)
		}
	}
	return out
}

// needTexts is readTexts for a field that must be there.
func (o object) needTexts(name string, most int) []string {
	raw, ok := o.raw[name]
	if !ok {
		o.faults.add(o.at(name), "Required")
		return nil
	}
	return readTexts(raw, o.at(name), most, o.faults)
}

// tags reads an array of {key, value}; nil if it is absent or wrong.
func (o object) tags(name string) []secrets.Tag {
	list := o.list(name, maxTags)
	if list == nil {
		return nil
	}
	out := make([]secrets.Tag, 0, len(list))
	for i, item := range list {
		t := readObject(item, at(o.at(name), i), o.faults)
		if t.raw != nil {
			out = append(out, secrets.Tag{Key: t.need("key"), Value: t.need("value")})
		}
	}
	return out
}

func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// kindOf names the JSON type of a value in the words that clients show.
func kindOf(raw json.RawMessage) string {
	if !json.Valid(raw) {
		return "invalid JSON"
	}
	switch strings.TrimLeft(string(raw), " \t\r\n")[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// Limits that analyses and policies share. The number of tags is what the
// clients' platform allows; the lengths are those of the tags of secrets, since
// tags of both are compared.
const (
	maxTags     = 30
	maxTagKey   = 100 // characters
	maxTagValue = 200 // characters
	maxName     = 100 // characters, of policies and analyses
)

// checkText adds a fault unless s is printable UTF-8 of min to max characters.
// Line breaks and other controls are refused: names and tags reach headers,
// terminals and logs.
func (f *faults) checkText(field, s string, min, max int) {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s):
		f.add(field, "String must be UTF-8")
	case n < min:
		f.add(field, "String must contain at least %d character(s)", min)
	case n > max:
		f.add(field, "String must contain at most %d character(s)", max)
	case strings.ContainsFunc(s, unicode.IsControl):
		f.add(field, "String must not contain control characters")
	}
}

func (f *faults) checkTags(tags []secrets.Tag) {
	if len(tags) > maxTags {
		f.add("tags", "Array must contain at most %d element(s)", maxTags)
		return
	}
	for i, t := range tags {
		f.checkText(at("tags", i)+".key", t.Key, 1, maxTagKey)
		f.checkText(at("tags", i)+".value", t.Value, 0, maxTagValue)
	}
}
