package redact

import (
	"regexp"
	"strings"
)

// What the words of a server may hold besides secrets: recipients and links.
var (
	addressPattern = regexp.MustCompile(`[^\s<>()\[\]:;,"']*@[^\s<>()\[\]:;,"']+`)
	linkPattern    = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://\S+`)
)

// Clean is Scrub for the words of a server: it also takes out mail addresses
// and links, which are personal data or hold tokens. At most MaxText characters
// are left.
func Clean(text string, values ...String) string {
	scrubbed := Scrub(text, values...)
	if n := len([]rune(scrubbed)); n >= MaxText { // the last word may be half an address
		if i := strings.LastIndexByte(scrubbed, ' '); i > 0 {
			scrubbed = scrubbed[:i]
		}
	}
	scrubbed = linkPattern.ReplaceAllString(scrubbed, "(link)")
	scrubbed = addressPattern.ReplaceAllString(scrubbed, "(address)")
	// Two replacements can have made it longer than it was.
	return Scrub(scrubbed)
}
