package secrets

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xaesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/sealpost/sealpost/secrets/redact"
)

var (
	// ErrKMSNotYet says that the master key was given as the address of a key
	// management service, which this release does not talk to.
	ErrKMSNotYet = errors.New("secrets: keys in a key management service are not supported yet; use SEALPOST_MASTER_KEY_FILE")
	// ErrMasterKey says that the master key cannot be used; the text around it
	// says why and never quotes it.
	ErrMasterKey = errors.New("secrets: master key")
)

const (
	masterKeySize = 32 // bytes: AES-256
	xaesSaltSize  = 12 // bytes; with GCM's own 12 a nonce of 192 bits, as Tink's XAES256GCM192BitNonce
	checkSize     = 4  // bytes of a key's check value; tells keys apart, gives nothing of them away
)

// KEK is the master key: it wraps the keyring and nothing else. It is never
// stored in Redis. It implements tink.AEAD. Make one with LoadKEK.
type KEK struct {
	aead  tink.AEAD
	check string
}

var _ tink.AEAD = (*KEK)(nil)

// Encrypt seals plaintext and binds it to associatedData.
func (k *KEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return k.aead.Encrypt(plaintext, associatedData)
}

// Decrypt opens what Encrypt sealed with the same associatedData.
func (k *KEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.aead.Decrypt(ciphertext, associatedData)
}

// Check returns 8 hex digits that tell this master key from others. They are
// derived by HKDF, so they may be shown and stored.
func (k *KEK) Check() string { return k.check }

// Format prints the check value, whatever the verb.
func (k *KEK) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "master key "+k.check) }

// LoadKEK reads a master key: base64 of 32 bytes (standard or URL alphabet,
// padded or not, white space around it ignored) or a Tink AEAD keyset in JSON,
// not encrypted. Errors: ErrKMSNotYet for the URI of a key management service,
// ErrMasterKey for the rest; none quotes the input.
func LoadKEK(raw redact.String) (*KEK, error) {
	text := strings.TrimSpace(raw.Reveal())
	switch {
	case text == "":
		return nil, fmt.Errorf("%w: empty; `head -c 32 /dev/urandom | base64 > master.key` makes one", ErrMasterKey)
	case isKMS(text):
		return nil, ErrKMSNotYet
	case strings.HasPrefix(text, "{"):
		return kekFromKeyset(text)
	}
	return kekFromBase64(text)
}

// GenerateMasterKey returns a new master key as base64 of 32 random bytes.
func GenerateMasterKey() redact.String {
	key := make([]byte, masterKeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	defer clear(key)
	return redact.New(base64.StdEncoding.EncodeToString(key))
}

func isKMS(text string) bool {
	for _, scheme := range []string{"aws-kms://", "gcp-kms://", "hcvault://"} {
		if strings.HasPrefix(text, scheme) {
			return true
		}
	}
	return false
}

func kekFromBase64(text string) (*KEK, error) {
	std := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(text)
	key, err := base64.RawStdEncoding.DecodeString(std)
	if err != nil { // err would tell a position in the key
		return nil, fmt.Errorf("%w: neither base64 nor a Tink keyset in JSON", ErrMasterKey)
	}
	defer clear(key)
	if len(key) != masterKeySize {
		return nil, fmt.Errorf("%w: decodes to %d bytes, want %d", ErrMasterKey, len(key), masterKeySize)
	}
	if bytes.Count(key, key[:1]) == len(key) {
		return nil, fmt.Errorf("%w: all bytes are the same; that is no random key", ErrMasterKey)
	}
	handle, err := rawKeyset(key)
	if err != nil {
		return nil, fmt.Errorf("%w: not usable", ErrMasterKey)
	}
	return newKEK(handle, key)
}

// rawKeyset puts a raw key into a keyset of its own, so that a master key of
// either form is used by the same code.
func rawKeyset(raw []byte) (*keyset.Handle, error) {
	params, err := xaesgcm.NewParameters(xaesgcm.VariantNoPrefix, xaesSaltSize)
	if err != nil {
		return nil, err
	}
	key, err := xaesgcm.NewKey(secretdata.NewBytesFromData(raw, insecuresecretdataaccess.Token{}), 0, params)
	if err != nil {
		return nil, err
	}
	m := keyset.NewManager()
	id, err := m.AddKey(key)
	if err != nil {
		return nil, err
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, err
	}
	return m.Handle()
}

func kekFromKeyset(text string) (*KEK, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(strings.NewReader(text)))
	if err != nil { // the JSON parser's text quotes the input
		return nil, fmt.Errorf("%w: not a Tink keyset in clear JSON", ErrMasterKey)
	}
	set := insecurecleartextkeyset.KeysetMaterial(handle)
	for _, key := range set.GetKey() {
		if key.GetKeyId() == set.GetPrimaryKeyId() && key.GetStatus() == tinkpb.KeyStatusType_ENABLED {
			return newKEK(handle, key.GetKeyData().GetValue())
		}
	}
	return nil, fmt.Errorf("%w: the Tink keyset has no enabled primary key", ErrMasterKey)
}

func newKEK(handle *keyset.Handle, material []byte) (*KEK, error) {
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("%w: the Tink keyset is not one for AEAD", ErrMasterKey)
	}
	check, err := hkdf.Key(sha256.New, material, nil, "sealpost/1 check value of the master key", checkSize)
	if err != nil {
		return nil, fmt.Errorf("%w: not usable", ErrMasterKey)
	}
	return &KEK{aead: primitive, check: hex.EncodeToString(check)}, nil
}
