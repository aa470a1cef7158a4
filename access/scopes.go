package access

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Limits of scopes. Numbers: ours; a token that needs more wants no scope.
const (
	maxScopes = 50  // entries of each list
	maxScope  = 128 // characters of a kind, or of the id or key of a secret
	maxDomain = 253 // characters without the last dot (RFC 1035, section 2.3.4)
)

// anyBelow begins a domain that stands for all domains below it.
const anyBelow = "*."

// Scopes narrow what a producer may send. An empty list narrows nothing; the
// zero Scopes narrow nothing at all. Lists are shared and must not be changed.
type Scopes struct {
	Kinds   []string `json:"kinds,omitempty"`   // kinds of jobs, such as "email-smtp"
	Secrets []string `json:"secrets,omitempty"` // ids, or keys in upper case
	Domains []string `json:"domains,omitempty"` // of recipients, as in DNS; "*.example.com" is every domain below example.com, not itself
}

// IsZero reports whether nothing is narrowed.
func (s Scopes) IsZero() bool { return len(s.Kinds)+len(s.Secrets)+len(s.Domains) == 0 }

// AllowsKind reports whether jobs of the kind may be sent.
func (s Scopes) AllowsKind(kind string) bool {
	return len(s.Kinds) == 0 || slices.Contains(s.Kinds, kind)
}

// AllowsSecret reports whether the secret that has this id and this key may be
// used. What has the form of an id is never taken for a key.
func (s Scopes) AllowsSecret(id, key string) bool {
	return len(s.Secrets) == 0 || slices.Contains(s.Secrets, id) || (!looksLikeID(key) && slices.Contains(s.Secrets, key))
}

// AllowsAddress reports whether mail may go to the address. Its domain must be
// in lower case and ASCII.
func (s Scopes) AllowsAddress(address string) bool {
	if len(s.Domains) == 0 {
		return true
	}
	domain := address[strings.LastIndexByte(address, '@')+1:]
	return slices.ContainsFunc(s.Domains, func(allowed string) bool {
		if above, ok := strings.CutPrefix(allowed, anyBelow); ok {
			return strings.HasSuffix(domain, "."+above)
		}
		return domain == allowed
	})
}

// String shows the scopes in one line, "" if there are none.
func (s Scopes) String() string {
	var parts []string
	for _, list := range []struct {
		name    string
		entries []string
	}{{"kinds", s.Kinds}, {"secrets", s.Secrets}, {"domains", s.Domains}} {
		if len(list.entries) > 0 {
			parts = append(parts, list.name+"="+strings.Join(list.entries, ","))
		}
	}
	return strings.Join(parts, " ")
}

// canonical returns the scopes sorted, each entry once and in the form that it
// is compared in. Error ErrInvalid.
func (s Scopes) canonical(kind Kind) (Scopes, error) {
	if s.IsZero() {
		return Scopes{}, nil
	}
	if kind != Producer {
		return Scopes{}, fmt.Errorf("%w: only producer tokens have scopes", ErrInvalid)
	}
	kinds, err := canonicalList("kind", s.Kinds, scopeWord)
	if err != nil {
		return Scopes{}, err
	}
	keys, err := canonicalList("secret", s.Secrets, scopeSecret)
	if err != nil {
		return Scopes{}, err
	}
	domains, err := canonicalList("domain", s.Domains, scopeDomain)
	return Scopes{Kinds: kinds, Secrets: keys, Domains: domains}, err
}

func canonicalList(name string, list []string, form func(string) (string, bool)) ([]string, error) {
	if len(list) > maxScopes {
		return nil, fmt.Errorf("%w: at most %d scopes of each sort, not %d %ss", ErrInvalid, maxScopes, len(list), name)
	}
	var out []string
	for i, entry := range list {
		text, ok := form(entry)
		if !ok {
			return nil, fmt.Errorf("%w: %s %d of the scopes is none: %q", ErrInvalid, name, i+1, redact.Scrub(entry[:min(len(entry), maxScope)]))
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// scopeWord takes letters, digits, - and _.
func scopeWord(s string) (string, bool) {
	odd := strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	return s, s != "" && len(s) <= maxScope && !odd
}

// scopeSecret brings keys into upper case, as they are stored.
func scopeSecret(s string) (string, bool) {
	if _, ok := scopeWord(s); !ok {
		return "", false
	}
	if looksLikeID(s) {
		return s, true
	}
	return strings.ToUpper(s), true
}

// scopeDomain brings a domain into lower case and punycode, as senders do.
func scopeDomain(s string) (string, bool) {
	prefix := ""
	if rest, ok := strings.CutPrefix(s, anyBelow); ok {
		prefix, s = anyBelow, rest
	}
	ascii, err := idna.Lookup.ToASCII(s)
	if err != nil || ascii == "" || len(prefix)+len(ascii) > maxDomain {
		return "", false
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || strings.ContainsAny(label, "*@ ") {
			return "", false
		}
	}
	return prefix + ascii, true
}

// looksLikeID reports whether s has the form of an id: 24 lower-case hex digits.
func looksLikeID(s string) bool {
	return len(s) == 24 && strings.Trim(s, "0123456789abcdef") == ""
}

// fields is what a token's MAC is over in addition. Without scopes there is
// nothing, so that tokens made before there were scopes stay good. Each list
// comes after its length: no entry can pass for one of another list.
func (s Scopes) fields() []string {
	if s.IsZero() {
		return nil
	}
	out := []string{"scopes"}
	for _, list := range [][]string{s.Kinds, s.Secrets, s.Domains} {
		out = append(append(out, strconv.Itoa(len(list))), list...)
	}
	return out
}
