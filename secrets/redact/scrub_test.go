package redact_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets/redact"
)

func TestScrub(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		name, text string
		values     []string
		want       string
	}{
		{name: "text without a value stays", text: "535 refused", values: []string{"hunter2"}, want: "535 refused"},
		{name: "no values at all", text: "ok", want: "ok"},
		{name: "a raw value goes", text: "pw=hunter2!", values: []string{"hunter2"}, want: "pw=[redacted]!"},
		{name: "every occurrence goes", text: "hunter2 hunter2", values: []string{"hunter2"}, want: "[redacted] [redacted]"},
		{name: "the longer of two values goes whole", text: "<hunter2000>", values: []string{"hunter2", "hunter2000"}, want: "<[redacted]>"},
		{name: "overlapping occurrences go together", text: "<abcabcabc>", values: []string{"abcabc"}, want: "<[redacted]>"},
		{name: "a value that is the placeholder's word ends", text: "redacted", values: []string{"redacted"}, want: "[redacted]"},
		{name: "an AUTH PLAIN line goes whole", text: "AUTH PLAIN " + b64("\x00user\x00hunter2") + " no", values: []string{"hunter2"}, want: "AUTH PLAIN [redacted] no"},
		{name: "escaped for a URL, lower case", text: "k=a%2fb%3dcd", values: []string{"a/b=cd"}, want: "k=[redacted]"},
		{name: "hex in mixed case", text: "x 68756E746572 y", values: []string{"hunter"}, want: "x [redacted] y"},
		{name: "a value of three bytes is ignored", text: "the cat", values: []string{"cat", "he"}, want: "the cat"},
		{name: "control characters become spaces", text: "a\r\nb\x1b[31m\x00", want: "a  b [31m "},
		{name: "bidirectional marks become spaces", text: "a\u202eb", want: "a b"},
		{name: "invalid UTF-8 becomes a mark", text: "a\xffb", want: "a\ufffdb"},
		{name: "hex is found beside invalid UTF-8", text: "\xff\xfe68756E746572", values: []string{"hunter"}, want: "\ufffd\ufffd[redacted]"},
		{name: "a value with a line end goes", text: "k: two\nlines.", values: []string{"two\nlines"}, want: "k: [redacted]."},
		{name: "long text is cut", text: strings.Repeat("ä", 300), want: strings.Repeat("ä", 200)},
		{name: "a value across the cut leaves no half", text: strings.Repeat("a", 197) + "hunter2", values: []string{"hunter2"}, want: strings.Repeat("a", 197) + "[re"},
		{name: "a value across the input's bound leaves no half", text: strings.Repeat("hunter2 ", 1<<13) + "hunter2", values: []string{"hunter2"}, want: strings.Repeat("[redacted] ", 19)[:200]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var values []redact.String
			for _, v := range tt.values {
				values = append(values, redact.New(v))
			}
			if got := redact.Scrub(tt.text, values...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestScrubLeavesNoHalfAtTheBound lets the placeholders swallow all of a text
// that ends in the middle of a value.
func TestScrubLeavesNoHalfAtTheBound(t *testing.T) {
	value := strings.Repeat("s", 5) + strings.Repeat("Z", 3000)
	run := strings.Repeat("A", 64<<10-2000)
	inside := base64.StdEncoding.EncodeToString([]byte(value))
	got := redact.Scrub(inside+run[len(inside):]+" "+value, redact.New(value))
	if strings.Contains(got, "ZZZZ") {
		t.Errorf("got %q, which holds half a value", got)
	}
}

// spellings are the encodings in which a value must not survive.
func spellings(v string) map[string]string {
	quoted := strconv.Quote(v)
	js, _ := json.Marshal(v)
	m := map[string]string{
		"raw": v, "hex": hex.EncodeToString([]byte(v)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(v))),
		"query": url.QueryEscape(v), "path": url.PathEscape(v), "json": string(js[1 : len(js)-1]),
		"quote": quoted[1 : len(quoted)-1], "html": html.EscapeString(v),
	}
	for i, before := range []string{"", "x", "xy"} {
		for j, after := range []string{"", "p", "pq"} {
			whole := []byte(before + v + after)
			for name, enc := range map[string]*base64.Encoding{
				"std": base64.StdEncoding, "url": base64.URLEncoding, "rawstd": base64.RawStdEncoding, "rawurl": base64.RawURLEncoding,
			} {
				m[fmt.Sprintf("%s %d %d", name, i, j)] = enc.EncodeToString(whole)
			}
		}
	}
	return m
}

func FuzzScrub(f *testing.F) {
	f.Add("hunter2", "login as ", " refused")
	f.Add("a/b+c=d&e%f", "https://h/?k=", "&x=1")
	f.Add("\"q\"\\<script>", "{\"k\":\"", "\"}")
	f.Add("zwölf\x00\n\u2028", "", "")
	f.Add("\xff\xfe\xfd\xfc", "\xff", "\xc3")
	f.Fuzz(func(t *testing.T, value, before, after string) {
		if len(value) < redact.MinValue || len(value) > 500 || len(before) > 100 || strings.Contains(redact.Placeholder, value) {
			t.Skip("short values are not looked for, and long ones only cost time here")
		}
		for name, form := range spellings(value) {
			if strings.Contains(redact.Placeholder, form) || strings.Contains(before+after, form) {
				continue
			}
			got := redact.Scrub(before+" "+form+" "+after, redact.New(value))
			if strings.Contains(got, form) && !strings.Contains(form, redact.Placeholder) {
				t.Errorf("%s: %q survives in %q", name, form, got)
			}
			if n := utf8.RuneCountInString(got); n > redact.MaxText {
				t.Errorf("%s: %d runes, want at most %d", name, n, redact.MaxText)
			}
		}
	})
}

func BenchmarkScrubNothingFound(b *testing.B) {
	pw, user := redact.New("correct horse battery"), redact.New("robot@example.org")
	b.ReportAllocs()
	for b.Loop() {
		redact.Scrub("535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", pw, user)
	}
}
