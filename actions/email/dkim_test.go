package email

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	verifier "github.com/emersion/go-msgauth/dkim"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// rsaKey is made once: it takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// pemOf writes a key as PKCS#8.
func pemOf(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// record is the TXT record with the public half.
func record(t testing.TB, key crypto.Signer) string {
	t.Helper()
	if public, ok := key.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// keep stores a text secret.
func (v *vault) keep(key, value string) {
	v.texts = append(v.texts, secrets.Text{
		Ref: secrets.Ref{ID: fmt.Sprintf("%024x", 0xabc+len(v.texts)), Key: key, Type: secrets.TypeText, Version: 7}, Value: redact.New(value),
	})
}

// signedBy are the fields of a signature.
func signedBy(more fields) fields {
	f := fields{"dkim": fields{"domain": "Sender.TEST", "selector": "s1", "secret": "DKIM"}}
	for k, v := range more {
		f[k] = v
	}
	return f
}

// verify checks the one signature of a mail as a receiver does, with another
// library.
func verify(t testing.TB, raw []byte, txt string) *verifier.Verification {
	t.Helper()
	asked := ""
	list, err := verifier.VerifyWithOptions(bytes.NewReader(raw), &verifier.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		asked = name
		return []string{txt}, nil
	}})
	if err != nil || len(list) != 1 {
		t.Fatalf("got %d signatures, %v\n%s", len(list), err, raw)
	}
	if asked != "s1._domainkey.sender.test" || list[0].Domain != "sender.test" {
		t.Errorf("asked for %s, domain %s", asked, list[0].Domain)
	}
	return list[0]
}

func TestSignedMailsVerify(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}))
	mails := map[string]fields{
		"plain": nil,
		"everything": {"to": "Grüße <b@receiver.test>, c@bücher.test", "cc": "d@receiver.test", "reply_to": "e@receiver.test", "subject": "Grüße  =?utf-8?q?x?= " + strings.Repeat("ä ", 200),
			"message": "a  b \t\r\n\r\n.\r\n\r\n\r\n", "html": "<b>x</b>", "attachments": []any{attachment("ä.bin", "\x00\xff", "")},
			"headers": map[string]string{"X-Order": "1", "References": "<a@x.test>"}, "list_unsubscribe": []string{"https://receiver.test/u", "mailto:u@receiver.test"}},
		"many recipients": {"to": strings.Repeat("Somebody With A Name <somebody@receiver.test>, ", 60)},
	}
	for _, k := range []struct {
		name, pem string
		key       crypto.Signer
	}{
		{"RSA in PKCS#1", pkcs1, rsaKey()}, {"RSA in PKCS#8", pemOf(t, rsaKey()), rsaKey()}, {"Ed25519", pemOf(t, edKey), edKey},
		{"line ends as \\n", strings.ReplaceAll(pemOf(t, edKey), "\n", `\n`), edKey},
	} {
		for name, more := range mails {
			t.Run(k.name+", "+name, func(t *testing.T) {
				s, v := startSink(t, nil)
				v.keep("DKIM", k.pem)
				reply, err := do(t, action(t, v, 0), job(t, "1", signedBy(more)))
				if err != nil || reply.Secret != v.login.Ref.ID || reply.SecretVersion != 1 {
					t.Fatalf("got %+v %v", reply, err)
				}
				raw := s.Messages()[0].Raw
				got := verify(t, raw, record(t, k.key))
				if got.Err != nil {
					t.Fatalf("%v\n%s", got.Err, raw)
				}
				for _, h := range []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "List-Unsubscribe", "List-Unsubscribe-Post", "Cc", "Reply-To"} {
					there := bytes.Contains(raw, []byte("\r\n"+h+":"))
					if there != slices.Contains(got.HeaderKeys, h) {
						t.Errorf("%s: in the mail %v, signed %v", h, there, got.HeaderKeys)
					}
				}
				// A receiver sees changes.
				for _, change := range []struct{ old, new string }{{"Subject:", "Subject: x"}, {"To:", "To: x@y.test,"}, {"\r\n\r\n", "\r\n\r\nx"}, {"From:", "From: x@y.test\r\nFrom:"}} {
					if forged := bytes.Replace(raw, []byte("\r\n"+change.old), []byte("\r\n"+change.new), 1); verify(t, forged, record(t, k.key)).Err == nil && !bytes.Equal(forged, raw) {
						t.Errorf("%q is not seen", change.new)
					}
				}
			})
		}
	}
}

