// Package jsonscan takes JSON objects and arrays apart without a copy, and checks
// them on the way (RFC 8259) as strictly as encoding/json. Each text is read once:
// with json.Valid before a second walk over the fields, decoding was a quarter of
// what a worker does for a short job (go test -bench DecodeJob ./queue). FuzzScan
// compares the two. Names that stand twice and bytes that are not UTF-8 are left to
// the caller.
package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// Why a text is not taken apart. A function of the caller may fail too.
var (
	ErrNotJSON   = errors.New("not valid JSON")
	ErrTooDeep   = errors.New("nested too deep")
	ErrNotObject = errors.New("want a JSON object")
)

// Object calls f with the name and the value of each field of raw, which must be
// one object in which arrays and objects are nested at most depth levels deep,
// itself among them. f has been called for the fields before a mistake.
func Object(raw []byte, depth int, f func(name, value []byte) error) error {
	i, err := next(raw, 0)
	if err != nil {
		return err
	}
	if raw[i] != '{' {
		if _, err := scanValue(raw, i, depth); err != nil {
			return err
		}
		return ErrNotObject
	}
	i, err = scanObject(raw, i, depth, f)
	return whole(raw, i, err)
}

// Array calls f with each element of raw, which must be one array; see [Object].
func Array(raw []byte, depth int, f func(value []byte) error) error {
	i, err := next(raw, 0)
	if err != nil || raw[i] != '[' {
		return ErrNotJSON
	}
	i, err = scanArray(raw, i, depth, f)
	return whole(raw, i, err)
}

// whole is err, or that there is more after raw[:i].
func whole(raw []byte, i int, err error) error {
	if err == nil && skipSpace(raw, i) < len(raw) {
		return ErrNotJSON
	}
	return err
}

// Text returns the text of a JSON string that Object or Array has found: a part of
// it if it has no escapes. ErrNotJSON if it is no string.
func Text(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != '"' {
		return nil, ErrNotJSON
	}
	inner := b[1 : len(b)-1]
	slash := bytes.IndexByte(inner, '\\')
	if slash < 0 {
		return inner, nil
	}
	text := make([]byte, 0, len(inner))
	for slash >= 0 {
		text = append(text, inner[:slash]...)
		at := strings.IndexByte(`"\/nrt`, inner[slash+1])
		if at < 0 { // \b, \f and \u, with its surrogates
			var s string
			if err := json.Unmarshal(b, &s); err != nil {
				return nil, ErrNotJSON
			}
			return []byte(s), nil
		}
		text = append(text, "\"\\/\n\r\t"[at])
		inner = inner[slash+2:]
		slash = bytes.IndexByte(inner, '\\')
	}
	return append(text, inner...), nil
}

// skipSpace returns the index of the first byte at or after i that is not white space.
func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// next is skipSpace for a place where something must follow.
func next(raw []byte, i int) (int, error) {
	if i = skipSpace(raw, i); i == len(raw) {
		return i, ErrNotJSON
	}
	return i, nil
}

// scanValue returns the index after the value that begins at raw[i], which may
// have depth more levels of arrays and objects.
func scanValue(raw []byte, i, depth int) (int, error) {
	if i >= len(raw) {
		return i, ErrNotJSON
	}
	switch raw[i] {
	case '"':
		return scanString(raw, i)
	case '{':
		return scanObject(raw, i, depth, nil)
	case '[':
		return scanArray(raw, i, depth, nil)
	case 't':
		return scanWord(raw, i, "true")
	case 'f':
		return scanWord(raw, i, "false")
	case 'n':
		return scanWord(raw, i, "null")
	}
	return scanNumber(raw, i)
}

