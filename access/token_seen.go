package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync/atomic"
)

// tokenSalt is random and the process' own, so that the digests it keeps say
// nothing to who has others. Made by newTokenSalt.
type tokenSalt [sha256.BlockSize - tokenSize - 9]byte // with the token, and what SHA-256 adds, one block

func newTokenSalt() (s tokenSalt) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// tokenDigest is of the salt and a token of an analysis. The token has 122
// random bits, so nobody finds it by its digest.
type tokenDigest [sha256.Size]byte

// of is the digest of a token, whose size is tokenSize.
func (s *tokenSalt) of(token string) tokenDigest {
	var text [len(s) + tokenSize]byte
	copy(text[copy(text[:], s[:]):], token)
	defer clear(text[:])
	return sha256.Sum256(text[:])
}

// seenToken is the digest of the token of an analysis once that was checked by
// the MAC of its record, for the next time: the MAC takes some five blocks of SHA-256
// and ten allocations. A new token is a new record, with none seen. The zero
// value has seen none.
type seenToken struct{ digest atomic.Pointer[tokenDigest] }

func (s *seenToken) keep(digest *tokenDigest) {
	kept := *digest
	s.digest.Store(&kept)
}

// is reports whether this is the token that was seen.
func (s *seenToken) is(digest *tokenDigest) bool {
	seen := s.digest.Load()
	return seen != nil && subtle.ConstantTimeCompare(seen[:], digest[:]) == 1
}
