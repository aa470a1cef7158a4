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

func TestACleanerIsCleanForManyTexts(t *testing.T) {
	values := []String{New("canary-Passw0rd!"), New("robot@sender.test")}
	clean, scrub := Cleaner(values...), Scrubber(values...)
	for _, text := range []string{
		"", "2.0.0 Ok: queued as 4WX", "you sent canary-Passw0rd!", "Y2FuYXJ5LVBhc3N3MHJkIQ==", "no b@receiver.test", "see https://x.test/a?token=1 and http://y.test",
		"b@receiver.test@c", "@", "://", "\x00\xff", strings.Repeat("word ", 100), strings.Repeat("a@b ", 100),
	} {
		if got, want := clean(text), Clean(text, values...); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if got, want := scrub(text), Scrub(text, values...); got != want {
			t.Errorf("%q scrubbed: got %q, want %q", text, got, want)
		}
	}
}
