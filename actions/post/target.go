package post

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/sealpost/sealpost/actions"
)

// maxURL is the longest URL in bytes, filled. Many servers take 8,000 (RFC 9110,
// section 4.1).
const maxURL = 8000

// setURL checks the template and fills its path and query. Scheme, host and port
// are as they stand in the job: a value must not lead a token elsewhere. The
// errors hold nothing of the URL.
func (p *plan) setURL(template string, vars actions.Variables) error {
	if err := actions.CheckLine(template); err != nil {
		return err
	}
	if err := noSecret(template); err != nil {
		return err
	}
	scheme, rest, ok := strings.Cut(template, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return errors.New("want one that begins with https:// (or http://, for addresses that SEALPOST_ALLOW_NET names)")
	}
	if strings.ContainsAny(template, " \\") {
		return errors.New("has a blank or a backslash")
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	host, err := authority(scheme, rest[:end])
	if err != nil {
		return err
	}
	target, _, _ := strings.Cut(rest[end:], "#") // a fragment is for browsers
	target, err = vars.Fill(target, actions.URL)
	if err != nil {
		return err
	}
	p.origin = scheme + "://" + host
	p.url = p.origin + target
	return checkTarget(p.url, host)
}

// checkTarget checks the filled URL.
func checkTarget(filled, host string) error {
	if len(filled) > maxURL {
		return fmt.Errorf("is longer than %d bytes with its variables filled", maxURL)
	}
	u, err := url.Parse(filled)
	if err != nil || u.Host != host || u.User != nil || u.Opaque != "" {
		return errors.New("is not a URL")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." { // receivers resolve them: a value could choose another path
			return errors.New("has a step . or .. in its path")
		}
	}
	return nil
}

// authority checks what stands between :// and the path, and returns host and
// port in the form of DNS. The port that the scheme has anyway is left off, so
// that one place has one lane.
func authority(scheme, text string) (string, error) {
	switch {
	case strings.Contains(text, "@"):
		return "", errors.New("has a user or a password: put the whole value of the header Authorization into a secret and name it in \"header_secrets\"")
	case strings.Contains(text, "$"):
		return "", errors.New("has a variable before its path: scheme, host and port cannot vary")
	case text == "":
		return "", errors.New("has no host")
	}
	u, err := url.Parse("//" + text)
	if err != nil || u.Host != text || strings.Contains(text, "%") {
		return "", errors.New("has no valid host")
	}
	host, port := u.Hostname(), u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return "", errors.New("has no valid port")
	}
	if port == "443" && scheme == "https" || port == "80" && scheme == "http" {
		port = ""
	}
	host, err = canonicalHost(host)
	if err != nil {
		return "", err
	}
	switch {
	case port != "":
		return net.JoinHostPort(host, port), nil
	case strings.Contains(host, ":"):
		return "[" + host + "]", nil
	}
	return host, nil
}

// canonicalHost returns an IP address as netip writes it, or a name in lower
// case and punycode.
func canonicalHost(host string) (string, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", errors.New("has no valid host") // err would quote it
		}
		name = ascii
	}
	odd := strings.ContainsFunc(name, func(r rune) bool { // names of containers have underscores
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
	if name == "" || len(name) > 253 || odd || strings.Contains("."+name+".", "..") {
		return "", errors.New("has no valid host")
	}
	return name, nil
}