func TestTheKeyIsOpenedForEachMailAndNotKept(t *testing.T) {
	s, v := startSink(t, nil)
	v.keep("DKIM", pemOf(t, rsaKey()))
	a := action(t, v, 0)
	for i := range 3 {
		if _, err := do(t, a, job(t, fmt.Sprint(i), signedBy(nil))); err != nil {
			t.Fatal(err)
		}
	}
	if v.keys != 3 || v.opens != 1 || s.Counts().Connections != 1 {
		t.Errorf("the key was opened %d times, the login %d times", v.keys, v.opens)
	}
	if _, err := do(t, a, job(t, "plain", nil)); err != nil || v.keys != 3 {
		t.Errorf("a plain mail: %v, the key was opened %d times", err, v.keys)
	}
}

func TestKeysThatCannotSign(t *testing.T) {
	weak := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("canary")}))
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short := &rsa.PrivateKey{}
	t.Setenv("GODEBUG", "rsa1024min=0")
	if short, err = rsa.GenerateKey(rand.Reader, 512); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		value   string
		change  func(*vault)
		outcome string
		want    string
	}{
		"no PEM":            {"canary-no-key", nil, "dead", "no private key in PEM"},
		"half a key":        {pemOf(t, rsaKey())[:400], nil, "dead", "no private key in PEM"},
		"nothing inside":    {weak, nil, "dead", "no private key in PEM"},
		"a public key":      {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil, "dead", "no private key in PEM"},
		"another algorithm": {pemOf(t, curve), nil, "dead", "no private key in PEM"},
		"512 bits":          {pemOf(t, short), nil, "dead", "no private key in PEM"},
		"not there":         {"", func(v *vault) { v.texts = nil }, "dead", "open secret \"DKIM\""},
		"another type":      {"x", func(v *vault) { v.texts[0].Ref.Type = secrets.TypeSQS }, "dead", "of type text"},
		"the login":         {"x", func(v *vault) { v.texts = nil; v.login.Ref.Key = "DKIM" }, "dead", "of type text"},
		"seal broken":       {"x", func(v *vault) { v.textErr = secrets.ErrSealBroken }, "dead", "open secret \"DKIM\""},
		"sealed":            {"x", func(v *vault) { v.textErr = secrets.ErrSealed }, "retry", "open secret \"DKIM\""},
	} {
		t.Run(name, func(t *testing.T) {
			s, v := startSink(t, nil)
			v.keep("DKIM", tt.value)
			j := job(t, "1", signedBy(fields{"smtp_secret": v.login.Ref.ID}))
			if tt.change != nil {
				tt.change(v)
			}
			reply, err := do(t, action(t, v, 0), j)
			if got := outcome(errors.Unwrap(err)); outcome(err) != tt.outcome && got != tt.outcome {
				t.Errorf("got %s, want %s", outcome(err), tt.outcome)
			}
			if !strings.Contains(err.Error(), `field "dkim.secret": `) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if reply.Certainty != queue.Rejected || reply.Rule == "" || reply.SecretVersion != 1 || s.Counts().Messages != 0 {
				t.Errorf("got %+v and %d mails", reply, s.Counts().Messages)
			}
			if shown := fmt.Sprintf("%+v %#v %v", reply, err, err); len(tt.value) > 1 && strings.Contains(shown, tt.value[:len(tt.value)/2]) || strings.Contains(shown, "canary") {
				t.Errorf("the value shows: %s", shown)
			}
		})
	}
}

func TestFieldsOfASignatureAreChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		field string
		value any
		want  string
	}{
		"no domain":             {"domain", "", `"dkim": domain`},
		"an address as domain":  {"domain", "canary@x.test", `"dkim": domain`},
		"a tag in the domain":   {"domain", "canary.test; l=0", `"dkim": domain`},
		"no selector":           {"selector", "", `"dkim": selector`},
		"a tag in the selector": {"selector", "canary; l=0", `"dkim": selector`},
		"a line end":            {"selector", "canary\r\nX: y", `"dkim": selector`},
		"no secret":             {"secret", "", `"dkim": secret`},
		"a key":                 {"secret", "-----BEGIN PRIVATE KEY-----canary", `"dkim": secret`},
		"null":                  {"secret", nil, `"dkim": field "secret": want a text`},
		"capital letters":       {"Secret", "canary", `"dkim": unknown field "Secret"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := signedBy(nil)
			f["dkim"].(fields)[tt.field] = tt.value
			_, err := decode(job(t, "1", f))
			checkRefused(t, err, tt.want)
		})
	}
	_, err := decode(job(t, "1", fields{"dkim": "canary"}))
	checkRefused(t, err, `"dkim": want an object, got a text`)
	_, err = decode(job(t, "1", fields{"dkim": fields{}}))
	checkRefused(t, err, `"dkim": domain`)
}

func TestReachNamesBothSecrets(t *testing.T) {
	v := &vault{}
	a := action(t, v, 0)
	for want, more := range map[string]fields{"MAIL": nil, "MAIL DKIM": signedBy(nil)} {
		w, err := a.Prepare(job(t, "1", more))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.(*work).SecretRefs(), " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
