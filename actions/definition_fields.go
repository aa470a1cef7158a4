package actions

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets"
)

// Limits of texts in an action or a trigger, in bytes. A job has at most
// 256 KiB; these leave room for its data.
const (
	maxLine    = 4 << 10
	maxLong    = 32 << 10
	maxAny     = 16 << 10
	maxHeaders = 50
	maxPairs   = 50
)

// object is a JSON object that is read field by field. Names are exact; of a
// name that is there twice the last counts, as in JavaScript.
type object struct {
	raw    map[string]json.RawMessage
	path   string
	faults *faults
}

func readObject(raw json.RawMessage, path string, f *faults) object {
	o := object{path: path, faults: f}
	switch k := typeOf(raw); {
	case !utf8.Valid(raw):
		f.add(path, "Body must be UTF-8")
	case k != "object":
		f.add(path, "Expected object, received %s", k)
	case json.Unmarshal(raw, &o.raw) != nil:
		o.raw = nil
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

func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// has reports whether a field is there and not an empty text.
func (o object) has(name string) bool {
	raw, ok := o.raw[name]
	return ok && string(raw) != `""`
}

// text returns a text field, nil if it is absent or wrong.
func (o object) text(name string) *string {
	raw, ok := o.raw[name]
	if !ok {
		return nil
	}
	var s string
	if k := typeOf(raw); k != "string" || json.Unmarshal(raw, &s) != nil {
		o.faults.add(o.at(name), "Expected string, received %s", k)
		return nil
	}
	return &s
}

// description is a text where null means none, as clients send it.
func (o object) description() *string {
	if raw, ok := o.raw["description"]; ok && typeOf(raw) == "null" {
		return new(string)
	}
	return o.text("description")
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
	if k := typeOf(raw); k != "boolean" || json.Unmarshal(raw, &v) != nil {
		o.faults.add(o.at(name), "Expected boolean, received %s", k)
		return nil
	}
	return &v
}

// tags reads the array of tags; nil if it is absent or wrong.
func (o object) tags() []secrets.Tag {
	raw, ok := o.raw["tags"]
	if !ok {
		return nil
	}
	list := readList(raw, "tags", maxTags, o.faults)
	if list == nil {
		return nil
	}
	out := make([]secrets.Tag, 0, len(list))
	for i, item := range list {
		if t := readObject(item, at("tags", i), o.faults); t.raw != nil {
			out = append(out, secrets.Tag{Key: t.need("key"), Value: t.need("value")})
		}
	}
	return out
}

// readList returns the elements of an array, nil if it is none or too long and
// never nil otherwise.
func readList(raw json.RawMessage, path string, most int, f *faults) []json.RawMessage {
	v := []json.RawMessage{}
	if k := typeOf(raw); k != "array" || json.Unmarshal(raw, &v) != nil {
		f.add(path, "Expected array, received %s", k)
		return nil
	}
	if len(v) > most {
		f.add(path, "Array must contain at most %d element(s)", most)
		return nil
	}
	return v
}

// take checks the object by the rules and returns it with the fields that have
// one, and with its type unless that is "". Without any rules all stays.
func (o object) take(rules []Field, kind string) (json.RawMessage, []Reference) {
	kept := map[string]json.RawMessage{}
	if kind != "" {
		kept["type"], _ = json.Marshal(kind) // a string always encodes
	}
	var refs []Reference
	for _, r := range rules {
		raw, ok := o.raw[r.Name]
		switch {
		case !ok && r.Need:
			o.faults.add(o.at(r.Name), "Required")
		case ok:
			kept[r.Name] = raw
			refs = append(refs, o.checkField(r, raw)...)
		}
	}
	if rules == nil {
		kept = o.raw
	}
	text, err := json.Marshal(kept)
	if err != nil || rules == nil && len(text) > maxAny {
		o.faults.add(o.path, "Must be JSON of at most %d bytes", maxAny)
	}
	return text, refs
}

// typeOf names the JSON type of a value in the words that clients show.
func typeOf(raw json.RawMessage) string {
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

// checkText adds a fault unless s is printable UTF-8 of min to max characters.
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
