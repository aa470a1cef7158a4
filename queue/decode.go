package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	maxTraceparent = 256  // bytes; W3C Trace Context uses 55
	maxAttemptsCap = 1000 // highest max_attempts a job may ask for
	maxNameShown   = 64   // bytes of an unknown field's name in an error
)

// decodeJob reads the JSON of a job strictly: an unknown field, a field given
// twice or a wrong type is an error that names the field. It makes one pass
// for size, UTF-8 and depth before any decoder sees the text, so that hostile
// text costs no more than its length, and no maps. JID and, without a
// producer's id, ID are left to the caller. The Job keeps slices of raw.
func decodeJob(raw []byte) (*Job, error) {
	if err := checkText(raw); err != nil {
		return nil, err
	}
	j := &Job{}
	var seen uint
	err := eachField(raw, func(key, value []byte) error {
		i, f := jobField(key)
		if f == nil {
			return fmt.Errorf("unknown field %q", string(key[:min(len(key), maxNameShown)]))
		}
		if seen&(1<<i) != 0 {
			return fmt.Errorf("field %q is given twice", f.name)
		}
		seen |= 1 << i
		if string(value) == "null" {
			return nil
		}
		if err := f.set(j, value); err != nil {
			return fmt.Errorf("field %q %w", f.name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if (j.Action == nil) == (j.ActionID == "") {
		return nil, errors.New("want exactly one of the fields \"action\" and \"action_id\"")
	}
	if !j.ExpiresAt.IsZero() && j.ExpiresAt.Before(j.NotBefore) {
		return nil, errors.New("field \"expires_at\" is before \"not_before\"")
	}
	return j, nil
}

// checkText checks what holds for the whole text: size, UTF-8, depth, syntax.
func checkText(raw []byte) error {
	if len(raw) > MaxJobBytes {
		return fmt.Errorf("job of %d bytes, want at most %d", len(raw), MaxJobBytes)
	}
	if !utf8.Valid(raw) {
		return errors.New("not valid UTF-8")
	}
	if depthOver(raw, MaxJobDepth) {
		return fmt.Errorf("nested deeper than %d levels", MaxJobDepth)
	}
	if !json.Valid(raw) {
		return errors.New("not valid JSON")
	}
	if b := bytes.TrimLeft(raw, " \t\r\n"); b[0] != '{' {
		return errors.New("want a JSON object")
	}
	return nil
}

// depthOver reports whether arrays and objects are nested deeper than limit.
// Text that is not JSON gives any answer.
func depthOver(raw []byte, limit int) bool {
	if bytes.Count(raw, []byte("{"))+bytes.Count(raw, []byte("[")) <= limit {
		return false // the usual job, at the speed of memory
	}
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i) - 1
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// stringEnd returns the index after the string that begins at raw[i], at most len(raw).
func stringEnd(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		quote := bytes.IndexByte(raw[i:], '"')
		if quote < 0 {
			return len(raw)
		}
		slash := bytes.IndexByte(raw[i:i+quote], '\\')
		if slash < 0 {
			return i + quote + 1
		}
		i += slash + 1 // the escaped character, which may be the quote
	}
	return len(raw)
}

// skipSpace returns the index of the first byte at or after i that is not white space.
func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index after the value that begins at raw[i]. raw must be valid JSON.
func valueEnd(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			i++
			continue
		}
		i++
		if depth == 0 && (raw[i-1] == '"' || raw[i-1] == '}' || raw[i-1] == ']') {
			return i
		}
	}
	return i
}

// eachField calls f with the name and value of each field of the object raw,
// which must be valid JSON.
func eachField(raw []byte, f func(key, value []byte) error) error {
	i := skipSpace(raw, 0) + 1
	for {
		i = skipSpace(raw, i)
		if raw[i] == '}' {
			return nil
		}
		if raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
		end := stringEnd(raw, i)
		key, err := unquote(raw[i:end])
		if err != nil {
			return err
		}
		i = skipSpace(raw, end)
		i = skipSpace(raw, i+1) // the colon
		end = valueEnd(raw, i)
		if err := f(key, raw[i:end]); err != nil {
			return err
		}
		i = end
	}
}

// unquote returns the text of a valid JSON string.
func unquote(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != '"' {
		return nil, errors.New("is not a string")
	}
	if bytes.IndexByte(b, '\\') < 0 {
		return b[1 : len(b)-1], nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, errors.New("is not a string")
	}
	return []byte(s), nil
}

// field is one field of a job; set gets its value, valid JSON and not null.
type field struct {
	name string
	set  func(*Job, []byte) error
}

// jobField returns the field called name and its number. The names are those
// of the public contract; they are matched exactly.
func jobField(name []byte) (int, *field) {
	for i := range jobFields {
		if jobFields[i].name == string(name) {
			return i, &jobFields[i]
		}
	}
	return 0, nil
}

var jobFields = [...]field{
	{"id", setID},
	{"action", setAction},
	{"action_id", setActionID},
	{"data", setData},
	{"not_before", func(j *Job, v []byte) (err error) { j.NotBefore, err = parseTime(v); return }},
	{"expires_at", func(j *Job, v []byte) (err error) { j.ExpiresAt, err = parseTime(v); return }},
	{"max_attempts", setMaxAttempts},
	{"on_ambiguous", setOnAmbiguous},
	{"traceparent", setTraceparent},
}

func setID(j *Job, v []byte) error {
	s, err := unquote(v)
	if err != nil {
		return err
	}
	if len(s) < 1 || len(s) > MaxIDLength {
		return fmt.Errorf("has %d characters, want 1 to %d", len(s), MaxIDLength)
	}
	for _, c := range s {
		if !isIDByte(c) {
			return errors.New("has a character outside of [A-Za-z0-9_.:-]")
		}
	}
	if _, _, ours := splitPublicID(string(s)); ours {
		return errors.New("has the form of an id that the queue makes itself")
	}
	j.ID = string(s)
	return nil
}

func isIDByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == ':' || c == '-'
}

