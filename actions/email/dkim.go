package email

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/wneessen/go-mail"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/mailaddress"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// signature says by whom a mail is signed (RFC 6376). The key stays in the store
// until the mail is built.
type signature struct {
	domain, selector string
	secret           string // id or key of a text secret with a private key, "" for no signature
}

// selectorPattern is what stands before ._domainkey. in DNS (RFC 6376, section
// 3.1); names in use have underscores too.
var selectorPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?){0,3}$`)

// DKIM is the field "dkim" of a job. All of it is needed.
type DKIM struct {
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
	Secret   string `json:"secret"` // id or key of a text secret that holds a private key in PEM
}

// readDKIM checks the field.
func (p *Params) readDKIM() (signature, error) {
	if p.DKIM == nil {
		return signature{}, nil
	}
	const place = "field \"dkim\""
	raw, err := json.Marshal(p.DKIM)
	if err != nil {
		return signature{}, errors.New(place + ": not valid JSON")
	}
	var d DKIM
	if err := actions.Decode(place, raw, &d); err != nil {
		return signature{}, err
	}
	domain, err := mailaddress.ASCIIDomain(d.Domain)
	switch {
	case err != nil:
		return signature{}, errors.New(place + ": domain: want the domain that signs, such as example.com")
	case !selectorPattern.MatchString(d.Selector):
		return signature{}, errors.New(place + ": selector: want what stands before ._domainkey in DNS, such as s1")
	case !actions.IsSecretRef(d.Secret):
		return signature{}, errors.New(place + ": secret: want the id or the key of a secret of type text that holds a private key")
	}
	return signature{domain: domain, selector: d.Selector, secret: d.Secret}, nil
}

// keyError is a key that cannot be had or cannot sign.
type keyError struct{ err error }

// Error says what is wrong with the key, without it.
func (e *keyError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *keyError) Unwrap() error { return e.err }

// errKey does not say more: the errors of parsers quote what they read.
var errKey = errors.New("the secret's value is no private key in PEM: want RSA of 1024 bits or more (PKCS#1 or PKCS#8), or Ed25519 (PKCS#8)")

// findKey looks the key's secret up, which is cheap and ends jobs that name a
// wrong one before a server is asked. The zero Ref is for mails that are not
// signed.
func (w *work) findKey(ctx context.Context) (secrets.Ref, error) {
	if w.plan.dkim.secret == "" {
		return secrets.Ref{}, nil
	}
	ref, err := w.action.cfg.Vault.Lookup(ctx, w.plan.dkim.secret)
	if err == nil && ref.Type != secrets.TypeText {
		err = secrets.ErrWrongType
	}
	if err != nil {
		return secrets.Ref{}, &keyError{err}
	}
	return ref, nil
}

// openKey opens the key and makes the signer of one mail, which is used once
// and not kept. It returns nil for mails that are not signed.
func (w *work) openKey(ctx context.Context, ref secrets.Ref, use secrets.Use) (*dkim.SignOptions, error) {
	d := w.plan.dkim
	if d.secret == "" {
		return nil, nil
	}
	opened, err := w.action.cfg.Vault.OpenText(ctx, ref, use)
	if err != nil {
		return nil, &keyError{err}
	}
	key, err := parseKey(opened)
	if err != nil {
		return nil, &keyError{err}
	}
	return &dkim.SignOptions{
		Domain: d.domain, Selector: d.selector, Signer: key, HeaderKeys: w.plan.signed(),
		// Relays change blanks and folding.
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	}, nil
}

// sign puts the signature before a mail. go-mail signs too, but folds a list of
// headers over 76 characters in the middle of a word, and no receiver can verify
// the result (v0.8.1, internal/dkim/dkim_header.go).
func sign(raw []byte, with *dkim.SignOptions) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(raw) + 1024)
	if err := dkim.Sign(&b, bytes.NewReader(raw), with); err != nil {
		return nil, errors.New("build mail: the mail cannot be signed") // err may hold headers
	}
	return b.Bytes(), nil
}

// signed are the headers that the signature covers: those that say what the
// mail is (RFC 6376, section 5.4.1), as far as it has them.
func (pl *plan) signed() []string {
	// Some once more, so that a second one breaks the signature (RFC 6376, section 8.15).
	names := []string{"From", "From", "To", "Subject", "Subject", "Date", "Date", "Message-ID", "MIME-Version", "Content-Type"}
	for _, h := range []struct {
		name  string
		there bool
	}{
		{"To", len(pl.to) > 0}, {"Cc", len(pl.cc) > 0}, {"Reply-To", len(pl.replyTo) > 0},
		{"List-Unsubscribe", len(pl.unsubscribe) > 0}, {"List-Unsubscribe-Post", pl.oneClick}, // RFC 8058, section 4, wants both
	} {
		if h.there {
			names = append(names, h.name)
		}
	}
	for _, h := range pl.headers {
		if !strings.HasPrefix(h.name, "X-") { // relays change those
			names = append(names, h.name)
		}
	}
	return names
}

// parseKey reads the private key of a secret. Environments often hold line ends
// as \n, and so may the secret.
func parseKey(opened secrets.Text) (crypto.Signer, error) {
	text := opened.Value.Reveal()
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, `\n`, "\n")
	}
	key, err := mail.PrivKeyFromPEM([]byte(text))
	if err != nil {
		return nil, errKey
	}
	// RFC 8301, section 3.2: verifiers do not count shorter keys.
	if k, ok := key.(*rsa.PrivateKey); ok && k.N.BitLen() < 1024 {
		return nil, errKey
	}
	return key, nil
}

// badKey is the outcome of a job whose key cannot be had. Nothing parks: ref,
// the login that would have been used, is not to blame.
func (w *work) badKey(ref secrets.Ref, err *keyError) (queue.Reply, error) {
	reply, out := actions.SecretError(w.plan.dkim.secret, secrets.TypeText, err.err)
	if errors.Is(err, errKey) {
		reply = queue.Reply{Stage: "secret", Rule: "dkim-key", Reason: string(actions.Config), Text: errKey.Error(), Certainty: queue.Rejected}
		out = queue.Permanent(errKey)
	}
	reply.Secret, reply.SecretVersion = ref.ID, ref.Version
	return reply, inField("dkim.secret", out)
}

// inField puts the name of a field before an outcome and keeps its type.
func inField(name string, out error) error {
	if dead, ok := errors.AsType[*queue.PermanentError](out); ok {
		return queue.Permanent(fmt.Errorf("field %q: %w", name, dead.Err))
	}
	return fmt.Errorf("field %q: %w", name, out)
}
