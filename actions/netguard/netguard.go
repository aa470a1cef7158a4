// Package netguard decides which addresses senders may connect to.
//
// A job, or a secret that a job names, says where a sender connects. Without a
// guard it could name this machine, the LAN or the metadata service of a cloud.
// The check runs in [net.Dialer.Control], after the name was resolved and for
// each address that is tried, so that a name whose address changes between the
// check and the connection (DNS rebinding) gains nothing.
package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// ErrBlocked says that the address is private or special and that
// SEALPOST_ALLOW_NET does not name it.
var ErrBlocked = errors.New("netguard: blocked")

// DialTimeout is how long [Guard.DialContext] waits for a connection when its
// context has no earlier end. 20 s leaves room for two lost SYN packets, which
// Linux repeats after 1, 3 and 7 s.
const DialTimeout = 20 * time.Second

// Guard admits the public internet and what its operator allowed besides. A
// nil Guard admits the public internet only. It does not change after Parse
// and may be used by several goroutines.
type Guard struct {
	prefixes []netip.Prefix
	ports    map[netip.AddrPort]bool
	names    map[string]bool // "host:port", lower case
	resolver *net.Resolver   // nil: the system's
}

// public is the rule for everything that was not allowed by name: no address
// of the special purpose registries of IANA, any port, TCP only.
var public = ssrf.New(ssrf.WithAnyPort())

// Parse reads the form of SEALPOST_ALLOW_NET: entries with commas between, each
// a CIDR (10.1.0.0/16), an address (10.1.2.3), an address with a port
// (10.1.2.3:25, [fd00::1]:25) or a host name with a port (mail.lan:25). Empty
// entries are skipped. The error names all bad entries, not only the first.
func Parse(list string) (*Guard, error) {
	g := &Guard{ports: map[netip.AddrPort]bool{}, names: map[string]bool{}}
	var mistakes []error
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if err := g.allow(entry); err != nil {
			mistakes = append(mistakes, fmt.Errorf("entry %q: %w", entry, err))
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return g, nil
}

// allow adds one entry.
func (g *Guard) allow(entry string) error {
	if prefix, err := netip.ParsePrefix(entry); err == nil {
		if prefix.Masked() != prefix {
			return fmt.Errorf("has bits behind the mask; did you mean %s?", prefix.Masked())
		}
		g.prefixes = append(g.prefixes, prefix)
		return nil
	}
	if strings.Contains(entry, "/") {
		return errors.New("is not a CIDR such as 10.1.0.0/16")
	}
	if addr, err := netip.ParseAddr(entry); err == nil {
		addr = addr.Unmap().WithZone("")
		g.prefixes = append(g.prefixes, netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	if ap, err := netip.ParseAddrPort(entry); err == nil && ap.Port() != 0 {
		g.ports[unmap(ap)] = true
		return nil
	}
	return g.allowName(entry)
}

// allowName adds a host name with its port.
func (g *Guard) allowName(entry string) error {
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		return errors.New("wants a CIDR, an address, or host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("has a port that is not a number from 1 to 65535")
	}
	if !isHostName(host) {
		return errors.New("has a host that is neither a name nor an address")
	}
	g.names[strings.ToLower(strings.TrimSuffix(host, ".")+":"+port)] = true
	return nil
}

// isHostName reports whether s has only the letters of host names and is not
// an address that was written badly, such as 10.0.0.256.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	letter := false
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z':
			letter = true
		case r >= '0' && r <= '9', r == '-', r == '.', r == '_':
		default:
			return false
		}
	}
	return letter
}

// Check reports whether a connection to address, an IP address with a port,
// may be made. network is "tcp4" or "tcp6". The error is [ErrBlocked] with the
// reason and what an operator can do.
func (g *Guard) Check(network, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is not an address with a port", ErrBlocked, address)
	}
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %q", ErrBlocked, network)
	}
	ap = unmap(ap)
	if g.allowed(ap) {
		return nil
	}
	if public.SafeAddr(ap.Addr()) == nil {
		return nil
	}
	return fmt.Errorf("%w: %s is a private or special address; an operator can allow it: SEALPOST_ALLOW_NET=%s",
		ErrBlocked, ap, ap)
}

