package email

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"github.com/sealpost/sealpost/secrets"
)

// Names of login mechanisms as servers offer them.
const (
	mechPlain   = "PLAIN"
	mechLogin   = "LOGIN"
	mechCRAM    = "CRAM-MD5"
	mechSCRAM   = "SCRAM-SHA-256"
	mechXOAUTH2 = "XOAUTH2"
)

// automatic is the order of auth "auto": SCRAM does not show the password to
// the server; under TLS the plain ones come next, before CRAM-MD5, for which
// the server must keep the password readable and which many offer but cannot.
// XOAUTH2 takes a token and not a password, so it must be asked for.
var automatic = []string{mechSCRAM, mechPlain, mechLogin, mechCRAM}

// mechanism picks the login for a secret out of what the server offers.
// offered is the parameter of the AUTH line in its EHLO reply.
func mechanism(login secrets.SMTP, host, offered string) (smtp.Auth, error) {
	list := strings.Fields(strings.ToUpper(offered))
	wanted := automatic
	if kind := strings.ToUpper(login.Auth); kind != "" && kind != "AUTO" {
		wanted = []string{kind}
	}
	for _, mech := range wanted {
		if !slices.Contains(list, mech) {
			continue
		}
		password := login.Password.Reveal()
		switch mech {
		case mechPlain:
			return smtp.PlainAuth("", login.Username, password, host, false), nil
		case mechLogin:
			return smtp.LoginAuth(login.Username, password, host, false), nil
		case mechCRAM:
			return smtp.CRAMMD5Auth(login.Username, password), nil
		case mechSCRAM:
			return &boundedSCRAM{Auth: smtp.ScramSHA256Auth(login.Username, password)}, nil
		case mechXOAUTH2:
			return smtp.XOAuth2Auth(login.Username, password), nil
		}
	}
	return nil, errNoMechanism
}

// maxIterations bounds the work that a server can ask of us in SCRAM: PBKDF2
// cannot be cancelled, and 2^31 rounds take a quarter of an hour. Postfix with
// Cyrus asks for 4096, others for up to 310,000.
const maxIterations = 1_000_000

// boundedSCRAM refuses absurd iteration counts before any work is done.
type boundedSCRAM struct{ smtp.Auth }

// Next checks the server's first message and passes it on.
func (b *boundedSCRAM) Next(fromServer []byte, more bool) ([]byte, error) {
	for part := range bytes.SplitSeq(fromServer, []byte(",")) {
		count, found := bytes.CutPrefix(part, []byte("i="))
		if !found || !more {
			continue
		}
		if n, err := strconv.Atoi(string(count)); err != nil || n < 1 || n > maxIterations {
			return nil, errMechanism
		}
	}
	return b.Auth.Next(fromServer, more)
}
