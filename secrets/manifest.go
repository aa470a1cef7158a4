package secrets

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// Kinds of record sets that have a manifest.
const (
	SetSecrets = "secrets"
	SetTokens  = "tokens"
)

// Digest stands for a set of records whatever its order. The empty set is the
// zero Digest; adding and taking away a record are the same operation.
//
// It is the exclusive-or of one keyed hash for each record. Exclusive-or alone
// would not do: somebody who knows the hashes of a few hundred old records can
// solve for a mixture of old and new ones with the same sum. So neither the
// hashes nor the sum are ever stored in clear: the sum is sealed in the
// manifest, the hashes are not stored at all.
type Digest [32]byte

// Toggle returns the digest of the set with the record whose hash is leaf
// added, or taken away if it was in the set.
func (d Digest) Toggle(leaf Digest) Digest {
	var out Digest
	subtle.XORBytes(out[:], d[:], leaf[:])
	return out
}

// Manifest says what a set of records is, so that a record that was deleted or
// put back behind our back is noticed. Changing it costs the same whatever the
// size of the set.
type Manifest struct {
	Version int64 // grows by one with each write; a process refuses a lower one than it has seen
	Count   int64 // records in the set
	Digest  Digest
}

// Next returns the manifest after one write. old and new are the record's
// bytes before and after it; nil means that there is none.
func (k *Keyring) Next(m Manifest, kind, id string, old, new []byte) Manifest {
	m.Version++
	if old != nil {
		m.Count--
		m.Digest = m.Digest.Toggle(k.Leaf(kind, id, old))
	}
	if new != nil {
		m.Count++
		m.Digest = m.Digest.Toggle(k.Leaf(kind, id, new))
	}
	return m
}

// Leaf returns the keyed hash of one record of a set.
func (k *Keyring) Leaf(kind, id string, record []byte) Digest {
	tag := k.MAC("leaf", kind, id, string(record))
	return Digest(tag[tagPrefix:])
}

// manifestSize is the length of a manifest before it is sealed: count, digest.
const manifestSize = 8 + len(Digest{})

// SealManifest returns the manifest for the field seal of its hash.
func (k *Keyring) SealManifest(kind string, m Manifest) ([]byte, error) {
	plain := binary.BigEndian.AppendUint64(nil, uint64(m.Count))
	sealed, err := k.data.Encrypt(append(plain, m.Digest[:]...), manifestAAD(k.storeID, kind, m.Version))
	if err != nil {
		return nil, fmt.Errorf("seal manifest of %s: %w", kind, err)
	}
	return sealed, nil
}

// OpenManifest opens what SealManifest gave for the same kind and version. The
// error is ErrSealBroken for anything else.
func (k *Keyring) OpenManifest(kind string, version int64, sealed []byte) (Manifest, error) {
	plain, err := k.data.Decrypt(sealed, manifestAAD(k.storeID, kind, version))
	if err != nil || len(plain) != manifestSize {
		return Manifest{}, fmt.Errorf("%w: manifest of %s, version %d", ErrSealBroken, kind, version)
	}
	m := Manifest{Version: version, Count: int64(binary.BigEndian.Uint64(plain))}
	copy(m.Digest[:], plain[8:])
	return m, nil
}
