package secrets

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// sealVersion begins everything that is sealed or authenticated. Another
// layout of the fields gets another version.
const sealVersion = "sealpost/1"

// bind joins fields so that no two different lists give the same bytes: each
// field follows its length as an uvarint. ("ab","c") and ("a","bc") differ.
func bind(fields ...string) []byte {
	n := 0
	for _, f := range fields {
		n += binary.MaxVarintLen64 + len(f)
	}
	return appendBound(make([]byte, 0, n), fields...)
}

// appendBound appends what bind returns.
func appendBound(b []byte, fields ...string) []byte {
	for _, f := range fields {
		b = binary.AppendUvarint(b, uint64(len(f)))
		b = append(b, f...)
	}
	return b
}

// valueAAD is what a value is bound to: its kind of record, its place and all that decides where
// it goes and who gets it. The body is the record's JSON as stored, so nothing
// has to be made canonical to compare it.
func valueAAD(storeID, kind, id string, version int64, body string) []byte {
	sum := sha256.Sum256([]byte(body))
	return bind(sealVersion, "value", storeID, kind, id, strconv.FormatInt(version, 10), string(sum[:]))
}

// keysetAAD binds a wrapped keyset to its store, generation and name.
func keysetAAD(storeID string, gen int64, name string) []byte {
	return bind(sealVersion, "keyset", storeID, strconv.FormatInt(gen, 10), name)
}

// manifestAAD binds a manifest to its store, kind and version.
func manifestAAD(storeID, kind string, version int64) []byte {
	return bind(sealVersion, "manifest", storeID, kind, strconv.FormatInt(version, 10))
}
