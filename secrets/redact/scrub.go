package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// MaxText is the most runes that Scrub returns: enough for a server's reply
// line (RFC 5321, section 4.5.3.1.5, allows 512 octets, few use 150), too few
// for a server that wants to fill our logs.
const MaxText = 200

// MinValue is the length in bytes below which Scrub ignores a value. A value of
// three characters occurs in ordinary words: taking it out would ruin the text
// and, by the holes, show the value.
const MinValue = 4

// maxInput bounds the work on one text, in bytes. Servers choose the text.
const maxInput = 64 << 10

// Scrub returns text with every occurrence of the values replaced by
// Placeholder, control characters replaced by spaces and at most MaxText runes
// left. A value is found as it is, URL-escaped, JSON-escaped, Go-quoted,
// HTML-escaped, in hex of either case, and in base64 (both alphabets, padded or
// not) at any place inside a longer encoded text; the whole run of base64
// characters around it goes, because its neighbours hold bits of the value.
// Values shorter than MinValue bytes are ignored. It scrubs before it cuts, so
// that no half of a value is left at the end.
func Scrub(text string, values ...String) string {
	forms := formsOf(values)
	return forms.scrub(text)
}

// scrub is Scrub for values whose spellings are known.
func (f *forms) scrub(text string) string {
	text, cut := bounded(text)
	spans := f.find(text)
	if len(spans) == 0 && !cut && plain(text) {
		return text
	}
	text = replace(text, spans)
	if cut { // what stands at the border may be half a value
		text = text[:max(0, len(text)-f.longest)]
	}
	return tidy(text)
}

// bounded cuts text to maxInput bytes and says whether it did.
func bounded(text string) (string, bool) {
	if len(text) <= maxInput {
		return text, false
	}
	return text[:maxInput], true
}

// plain reports whether tidy would return text as it is.
func plain(text string) bool {
	if len(text) > MaxText {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// tidy makes one printable line of at most MaxText runes.
func tidy(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text { // invalid UTF-8 comes as U+FFFD
		if n == MaxText {
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// forms are the spellings to look for.
type forms struct {
	exact   []string // as they are
	hexes   []string // lower case; any case matches
	base64s []string // in the standard alphabet; the URL one matches too
	longest int      // bytes of the longest spelling
}

func formsOf(values []String) forms {
	var f forms
	for _, v := range values {
		if s := v.Reveal(); len(s) >= MinValue {
			f.add(s)
		}
	}
	return f
}

func (f *forms) add(s string) {
	quoted, ascii := strconv.Quote(s), strconv.QuoteToASCII(s)
	exact := []string{
		s, url.QueryEscape(s), url.PathEscape(s), percentAll(s), html.EscapeString(s),
		quoted[1 : len(quoted)-1], ascii[1 : len(ascii)-1], jsonText(s, true), jsonText(s, false),
	}
	for _, e := range exact {
		f.exact = append(f.exact, e, lowerPercent(e))
	}
	slices.Sort(f.exact)
	f.exact = slices.Compact(f.exact)
	f.hexes = append(f.hexes, hex.EncodeToString([]byte(s)))
	for shift := range 3 {
		f.base64s = append(f.base64s, core64(s, shift))
	}
	for _, list := range [][]string{f.exact, f.hexes, f.base64s} {
		for _, e := range list {
			f.longest = max(f.longest, len(e))
		}
	}
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

// percentAll escapes every byte, as some servers do.
func percentAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte('%')
		b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{s[i]})))
	}
	return b.String()
}

// lowerPercent writes the escapes of s as %2f in place of %2F.
func lowerPercent(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// span is a part of a text, in bytes.
type span struct{ from, to int }

// find returns where any spelling stands, in order, not overlapping.
func (f *forms) find(text string) []span {
	var spans []span
	for _, e := range f.exact {
		spans = appendSpans(spans, text, e, nil)
	}
	if len(f.hexes) > 0 {
		lower := asciiLower(text)
		for _, e := range f.hexes {
			spans = appendSpans(spans, lower, e, nil)
		}
		std := strings.NewReplacer("-", "+", "_", "/").Replace(text)
		for _, e := range f.base64s {
			spans = appendSpans(spans, std, e, widen64)
		}
	}
	return merge(spans)
}

// asciiLower keeps the byte offsets, which strings.ToLower does not.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func appendSpans(spans []span, text, what string, widen func(string, span) span) []span {
	for at := 0; ; {
		i := strings.Index(text[at:], what)
		if i < 0 {
			return spans
		}
		s := span{at + i, at + i + len(what)}
		at = s.from + 1 // overlapping occurrences count too
		if widen != nil {
			s = widen(text, s)
			at = max(at, s.to)
		}
		spans = append(spans, s)
	}
}

// widen64 takes in the base64 characters and the padding around s.
func widen64(text string, s span) span {
	for s.from > 0 && is64(text[s.from-1]) {
		s.from--
	}
	for s.to < len(text) && (is64(text[s.to]) || text[s.to] == '=') {
		s.to++
	}
	return s
}

func is64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

func replace(text string, spans []span) string {
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(text[at:s.from])
		b.WriteString(Placeholder)
		at = s.to
	}
	b.WriteString(text[at:])
	return b.String()
}