func setAction(j *Job, v []byte) error {
	if v[0] != '{' {
		return errors.New("is not an object")
	}
	j.Action = json.RawMessage(v)
	return nil
}

func setActionID(j *Job, v []byte) error {
	s, err := unquote(v)
	if err != nil {
		return err
	}
	const hex24 = 24 // the form of every id of the API
	if len(s) != hex24 || len(bytes.Trim(s, "0123456789abcdef")) > 0 {
		return errors.New("is not 24 lower-case hex digits")
	}
	j.ActionID = string(s)
	return nil
}

func setData(j *Job, v []byte) error {
	if v[0] != '[' {
		return errors.New("is not an array")
	}
	for i := skipSpace(v, 1); v[i] != ']'; i = skipSpace(v, i) {
		if v[i] == ',' {
			i = skipSpace(v, i+1)
		}
		if v[i] != '{' {
			return errors.New("has an element that is not an object")
		}
		i = valueEnd(v, i)
	}
	j.Data = json.RawMessage(v)
	return nil
}

func parseTime(v []byte) (time.Time, error) {
	s, err := unquote(v)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, string(s))
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, errors.New("is not a time of RFC 3339, such as 2026-11-23T13:00:00Z")
	}
	return t, nil
}

func setMaxAttempts(j *Job, v []byte) error {
	n, err := strconv.Atoi(string(v))
	if err != nil || n < 1 || n > maxAttemptsCap {
		return fmt.Errorf("is not a whole number from 1 to %d", maxAttemptsCap)
	}
	j.MaxAttempts = n
	return nil
}

func setOnAmbiguous(j *Job, v []byte) error {
	s, err := unquote(v)
	if err != nil {
		return err
	}
	if string(s) != "resend" && string(s) != "park" {
		return errors.New("is neither \"resend\" nor \"park\"")
	}
	j.OnAmbiguous = string(s)
	return nil
}

func setTraceparent(j *Job, v []byte) error {
	s, err := unquote(v)
	if err != nil {
		return err
	}
	if len(s) > maxTraceparent {
		return fmt.Errorf("has %d bytes, want at most %d", len(s), maxTraceparent)
	}
	for _, c := range s {
		if c < ' ' || c > '~' {
			return errors.New("has a character that is not printable ASCII")
		}
	}
	j.Traceparent = string(s)
	return nil
}

// kindOf returns the type that a job's action names, "" if it names none or is
// a stored action. The text is a producer's: not a label until it is known.
func kindOf(j *Job) string {
	var kind string
	if j == nil || j.Action == nil {
		return ""
	}
	_ = eachField(j.Action, func(key, value []byte) error {
		if string(key) == "type" {
			if s, err := unquote(value); err == nil {
				kind = string(s[:min(len(s), maxNameShown)])
			}
		}
		return nil
	})
	return kind
}