// scanObject is scanValue for an object. It calls f, unless that is nil, with the
// name and value of each field.
func scanObject(raw []byte, i, depth int, f func(key, value []byte) error) (int, error) {
	if depth == 0 {
		return i, ErrTooDeep
	}
	i, err := next(raw, i+1)
	if err != nil {
		return i, err
	}
	if raw[i] == '}' {
		return i + 1, nil
	}
	for {
		key := i
		if raw[i] != '"' {
			return i, ErrNotJSON
		}
		if i, err = scanString(raw, i); err != nil {
			return i, err
		}
		keyEnd := i
		if i, err = next(raw, i); err != nil || raw[i] != ':' {
			return i, ErrNotJSON
		}
		value := skipSpace(raw, i+1)
		if i, err = scanValue(raw, value, depth-1); err != nil {
			return i, err
		}
		if f != nil {
			if err := visit(f, raw[key:keyEnd], raw[value:i]); err != nil {
				return i, err
			}
		}
		if i, err = next(raw, i); err != nil {
			return i, err
		}
		if raw[i] == '}' {
			return i + 1, nil
		}
		if raw[i] != ',' {
			return i, ErrNotJSON
		}
		if i, err = next(raw, i+1); err != nil {
			return i, err
		}
	}
}

// visit calls f with the text of a field's name.
func visit(f func(key, value []byte) error, quoted, value []byte) error {
	key, err := Text(quoted)
	if err != nil {
		return err
	}
	return f(key, value)
}

// scanArray is scanValue for an array. It calls f, unless that is nil, with each
// element.
func scanArray(raw []byte, i, depth int, f func(value []byte) error) (int, error) {
	if depth == 0 {
		return i, ErrTooDeep
	}
	i, err := next(raw, i+1)
	if err != nil {
		return i, err
	}
	if raw[i] == ']' {
		return i + 1, nil
	}
	for {
		value := i
		if i, err = scanValue(raw, value, depth-1); err != nil {
			return i, err
		}
		if f != nil {
			if err := f(raw[value:i]); err != nil {
				return i, err
			}
		}
		if i, err = next(raw, i); err != nil {
			return i, err
		}
		if raw[i] == ']' {
			return i + 1, nil
		}
		if raw[i] != ',' {
			return i, ErrNotJSON
		}
		if i, err = next(raw, i+1); err != nil {
			return i, err
		}
	}
}

// scanString is scanValue for a string. UTF-8 is checked elsewhere.
func scanString(raw []byte, i int) (int, error) {
	for i++; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			return i + 1, nil
		case c < ' ':
			return i, ErrNotJSON
		case c == '\\':
			n := escapeLen(raw[i:])
			if n == 0 {
				return i, ErrNotJSON
			}
			i += n - 1
		}
	}
	return i, ErrNotJSON
}

// escapeLen is the length of the escape that begins b, 0 if it is none.
func escapeLen(b []byte) int {
	const short, long = len(`\n`), len(`\u0000`)
	if len(b) < short {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return short
	case 'u':
		if len(b) < long {
			return 0
		}
		for _, c := range b[short:long] {
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return long
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// scanWord is scanValue for true, false and null.
func scanWord(raw []byte, i int, word string) (int, error) {
	if end := i + len(word); end <= len(raw) && string(raw[i:end]) == word {
		return end, nil
	}
	return i, ErrNotJSON
}

// scanNumber is scanValue for a number.
func scanNumber(raw []byte, i int) (int, error) {
	if raw[i] == '-' {
		i++
	}
	whole := i
	if i = digits(raw, i); i == whole || raw[whole] == '0' && i > whole+1 {
		return i, ErrNotJSON
	}
	if i < len(raw) && raw[i] == '.' {
		from := i + 1
		if i = digits(raw, from); i == from {
			return i, ErrNotJSON
		}
	}
	if i < len(raw) && raw[i]|0x20 == 'e' {
		i++
		if i < len(raw) && (raw[i] == '+' || raw[i] == '-') {
			i++
		}
		from := i
		if i = digits(raw, from); i == from {
			return i, ErrNotJSON
		}
	}
	return i, nil
}

// digits returns the index of the first byte at or after i that is no digit.
func digits(raw []byte, i int) int {
	for i < len(raw) && isDigit(raw[i]) {
		i++
	}
	return i
}
