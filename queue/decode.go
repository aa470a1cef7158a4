package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sealpost/sealpost/jsonscan"
)

const (
	maxTraceparent = 256  // bytes; W3C Trace Context uses 55
	maxAttemptsCap = 1000 // highest max_attempts a job may ask for
	maxNameShown   = 64   // bytes of an unknown field's name in an error
)

// decodeJob reads the JSON of a job strictly: an unknown field, a field given
// twice or a wrong type is an error that names the field. It makes one pass over
// the text after that for UTF-8, so that hostile text costs no more than its
// length, and no maps. JID and, without a producer's id, ID are left to the
// caller. The Job keeps slices of raw. After an error it is of no use.
func decodeJob(j *Job, raw []byte) error {
	if len(raw) > MaxJobBytes {
		return fmt.Errorf("job of %d bytes, want at most %d", len(raw), MaxJobBytes)
	}
	if !utf8.Valid(raw) {
		return errors.New("not valid UTF-8")
	}
	var seen uint
	err := jsonscan.Object(raw, MaxJobDepth, func(key, value []byte) error { return j.read(&seen, key, value) })
	if errors.Is(err, jsonscan.ErrTooDeep) {
		return fmt.Errorf("nested deeper than %d levels", MaxJobDepth)
	}
	if err != nil {
		return err
	}
	if (j.Action == nil) == (j.ActionID == "") {
		return errors.New("want exactly one of the fields \"action\" and \"action_id\"")
	}
	if !j.ExpiresAt.IsZero() && j.ExpiresAt.Before(j.NotBefore) {
		return errors.New("field \"expires_at\" is before \"not_before\"")
	}
	return nil
}

// read takes one field into the job. seen has a bit for each field that was.
func (j *Job) read(seen *uint, key, value []byte) error {
	i, f := jobField(key)
	if f == nil {
		return fmt.Errorf("unknown field %q", string(key[:min(len(key), maxNameShown)]))
	}
	if *seen&(1<<i) != 0 {
		return fmt.Errorf("field %q is given twice", f.name)
	}
	*seen |= 1 << i
	if string(value) == "null" {
		return nil
	}
	if err := f.set(j, value); err != nil {
		return fmt.Errorf("field %q %w", f.name, err)
	}
	return nil
}

// jsonText is the text of a value that must be a string.
func jsonText(v []byte) ([]byte, error) {
	s, err := jsonscan.Text(v)
	if err != nil {
		return nil, errors.New("is not a string")
	}
	return s, nil
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
	s, err := jsonText(v)
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
	s, err := jsonText(v)
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
	err := jsonscan.Array(v, MaxJobDepth, func(element []byte) error {
		if element[0] != '{' {
			return errors.New("has an element that is not an object")
		}
		return nil
	})
	if err != nil {
		return err
	}
	j.Data = json.RawMessage(v)
	return nil
}

func parseTime(v []byte) (time.Time, error) {
	s, err := jsonText(v)
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
	s, err := jsonText(v)
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
	s, err := jsonText(v)
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
	_ = jsonscan.Object(j.Action, MaxJobDepth, func(key, value []byte) error {
		if string(key) == "type" {
			if s, err := jsonscan.Text(value); err == nil {
				kind = string(s[:min(len(s), maxNameShown)])
			}
		}
		return nil
	})
	return kind
}
