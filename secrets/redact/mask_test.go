package redact

import (
	"strings"
	"testing"
)

func TestMaskTakesValuesOutAndLeavesTheRest(t *testing.T) {
	value := New("canary-Passw0rd!")
	tests := []struct{ name, text, want string }{
		{"none", "a\tb\nc", "a\tb\nc"},
		{"as it is", "pw=canary-Passw0rd!\nend", "pw=" + Placeholder + "\nend"},
		{"in hex", "63616e6172792d506173737730726421", Placeholder},
		{"in a URL", "x?p=canary-Passw0rd%21&y", "x?p=" + Placeholder + "&y"},
		{"longer than a reply", strings.Repeat("a\n", 300), strings.Repeat("a\n", 300)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Mask(tt.text, value); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	long := strings.Repeat("x", maxInput-5) + "canary-Passw0rd!"
	if got := Mask(long, value); strings.Contains(got, "canar") {
		t.Error("half a value is left at the bound")
	}
}
