package actions

import (
	"encoding/json"
	"fmt"
	"slices"
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
func (o object) take(rules []rule, kind string) (json.RawMessage, []Reference) {
	kept := map[string]json.RawMessage{}
	if kind != "" {
		kept["type"], _ = json.Marshal(kind) // a string always encodes
	}
	var refs []Reference
	for _, r := range rules {
		raw, ok := o.raw[r.name]
		switch {
		case !ok && r.need:
			o.faults.add(o.at(r.name), "Required")
		case ok:
			kept[r.name] = raw
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

// checkField adds a fault unless the value fits the rule, and returns what it
// names.
func (o object) checkField(r rule, raw json.RawMessage) []Reference {
	switch r.form {
	case flagForm:
		o.flag(r.name)
	case scalarForm:
		if k := typeOf(raw); !slices.Contains([]string{"string", "number", "boolean"}, k) || len(raw) > maxLine {
			o.faults.add(o.at(r.name), "Expected string, number or boolean of at most %d bytes, received %s", maxLine, k)
		}
	case headersForm:
		o.checkHeaders(r.name, raw)
	case pairsForm:
		for i, item := range readList(raw, o.at(r.name), maxPairs, o.faults) {
			if pair := readObject(item, at(o.at(r.name), i), o.faults); pair.raw != nil {
				pair.checkLine("name", pair.need("name"), 1)
				pair.checkLong("value", pair.need("value"))
			}
		}
	case scriptsForm:
		return o.scripts(r.name, raw)
	case textForm:
		if s := o.text(r.name); s != nil {
			o.checkLong(r.name, *s)
			o.checkNeeded(r, *s)
		}
	default:
		return o.checkShort(r)
	}
	return nil
}

// checkShort checks a text of one line, which may name a secret.
func (o object) checkShort(r rule) []Reference {
	s := o.text(r.name)
	if s == nil {
		return nil
	}
	if r.form == secretForm {
		if !IsSecretRef(*s) {
			o.faults.add(o.at(r.name), "Expected the id of a secret of type %s", r.secret)
			return nil
		}
		return []Reference{{Field: o.at(r.name), ID: *s, Secret: r.secret}}
	}
	o.checkLine(r.name, *s, 0)
	o.checkNeeded(r, *s)
	switch {
	case r.oneOf != nil && !slices.Contains(r.oneOf, *s):
		o.faults.add(o.at(r.name), "Invalid enum value. Expected '%s'", strings.Join(r.oneOf, "' | '"))
	case r.match != nil && !r.match.MatchString(*s):
		o.faults.add(o.at(r.name), "Invalid %s", r.name)
	}
	return nil
}

func (o object) checkNeeded(r rule, s string) {
	if r.need && s == "" {
		o.faults.add(o.at(r.name), "String must contain at least 1 character(s)")
	}
}

// checkLine adds a fault unless s can stand in a header.
func (o object) checkLine(name, s string, least int) {
	switch err := CheckLine(s); {
	case err != nil:
		o.faults.add(o.at(name), "String %s", err)
	case len(s) < least:
		o.faults.add(o.at(name), "String must contain at least %d character(s)", least)
	case len(s) > maxLine:
		o.faults.add(o.at(name), "String must contain at most %d bytes", maxLine)
	}
}

func (o object) checkLong(name, s string) {
	if err := CheckText(s); err != nil {
		o.faults.add(o.at(name), "String %s", err)
	} else if len(s) > maxLong {
		o.faults.add(o.at(name), "String must contain at most %d bytes", maxLong)
	}
}

// checkHeaders checks an object of header names and values. Names are tokens
// (RFC 9110, section 5.6.2), so that none can begin another header.
func (o object) checkHeaders(name string, raw json.RawMessage) {
	h := readObject(raw, o.at(name), o.faults)
	if len(h.raw) > maxHeaders {
		o.faults.add(o.at(name), "Object must contain at most %d header(s)", maxHeaders)
		return
	}
	for _, key := range sortedKeys(h.raw) {
		// The name may be a value that was put in the wrong place.
		if key == "" || len(key) > 128 || strings.ContainsFunc(key, notToken) {
			o.faults.add(o.at(name), "The name of a header must be letters, digits or -")
			continue
		}
		if s := h.text(key); s != nil {
			h.checkLine(key, *s, 0)
		}
	}
}

func notToken(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// scripts reads the ids of analyses.
func (o object) scripts(name string, raw json.RawMessage) []Reference {
	var refs []Reference
	list := readList(raw, o.at(name), maxScripts, o.faults)
	if list != nil && len(list) == 0 {
		o.faults.add(o.at(name), "Array must contain at least 1 element(s)")
	}
	for i, item := range list {
		var id string
		if json.Unmarshal(item, &id) != nil || !isID(id) {
			o.faults.add(at(o.at(name), i), "Expected the id of an analysis")
			continue
		}
		refs = append(refs, Reference{Field: at(o.at(name), i), ID: id})
	}
	return refs
}

// isID reports whether s has the form of an id: 24 lower-case hex digits.
func isID(s string) bool { return len(s) == 24 && strings.Trim(s, "0123456789abcdef") == "" }

// checkCondition adds faults for what the fields of a condition say together.
func (o object) checkCondition() {
	byTag := o.has("tag_key") || o.has("tag_value")
	if _, sent := o.raw["value"]; sent && !o.has("value") {
		o.faults.add(o.at("value"), "An empty value must be left out")
	}
	if byTag == o.has("device") {
		o.faults.add(o.at("device"), "Required, or tag_key and tag_value; not both")
	}
	if byTag && !(o.has("tag_key") && o.has("tag_value")) {
		o.faults.add(o.at("tag_key"), "Required with tag_value, and the other way round")
	}
	if _, sent := o.raw["unlock"]; sent && byTag {
		o.faults.add(o.at("unlock"), "Not allowed on triggers by tag")
	}
	var is string
	_ = json.Unmarshal(o.raw["is"], &is) // what is no text has a fault already
	if is == "><" && !o.has("second_value") {
		o.faults.add(o.at("second_value"), "Required with ><")
	}
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
