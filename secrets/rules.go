package secrets

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	idSize = 24 // hex digits: 96 random bits, the form that clients know

	maxTags     = 30  // for one secret; what the public clients' platform allows
	maxTagKey   = 100 // characters
	maxTagValue = 200 // characters
)

// newID returns a new id.
func newID() string {
	b := make([]byte, idSize/2)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b)
}

// isID reports whether ref has the form of an id. A key of 24 digits has it
// too: an id is then tried first.
func isID(ref string) bool {
	if len(ref) != idSize {
		return false
	}
	return !strings.ContainsFunc(ref, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// keyGrammar is tried before the key is turned to upper case, which makes an S
// of some letters outside ASCII.
var keyGrammar = regexp.MustCompile(`^[A-Za-z0-9_]{1,128}$`)

// checkKey returns the key in upper case.
func checkKey(key string) (string, error) {
	if !keyGrammar.MatchString(key) {
		return "", invalid("a key is 1 to 128 of the characters A-Z, 0-9 and _")
	}
	return strings.ToUpper(key), nil
}

// checkTags returns a copy of tags if they keep the rules.
func checkTags(tags []Tag) ([]Tag, error) {
	if len(tags) > maxTags {
		return nil, invalid("a secret has at most %d tags, these are %d", maxTags, len(tags))
	}
	for i, t := range tags {
		if !printable(t.Key, 1, maxTagKey) {
			return nil, invalid("tag %d: a tag's key has 1 to %d printable characters", i+1, maxTagKey)
		}
		if !printable(t.Value, 0, maxTagValue) {
			return nil, invalid("tag %d: a tag's value has at most %d printable characters", i+1, maxTagValue)
		}
	}
	return slices.Clone(tags), nil
}

// printable reports whether s is UTF-8 of from to to printable characters.
func printable(s string, from, to int) bool {
	n := utf8.RuneCountInString(s)
	return n >= from && n <= to && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// nextType decides the type of a new version. An smtp or sqs secret stays what
// it is unless the caller says otherwise: a bare password put by mistake is
// then refused, instead of becoming a text on which every job dies. A text may
// become a structured value by its form: "" lets the form decide.
func nextType(was, asked Type) Type {
	if asked != "" || was == TypeText {
		return asked
	}
	return was
}
