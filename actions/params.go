package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sealpost/sealpost/jsonscan"
	"github.com/sealpost/sealpost/queue"
)

// Decode reads the JSON object raw into dst, a pointer to a struct whose fields
// carry json tags. It is stricter than encoding/json: names count letter by
// letter, a name that the struct does not have or that stands twice is an
// error, and so are null and bytes that are not UTF-8. The error is
// [queue.Permanent], names kind and field, and never holds a value: the field
// could have been meant for a secret.
func Decode(kind string, raw json.RawMessage, dst any) error {
	if err := decode(raw, reflect.ValueOf(dst).Elem()); err != nil {
		return queue.Permanent(fmt.Errorf("%s: %w", kind, err))
	}
	return nil
}

// decode fills the struct v from the object raw.
func decode(raw json.RawMessage, v reflect.Value) error {
	if !utf8.Valid(raw) {
		return errors.New("the action is not valid UTF-8")
	}
	fields := fieldsOf(v)
	err := jsonscan.Object(raw, queue.MaxJobDepth, func(name, value []byte) error {
		f, err := fields.next(string(name))
		if err != nil {
			return err
		}
		return f.set(value)
	})
	switch {
	case errors.Is(err, jsonscan.ErrTooDeep):
		return fmt.Errorf("the action is nested deeper than %d levels", queue.MaxJobDepth)
	case errors.Is(err, jsonscan.ErrNotJSON), errors.Is(err, jsonscan.ErrNotObject):
		return decodeInOrder(raw, v)
	}
	return err
}

// decodeInOrder says what is wrong with a text that is no JSON object: the first
// mistake in it, also before the place from where on it is no JSON.
func decodeInOrder(raw json.RawMessage, v reflect.Value) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("want a JSON object")
	}
	fields := fieldsOf(v)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return errors.New("not valid JSON")
		}
		f, err := fields.next(name)
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("field %q: not valid JSON", name)
		}
		if err := f.set(value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return errors.New("not valid JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("not valid JSON: text after the object")
	}
	return nil
}

// field is a field of a struct that JSON names.
type field struct {
	name string
	v    reflect.Value
	seen bool
}

// set fills the field from its value.
func (f *field) set(value []byte) error {
	if s, ok := f.v.Addr().Interface().(*string); ok && value[0] == '"' {
		text, err := jsonscan.Text(value)
		*s = string(text)
		return err
	}
	if string(value) == "null" {
		return fmt.Errorf("field %q: want %s, got null", f.name, wanted(f.v.Type()))
	}
	inner := json.NewDecoder(bytes.NewReader(value))
	inner.DisallowUnknownFields()
	if err := inner.Decode(f.v.Addr().Interface()); err != nil {
		// The text of err can hold the value: only the kinds are ours to tell.
		return fmt.Errorf("field %q: want %s, got %s", f.name, wanted(f.v.Type()), jsonKind(value))
	}
	return nil
}

// fields are those of a struct that have a JSON name.
type fields []field

// fieldsOf returns the fields of the struct v.
func fieldsOf(v reflect.Value) fields {
	list := make(fields, 0, v.NumField())
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			list = append(list, field{name: name, v: v.Field(i)})
		}
	}
	return list
}

// next returns the field of this name, once.
func (l fields) next(name string) (*field, error) {
	i := slices.IndexFunc(l, func(f field) bool { return f.name == name })
	switch {
	case i < 0:
		return nil, fmt.Errorf("unknown field %s (known fields: %s)", quoteName(name), l.names())
	case l[i].seen:
		return nil, fmt.Errorf("field %q stands twice", name)
	}
	l[i].seen = true
	return &l[i], nil
}

// names lists the fields for an error message.
func (l fields) names() string {
	list := make([]string, 0, len(l))
	for _, f := range l {
		list = append(list, f.name)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// wanted says in words what a field of this type takes.
func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer { // a field that may be absent
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.String {
			return "an array of texts"
		}
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// jsonKind says in words what a JSON value is.
func jsonKind(value json.RawMessage) string {
	switch value[0] {
	case '"':
		return "a text"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "true or false"
	}
	return "a number"
}

// maxName is how much of a name from a job an error message repeats.
const maxName = 64 // bytes

// quoteName quotes a name that came with a job, cut to maxName bytes.
func quoteName(name string) string {
	if len(name) <= maxName {
		return fmt.Sprintf("%q", name)
	}
	cut := maxName
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return fmt.Sprintf("%q...", name[:cut])
}

// CheckText reports text that no message can carry: bytes that are not UTF-8
// and NUL, which mail servers and queues refuse or cut at. The error says the
// place and never holds the text.
func CheckText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("is not valid UTF-8")
	}
	if i := strings.IndexByte(s, 0); i >= 0 {
		return fmt.Errorf("has a NUL at byte %d", i)
	}
	return nil
}

// CheckLine reports text that cannot be one line of a header: what CheckText
// refuses, and every control character. CR and LF would begin a new header
// (header injection), and others are shown differently by every reader.
func CheckLine(s string) error {
	if err := CheckText(s); err != nil {
		return err
	}
	for i, r := range s {
		if isControl(r) {
			return fmt.Errorf("has a control character (U+%04X) at byte %d", r, i)
		}
	}
	return nil
}

// isControl reports C0, DEL, C1 and the two Unicode line ends.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029'
}

// IsSecretRef reports whether s can be the id (24 hex) or the key of a secret.
// What is neither may be a value that was put there by mistake, so errors do
// not repeat it.
func IsSecretRef(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for _, r := range s {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			continue
		}
		return false
	}
	return true
}
