package child

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Masker writes to out what is written to it, with every spelling of the values
// replaced by redact.Placeholder. What could be the beginning of a spelling is
// held back until the next write or Close tells. It may be used by several
// goroutines. Make one with NewMasker.
type Masker struct {
	mu    sync.Mutex
	out   io.Writer
	forms *Spellings
	held  []byte
}

// NewMasker returns a masker of the spellings.
func NewMasker(out io.Writer, forms *Spellings) *Masker { return &Masker{out: out, forms: forms} }

// Write always takes all of p unless out fails.
func (m *Masker) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := append(m.held, p...)
	clean, rest := m.forms.mask(text, false)
	m.held = append([]byte(nil), rest...)
	if _, err := m.out.Write(clean); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what was held back. It does not close out.
func (m *Masker) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clean, _ := m.forms.mask(m.held, true)
	m.held = nil
	_, err := m.out.Write(clean)
	return err
}

// Spellings are the texts to look for, by their first byte and the longest
// first, so that of two that begin at one place the longer one goes. It does
// not change after NewSpellings.
type Spellings struct{ by [256][][]byte }

// NewSpellings returns the ways in which programs print the values: as they
// are, each line of them, escaped for JSON and for URLs, in hex, and in base64
// of both alphabets at any place inside a longer encoded text. Of a value that
// is a JSON object the texts inside count too, but for those that say where a
// credential goes. Texts below redact.MinValue bytes are left: they occur in
// ordinary words.
func NewSpellings(values []redact.String) *Spellings {
	all := map[string]bool{}
	for _, v := range values {
		for _, s := range parts(v.Reveal()) {
			for _, form := range formsOf(s) {
				if len(form) >= redact.MinValue {
					all[form] = true
				}
			}
		}
	}
	s := &Spellings{}
	for form := range all {
		s.by[form[0]] = append(s.by[form[0]], []byte(form))
	}
	for _, list := range s.by {
		slices.SortFunc(list, func(a, b []byte) int { return len(b) - len(a) })
	}
	return s
}

// minLine is the length from which one line of a longer value is masked alone:
// shorter ones, such as a brace, are not secret and stand everywhere.
const minLine = 8 // bytes

// parts are the texts of a value that must not be seen.
func parts(value string) []string {
	list := []string{value, strings.TrimSpace(value)} // shells take line ends off
	if strings.ContainsAny(value, "\r\n") {
		for _, line := range strings.FieldsFunc(value, func(r rune) bool { return r == '\r' || r == '\n' }) {
			if line = strings.TrimSpace(line); len(line) >= minLine {
				list = append(list, line)
			}
		}
	}
	var object map[string]any
	if json.Unmarshal([]byte(value), &object) != nil {
		return list
	}
	for name, field := range object {
		if text, ok := field.(string); ok && !slices.Contains(openFields, name) {
			list = append(list, text)
		}
	}
	return list
}

// openFields are the fields of structured secrets that say where a credential
// goes and not what it is; admins are shown them.
var openFields = []string{"smtp_server", "tls", "auth", "ca_pem", "server_name", "from", "aws_region", "queue_url", "endpoint"}

// formsOf returns the spellings of one text.
func formsOf(s string) []string {
	if len(s) < redact.MinValue {
		return nil
	}
	ascii := strconv.QuoteToASCII(s) // as other languages escape letters in JSON
	forms := []string{s, ascii[1 : len(ascii)-1], url.QueryEscape(s), url.PathEscape(s), jsonText(s, true), jsonText(s, false),
		hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s)))}
	for shift := range 3 {
		std := core64(s, shift)
		forms = append(forms, std, strings.NewReplacer("+", "-", "/", "_").Replace(std))
	}
	return forms
}

// core64 returns the base64 characters that depend on nothing but s when s
// stands shift bytes after a group of three.
func core64(s string, shift int) string {
	enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + s))
	if (shift+len(s))%3 != 0 {
		enc = enc[:len(enc)-1] // holds bits of what follows
	}
	if shift > 0 {
		enc = enc[shift+1:] // hold bits of what stands before
	}
	return enc
}

// jsonText is s inside a JSON string, with or without escapes for HTML.
func jsonText(s string, escape bool) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escape)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// mask returns text with the spellings replaced, and the end of it that could
// be the beginning of one. Nothing follows when last is true, so nothing is
// kept then.
func (s *Spellings) mask(text []byte, last bool) (clean, rest []byte) {
	clean = make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		n, open := s.at(text[i:])
		if open && !last {
			return clean, text[i:]
		}
		if n == 0 {
			clean = append(clean, text[i])
			i++
			continue
		}
		clean = append(clean, redact.Placeholder...)
		i += n
	}
	return clean, nil
}

// at returns the length of the longest spelling that text begins with, 0 if
// there is none; open is true when more text could make it a longer one.
func (s *Spellings) at(text []byte) (n int, open bool) {
	for _, form := range s.by[text[0]] {
		if len(form) > len(text) {
			open = open || bytes.HasPrefix(form, text)
		} else if bytes.HasPrefix(text, form) {
			return len(form), open
		}
	}
	return 0, open
}

// validVariable reports whether a program can find name in its environment by
// the usual means: letters, digits and _, no digit first, at most 128.
func validVariable(name string) bool {
	if name == "" || len(name) > 128 || !utf8.ValidString(name) || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for _, r := range name {
		if r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}
