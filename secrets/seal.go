package secrets

import (
	"fmt"
	"strconv"

	"github.com/sealpost/sealpost/secrets/redact"
)

// Seal seals text that belongs to a record of another package: kind and id name
// the record, version its state. It opens only with the same three.
func (k *Keyring) Seal(kind, id string, version int64, text redact.String) ([]byte, error) {
	plain := []byte(text.Reveal())
	defer clear(plain)
	sealed, err := k.data.Encrypt(plain, fieldAAD(k.storeID, kind, id, version))
	if err != nil {
		return nil, fmt.Errorf("seal %s %s: %w", kind, id, err)
	}
	return sealed, nil
}

// Unseal opens what Seal gave. The error is ErrSealBroken.
func (k *Keyring) Unseal(kind, id string, version int64, sealed []byte) (redact.String, error) {
	plain, err := k.data.Decrypt(sealed, fieldAAD(k.storeID, kind, id, version))
	if err != nil {
		return redact.String{}, fmt.Errorf("%w: %s %s version %d does not open", ErrSealBroken, kind, id, version)
	}
	defer clear(plain)
	return redact.New(string(plain)), nil
}

// fieldAAD binds sealed text to its record.
func fieldAAD(storeID, kind, id string, version int64) []byte {
	return bind(sealVersion, "field", storeID, kind, id, strconv.FormatInt(version, 10))
}
