package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"github.com/sealpost/sealpost/secrets/redact"
)

// MemorySeal seals texts that a process keeps between two uses, so that none lies
// in memory in clear meanwhile. Its key is made with it and never leaves it: what
// it sealed opens in this process only. It is AES-256-GCM, whose key is set up
// once; opening 1 KB by the keyring leaves 11 objects of 3.6 KB instead of 2 of
// 1 KB, as XAES-256-GCM makes a key for each text. It is safe for concurrent use.
type MemorySeal struct {
	aead  cipher.AEAD
	space sync.Pool // of *[]byte, for place and text while one is opened; cleared
}

// NewMemorySeal makes one with a random key.
func NewMemorySeal() *MemorySeal {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("secrets: AES does not take a key of 32 bytes")
	}
	aead, err := cipher.NewGCMWithRandomNonce(block) // good for 2^32 texts; a process seals some a change
	if err != nil {
		panic("secrets: GCM does not take AES")
	}
	return &MemorySeal{aead: aead, space: sync.Pool{New: func() any { return new([]byte) }}}
}

// Seal seals a text for a place, which Open must name in the same way.
func (m *MemorySeal) Seal(text redact.String, place ...string) []byte {
	plain := []byte(text.Reveal())
	defer clear(plain)
	return m.aead.Seal(nil, nil, plain, bind(place...))
}

// Open opens what Seal gave for the place.
func (m *MemorySeal) Open(sealed []byte, place ...string) (redact.String, error) {
	space := m.space.Get().(*[]byte)
	defer m.space.Put(space)
	at := appendBound((*space)[:0], place...)
	at = slices.Grow(at, len(sealed)) // the text is shorter, so it goes behind the place without another slice
	*space = at
	plain, err := m.aead.Open(at[len(at):], nil, sealed, at)
	if err != nil {
		return redact.String{}, fmt.Errorf("%w: a text in memory does not open", ErrSealBroken)
	}
	defer clear(plain)
	return redact.New(string(plain)), nil
}
