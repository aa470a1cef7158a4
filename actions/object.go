package actions

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// eachMember calls f with each member of the object raw, which must be valid JSON.
// It reads the text once and copies nothing but names, where encoding/json
// copies each value several times.
func eachMember(raw []byte, f func(name string, value []byte) error) error {
	i := skipSpace(raw, 0) + 1 // the brace
	for {
		i = skipSpace(raw, i)
		switch raw[i] {
		case '}':
			return nil
		case ',':
			i = skipSpace(raw, i+1)
		}
		end := stringEnd(raw, i)
		name, err := unquote(raw[i:end])
		if err != nil {
			return err
		}
		i = skipSpace(raw, skipSpace(raw, end)+1) // the colon
		end = valueEnd(raw, i)
		if err := f(name, raw[i:end]); err != nil {
			return err
		}
		i = end
	}
}

// skipSpace returns the index of the first byte at or after i that is no white space.
func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns the index after the string that begins at raw[i].
func stringEnd(raw []byte, i int) int {
	i++
	quote := i + bytes.IndexByte(raw[i:], '"')
	for {
		slash := bytes.IndexByte(raw[i:quote], '\\')
		if slash < 0 {
			return quote + 1
		}
		if i += slash + 2; i > quote { // it was the quote that is escaped
			quote = i + bytes.IndexByte(raw[i:], '"')
		}
	}
}

// valueEnd returns the index after the value that begins at raw[i].
func valueEnd(raw []byte, i int) int {
	depth := 0
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i = stringEnd(raw, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// errText says that a value is no JSON string, which its first byte has ruled out.
var errText = errors.New("not valid JSON")

// unquote returns the text of a JSON string. Escapes of one letter, as in a text of
// many lines, are read here.
func unquote(b []byte) (string, error) {
	if len(b) < 2 || b[0] != '"' {
		return "", errText
	}
	inner := b[1 : len(b)-1]
	slash := bytes.IndexByte(inner, '\\')
	if slash < 0 {
		return string(inner), nil
	}
	var text strings.Builder
	text.Grow(len(inner))
	for slash >= 0 {
		text.Write(inner[:slash])
		c := inner[slash+1]
		switch c {
		case '"', '\\', '/':
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		default: // \b, \f and \u, with its surrogates
			var s string
			if err := json.Unmarshal(b, &s); err != nil {
				return "", errText
			}
			return s, nil
		}
		text.WriteByte(c)
		inner = inner[slash+2:]
		slash = bytes.IndexByte(inner, '\\')
	}
	text.Write(inner)
	return text.String(), nil
}
