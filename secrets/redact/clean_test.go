package redact

import (
	"strings"
	"testing"
)

func TestCleanTakesOutValuesAddressesAndLinks(t *testing.T) {
	value := New("hunter2-hunter2")
	for _, tt := range []struct{ name, text, want string }{
		{"plain words stay", "mailbox full", "mailbox full"},
		{"a value", "bad key hunter2-hunter2!", "bad key [redacted]!"},
		{"a value in base64", "aHVudGVyMi1odW50ZXIy", "[redacted]"},
		{"a bare address", "no user bob@example.test here", "no user (address) here"},
		{"an address in brackets", "550 <bob@example.test>: unknown", "550 <(address)>: unknown"},
		{"a link with a token", "see https://x.test/?t=abc now", "see (link) now"},
		{"a link of another scheme", "ftp://user:pw@x.test/a", "(link)"},
		{"line ends become blanks", "a\r\nb", "a  b"},
		{"half an address at the end", strings.Repeat("x", 195) + " bob@example.test", strings.Repeat("x", 195)},
	} {
		if got := Clean(tt.text, value); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := Clean(strings.Repeat("a@b ", 100)); len([]rune(got)) > MaxText {
		t.Errorf("got %d characters", len([]rune(got)))
	}
}
