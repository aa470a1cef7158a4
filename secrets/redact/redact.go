// Package redact holds text that must not be seen: passwords, keys, tokens.
//
// A [String] prints as a placeholder by every road: fmt in all verbs, even from
// an unexported field of a struct printed with %+v, slog, encoding/json, text
// templates. [Scrub] takes known values out of text that others wrote.
package redact

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Placeholder stands where a value would be.
const Placeholder = "[redacted]"

// String is text that must not appear in logs, errors, metrics or JSON. The
// zero String holds "". Compare with Equal; == does not compile.
//
// The text is behind a closure and not in a string field, because fmt does not
// call methods on unexported fields: %+v of a struct that holds a plain string
// type with a String method prints the text; a func prints as an address.
type String struct{ reveal func() string }

// New returns a String that holds s.
func New(s string) String { return String{reveal: func() string { return s }} }

// Reveal returns the text. It is the only way out; `make reveals` lists its
// callers and CI compares the list with docs/reveals.txt.
func (s String) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero reports whether the text is empty.
func (s String) IsZero() bool { return s.reveal == nil || s.reveal() == "" }

// Equal compares in a time that depends on the lengths only.
func (s String) Equal(t String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

// Format writes the placeholder for every verb and flag.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Placeholder) }

// LogValue returns the placeholder.
func (s String) LogValue() slog.Value { return slog.StringValue(Placeholder) }

// MarshalJSON returns the placeholder as a JSON string.
func (s String) MarshalJSON() ([]byte, error) { return json.Marshal(Placeholder) }

// MarshalText returns the placeholder.
func (s String) MarshalText() ([]byte, error) { return []byte(Placeholder), nil }

// UnmarshalJSON reads a JSON string. It refuses the placeholder, so that a
// value that was read from an answer and sent back cannot overwrite a secret.
func (s *String) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return errors.New("redact: want a JSON string") // err would quote the input
	}
	if text == Placeholder {
		return errors.New("redact: the placeholder was sent back as a value")
	}
	*s = New(text)
	return nil
}