// allowed reports whether the operator named this address.
func (g *Guard) allowed(ap netip.AddrPort) bool {
	if g == nil {
		return false
	}
	if g.ports[ap] {
		return true
	}
	for _, p := range g.prefixes {
		if p.Contains(ap.Addr()) {
			return true
		}
	}
	return false
}

// Dialer returns a dialer whose every connection is checked. It knows addresses
// only, so that entries with a host name do not count; see [Guard.DialContext].
// timeout limits one connection, 0 means [DialTimeout].
func (g *Guard) Dialer(timeout time.Duration) *net.Dialer {
	if timeout <= 0 {
		timeout = DialTimeout
	}
	return &net.Dialer{Timeout: timeout, Resolver: g.lookup(), Control: func(network, address string, _ syscall.RawConn) error {
		return g.Check(network, address)
	}}
}

// WithResolver returns a guard with the same rules that asks r for names.
func (g *Guard) WithResolver(r *net.Resolver) *Guard {
	other := Guard{resolver: r}
	if g != nil {
		other = *g
		other.resolver = r
	}
	return &other
}

// lookup returns the resolver, nil for the system's.
func (g *Guard) lookup() *net.Resolver {
	if g == nil {
		return nil
	}
	return g.resolver
}

// DialContext connects to address, a host or IP address with a port. It has
// the signature of http.Transport.DialContext. Errors: [ErrBlocked], wrapped
// in *net.OpError, and those of [net.Dialer.DialContext].
//
// A host:port that the operator allowed by name may resolve to a private
// address, but not to a link-local, multicast or unspecified one: a name that
// somebody else controls must not lead to a cloud's metadata service.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return g.dial(ctx, network, address, g.Check)
}

// DialAllowed is DialContext for what would be too much of a risk on the
// internet, such as a line without TLS: only what the operator allowed by
// address or by name is reached, and no public address besides.
func (g *Guard) DialAllowed(ctx context.Context, network, address string) (net.Conn, error) {
	return g.dial(ctx, network, address, func(_, address string) error {
		ap, err := netip.ParseAddrPort(address)
		if err == nil && g.allowed(unmap(ap)) {
			return nil
		}
		return fmt.Errorf("%w: only addresses that an operator allowed can be reached in this way: SEALPOST_ALLOW_NET=%s", ErrBlocked, address)
	})
}

// dial connects to address if check admits what its name stands for, or the
// operator allowed the name.
func (g *Guard) dial(ctx context.Context, network, address string, check func(network, address string) error) (net.Conn, error) {
	if writtenAsNumber(address) {
		return nil, fmt.Errorf("%w: the host is a number and not an address", ErrBlocked)
	}
	named := g.named(address)
	d := g.Dialer(DialTimeout)
	d.Control = func(network, address string, _ syscall.RawConn) error {
		if ap, err := netip.ParseAddrPort(address); named && err == nil && ordinary(unmap(ap).Addr()) {
			return nil
		}
		return check(network, address)
	}
	return d.DialContext(ctx, network, address)
}

// writtenAsNumber reports a host such as 2130706433, 0x7f.1, 127.1 or 010.0.0.1:
// old resolvers take them for addresses, and no name of DNS ends in a number
// (RFC 3696, section 2; the URL standard of WHATWG refuses them as well).
func writtenAsNumber(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.TrimRight(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// named reports whether the operator allowed this host:port by name.
func (g *Guard) named(address string) bool {
	if g == nil {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	return g.names[strings.ToLower(strings.TrimSuffix(host, ".")+":"+port)]
}

// ordinary reports whether one machine could have the address as its own.
func ordinary(a netip.Addr) bool {
	return !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified()
}

// unmap turns ::ffff:1.2.3.4 into 1.2.3.4, which is where it would connect, and
// drops the zone, which no rule looks at.
func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
