// Package mailaddress reads the addresses of mails for all senders: what stands in
// a job, brought into the form that goes over the wire, or refused.
package mailaddress

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"github.com/sealpost/sealpost/actions"
)

// Limits of an address.
const (
	MaxRecipients = 100 // per mail; every server must take 100 (RFC 5321, section 4.5.3.1.8)
	maxAddress    = 254 // bytes: a path of 256 less its angle brackets (RFC 5321, section 4.5.3.1.3)
	maxLocal      = 64  // bytes (RFC 5321, section 4.5.3.1.1)
	maxLabel      = 63  // bytes (RFC 1035, section 2.3.4)
	maxName       = 255 // bytes of a display name; ours: nobody has a longer one
)

// ParseList reads addresses with commas or semicolons between, each alone or
// after a name. Empty entries are dropped. The error gives the place of the
// bad entry, from 1, and not its text: addresses are personal data.
func ParseList(list string) ([]*mail.Address, error) {
	if err := actions.CheckLine(list); err != nil {
		return nil, err
	}
	var out []*mail.Address
	for i, entry := range split(list) {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if len(out) == MaxRecipients {
			return nil, fmt.Errorf("more than %d addresses", MaxRecipients)
		}
		a, err := parseAddress(entry)
		if err != nil {
			return nil, fmt.Errorf("address %d: %w", i+1, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// split cuts at commas and semicolons that stand outside of quotes.
func split(list string) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && quoted:
			i++ // the next one is not a quote that ends
		case c == '"':
			quoted = !quoted
		case (c == ',' || c == ';') && !quoted:
			parts = append(parts, list[start:i])
			start = i + 1
		}
	}
	return append(parts, list[start:])
}

// parseAddress reads one address, with or without a name, and brings its domain
// into the form of DNS.
func parseAddress(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, errors.New("is not a mail address") // err would repeat it
	}
	if err := CheckName(a.Name); err != nil {
		return nil, fmt.Errorf("its name %w", err)
	}
	at := strings.LastIndexByte(a.Address, '@')
	if at < 0 {
		return nil, errors.New("has no @")
	}
	// One spelling for one name (RFC 6532, section 3.1): keyboards and file
	// systems decompose letters, and mailboxes are not registered so. ASCII stays.
	local, domain := norm.NFC.String(a.Address[:at]), a.Address[at+1:]
	if err := checkLocal(local); err != nil {
		return nil, err
	}
	domain, err = ASCIIDomain(domain)
	if err != nil {
		return nil, err
	}
	a.Address = local + "@" + domain
	if len(a.Address) > maxAddress {
		return nil, fmt.Errorf("has more than %d bytes", maxAddress)
	}
	return a, nil
}

// CheckName takes display names that every reader reads alike.
func CheckName(name string) error {
	// An encoded word can decode to a line end that was not seen before.
	if err := actions.CheckLine(name); err != nil {
		return err
	}
	if len(name) > maxName {
		return fmt.Errorf("has more than %d bytes", maxName)
	}
	// net/mail writes it bare into an encoded word, where RFC 2047, section 5,
	// rule 3, forbids it, and then cannot read it back (Go 1.26).
	if strings.Contains(name, `\`) {
		return errors.New("has a backslash")
	}
	return nil
}

// checkLocal takes dot-atoms only (RFC 5322, section 3.2.3; RFC 6531, section
// 3.3). A quoted local part can carry blanks and so SMTP parameters ("x>
// NOTIFY=NEVER "@b.test), and no provider hands one out. Beyond ASCII it takes
// what can be seen: no control characters, no blanks, and none of the characters
// that turn the direction of writing, with which an address can look like
// another.
func checkLocal(local string) error {
	if len(local) > maxLocal {
		return fmt.Errorf("has more than %d bytes before the @", maxLocal)
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return errors.New("has a misplaced dot before the @")
		}
		for _, r := range atom {
			switch {
			case r >= utf8.RuneSelf && !unicode.IsPrint(r):
				return errors.New("has a character before the @ that cannot be seen")
			case r < utf8.RuneSelf && !IsAtom(byte(r)):
				return errors.New("has a quoted or forbidden character before the @")
			}
		}
	}
	return nil
}

// IsASCII reports whether s needs no SMTPUTF8.
func IsASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// IsAtom reports whether c is atext of RFC 5322.
func IsAtom(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// ASCIIDomain returns the domain in lower case and punycode. go-mail and most
// servers do not do it: b@bücher.test would go out as raw bytes.
func ASCIIDomain(domain string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil || ascii == "" || len(ascii) > 253 {
		return "", errors.New("has no valid domain")
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > maxLabel {
			return "", errors.New("has no valid domain")
		}
	}
	return ascii, nil
}
