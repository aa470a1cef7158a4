package secrets

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Defaults and limits of smtp secrets.
const (
	defaultSMTPPort       = 587 // submission, RFC 6409
	implicitTLSPort       = 465 // submissions, RFC 8314: the only port where the default is implicit
	defaultMaxConnections = 4   // providers answer 421 above a few
	limitMaxConnections   = 100
	limitPerSecond        = 10_000
)

func parseSMTP(text string) (SMTP, error) {
	s := SMTP{}
	var port, conns *int
	port, conns = new(int), new(int)
	*port, *conns = defaultSMTPPort, defaultMaxConnections
	err := decodeObject(text, []field{
		{name: "smtp_server", required: true, to: &s.Server},
		{name: "smtp_port", to: port},
		{name: "username", required: true, to: &s.Username},
		{name: "password", required: true, to: &s.Password},
		{name: "tls", to: &s.TLS},
		{name: "auth", to: &s.Auth},
		{name: "ca_pem", max: maxStructured, to: &s.CAPEM},
		{name: "server_name", to: &s.ServerName},
		{name: "from", to: &s.From},
		{name: "max_connections", to: conns},
		{name: "messages_per_second", to: &s.MessagesPerSecond},
	})
	if err != nil {
		return SMTP{}, err
	}
	s.Port, s.MaxConnections = *port, *conns
	s.fill()
	return s, s.check()
}

// fill puts in what depends on other fields.
func (s *SMTP) fill() {
	if s.TLS == "" {
		s.TLS = "starttls"
		if s.Port == implicitTLSPort { // STARTTLS never works there
			s.TLS = "implicit"
		}
	}
	if s.Auth == "" {
		s.Auth = "auto"
	}
}

func (s *SMTP) check() error {
	auths := []string{"auto", "plain", "login", "cram-md5", "scram-sha-256", "xoauth2"}
	switch {
	case !validHost(s.Server):
		return invalid("field \"smtp_server\" is not a host name or IP address (an international name in its xn-- form)")
	case s.Port < 1 || s.Port > 65535:
		return invalid("field \"smtp_port\" is not 1 to 65535")
	case len(s.Password.Reveal()) < minCredential:
		return invalid("field \"password\" is shorter than %d characters", minCredential)
	case s.TLS != "starttls" && s.TLS != "implicit":
		return invalid("field \"tls\" is not starttls or implicit; mail without TLS is not sent")
	case !slices.Contains(auths, s.Auth):
		return invalid("field \"auth\" is not one of %s", strings.Join(auths, ", "))
	case s.ServerName != "" && !validHost(s.ServerName):
		return invalid("field \"server_name\" is not a host name or IP address")
	case s.From != "" && !validAddress(s.From):
		return invalid("field \"from\" is not a mail address")
	case s.MaxConnections < 1 || s.MaxConnections > limitMaxConnections:
		return invalid("field \"max_connections\" is not 1 to %d", limitMaxConnections)
	case s.MessagesPerSecond < 0 || s.MessagesPerSecond > limitPerSecond:
		return invalid("field \"messages_per_second\" is not 0 to %d", limitPerSecond)
	case s.CAPEM != "" && !validCertificates(s.CAPEM):
		return invalid("field \"ca_pem\" is not one or more certificates in PEM")
	}
	return nil
}

// smtpMeta is what an admin sees: where the login goes. The user name is not
// among it, being half of the login.
func smtpMeta(s SMTP) map[string]string {
	m := map[string]string{"server": s.Server, "port": strconv.Itoa(s.Port), "tls": s.TLS, "auth": s.Auth}
	if s.ServerName != "" {
		m["server_name"] = s.ServerName
	}
	if s.From != "" {
		m["from"] = s.From
	}
	if s.CAPEM != "" {
		sum := sha256.Sum256([]byte(s.CAPEM))
		m["ca_sha256"] = hex.EncodeToString(sum[:])
	}
	return m
}

// hostLabel: letters, digits, hyphens inside (RFC 1123, section 2.1); the
// underscore occurs in names of containers.
var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// validHost reports whether s is a host name of at most 253 characters or an
// IP address without zone.
func validHost(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Zone() == ""
	}
	name := strings.TrimSuffix(s, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	return !slices.ContainsFunc(strings.Split(name, "."), func(l string) bool { return !hostLabel.MatchString(l) })
}

func validAddress(s string) bool {
	_, err := mail.ParseAddress(s)
	return err == nil
}

func validCertificates(text string) bool {
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return n > 0 && strings.TrimSpace(string(rest)) == ""
		}
		if block.Type != "CERTIFICATE" {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		n++
	}
}
