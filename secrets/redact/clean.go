package redact

import (
	"regexp"
	"strings"
	"sync"
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
	forms := formsOf(values)
	return forms.clean(text)
}

// Cleaner returns [Clean] for many texts. The spellings of the values are worked out
// once, at the first text, and live as long as the function does.
func Cleaner(values ...String) func(text string) string {
	once := spellings(values)
	return func(text string) string { return once().clean(text) }
}

// Scrubber returns [Scrub] for many texts, as [Cleaner] does Clean.
func Scrubber(values ...String) func(text string) string {
	once := spellings(values)
	return func(text string) string { return once().scrub(text) }
}

func spellings(values []String) func() *forms {
	return sync.OnceValue(func() *forms { f := formsOf(values); return &f })
}

// clean is Clean for values whose spellings are known.
func (f *forms) clean(text string) string {
	scrubbed := f.scrub(text)
	if n := len([]rune(scrubbed)); n >= MaxText { // the last word may be half an address
		if i := strings.LastIndexByte(scrubbed, ' '); i > 0 {
			scrubbed = scrubbed[:i]
		}
	}
	if strings.Contains(scrubbed, "://") {
		scrubbed = linkPattern.ReplaceAllString(scrubbed, "(link)")
	}
	if strings.Contains(scrubbed, "@") {
		scrubbed = addressPattern.ReplaceAllString(scrubbed, "(address)")
	}
	// Two replacements can have made it longer than it was.
	return Scrub(scrubbed)
}
