package secrets

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrInitialised says that this Redis has a keyring already. Making a second
// one would lose every secret under the first.
var ErrInitialised = errors.New("secrets: there is a keyring already")

const (
	tagPrefix = 5  // bytes that Tink puts before a MAC: version and key id
	tagSize   = 37 // bytes of a MAC: prefix and HMAC-SHA256
)

// Keyring holds the keys of one store, opened: one that seals values and one
// that authenticates records. It is safe for concurrent use and never changes.
// Make one with Init or OpenKeyring.
type Keyring struct {
	data    tink.AEAD
	record  tink.MAC
	storeID string
	gen     int64
	prefix  string
}

// KeyringOption changes where a keyring is kept.
type KeyringOption func(*Keyring)

// WithPrefix sets what the keys in Redis begin with. Default: DefaultPrefix.
// Stores made from the keyring use it too.
func WithPrefix(prefix string) KeyringOption { return func(k *Keyring) { k.prefix = prefix } }

// StoreID is the random name of the store, 32 hex digits. Everything sealed is
// bound to it.
func (k *Keyring) StoreID() string { return k.storeID }

// Generation counts the changes of the keyring, from 1.
func (k *Keyring) Generation() int64 { return k.gen }

// Prefix is what the store's keys in Redis begin with.
func (k *Keyring) Prefix() string { return k.prefix }

// Format prints the store's name and the generation, whatever the verb.
func (k *Keyring) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "keyring "+k.storeID+" generation "+strconv.FormatInt(k.gen, 10))
}

// MAC authenticates a record: fields in their order, for one purpose, in this
// store. Fields of other lengths or another order give another MAC.
func (k *Keyring) MAC(purpose string, fields ...string) []byte {
	tag, err := k.record.ComputeMAC(k.macInput(purpose, fields))
	if err != nil || len(tag) != tagSize { // HMAC cannot fail; a tag of zeros never verifies
		return make([]byte, tagSize)
	}
	return tag
}

// VerifyMAC reports whether tag is the MAC of these fields. The time it takes
// does not depend on where a wrong tag differs.
func (k *Keyring) VerifyMAC(tag []byte, purpose string, fields ...string) bool {
	return k.record.VerifyMAC(tag, k.macInput(purpose, fields)) == nil
}

func (k *Keyring) macInput(purpose string, fields []string) []byte {
	return bind(append([]string{sealVersion, purpose, k.storeID}, fields...)...)
}

func (k *Keyring) keys() keys { return keysFor(k.prefix) }

// Init makes a keyring, wraps it with kek and stores it with the empty sets of
// records, all in one step: of two processes that do it at once, one gets
// ErrInitialised.
func Init(ctx context.Context, rdb redis.UniversalClient, kek *KEK, opts ...KeyringOption) (*Keyring, error) {
	k, wrapped, err := newKeyring(kek, opts)
	if err != nil {
		return nil, err
	}
	args := []any{wrapped.gen, wrapped.storeID, wrapped.data, wrapped.record, wrapped.check, time.Now().UnixMilli()}
	for _, kind := range []string{SetSecrets, SetTokens} {
		seal, err := k.SealManifest(kind, Manifest{})
		if err != nil {
			return nil, err
		}
		args = append(args, seal)
	}
	ks := k.keys()
	args = append(args, AuditMax)
	args = append(args, AuditEntry{Actor: "operator", Op: "init"}.Fields()...)
	made, err := initScript.Run(ctx, rdb, []string{ks.keyring(), ks.manifest(SetSecrets), ks.manifest(SetTokens), ks.audit()}, args...).Int()
	if err != nil {
		return nil, fmt.Errorf("store keyring: %w", err)
	}
	if made == 0 {
		return nil, ErrInitialised
	}
	return k, nil
}

// wrappedKeyring is a keyring as it is in Redis.
type wrappedKeyring struct {
	gen          int64
	storeID      string
	data, record []byte
	check        string // of the master key that wrapped it
}

func newKeyring(kek *KEK, opts []KeyringOption) (*Keyring, wrappedKeyring, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	w := wrappedKeyring{gen: 1, storeID: hex.EncodeToString(id), check: kek.Check()}
	data, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		return nil, w, fmt.Errorf("make data key: %w", err)
	}
	record, err := keyset.NewHandle(mac.HMACSHA256Tag256KeyTemplate())
	if err != nil {
		return nil, w, fmt.Errorf("make record key: %w", err)
	}
	if w.data, err = wrap(data, kek, keysetAAD(w.storeID, w.gen, "data")); err != nil {
		return nil, w, err
	}
	if w.record, err = wrap(record, kek, keysetAAD(w.storeID, w.gen, "record")); err != nil {
		return nil, w, err
	}
	k, err := keyringOf(w, data, record, opts)
	return k, w, err
}

func wrap(h *keyset.Handle, kek tink.AEAD, aad []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&b), kek, aad); err != nil {
		return nil, fmt.Errorf("wrap keyring: %w", err)
	}
	return b.Bytes(), nil
}

func keyringOf(w wrappedKeyring, data, record *keyset.Handle, opts []KeyringOption) (*Keyring, error) {
	k := &Keyring{storeID: w.storeID, gen: w.gen, prefix: DefaultPrefix}
	for _, o := range opts {
		o(k)
	}
	var err error
	if k.data, err = aead.New(data); err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	if k.record, err = mac.New(record); err != nil {
		return nil, fmt.Errorf("use record key: %w", err)
	}
	return k, nil
}

// OpenKeyring reads the keyring and opens it with kek. An error that is
// ErrSealed says what an operator has to do; any other is the network's.
func OpenKeyring(ctx context.Context, rdb redis.UniversalClient, kek *KEK, opts ...KeyringOption) (*Keyring, error) {
	at := &Keyring{prefix: DefaultPrefix}
	for _, o := range opts {
		o(at)
	}
	fields, err := rdb.HMGet(ctx, at.keys().keyring(), "gen", "store_id", "data", "record", "kek_check").Result()
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	if fields[0] == nil && fields[2] == nil {
		return nil, fmt.Errorf("%w: this Redis has no keyring; run `sealpost init`", ErrSealed)
	}
	w, err := decodeKeyring(fields)
	if err != nil {
		return nil, err
	}
	data, err := unwrap(w, w.data, "data", kek)
	if err != nil {
		return nil, err
	}
	record, err := unwrap(w, w.record, "record", kek)
	if err != nil {
		return nil, err
	}
	return keyringOf(w, data, record, opts)
}

func decodeKeyring(fields []any) (wrappedKeyring, error) {
	var text [5]string
	for i, f := range fields {
		s, ok := f.(string)
		if !ok {
			return wrappedKeyring{}, errKeyringDamaged
		}
		text[i] = s
	}
	gen, err := strconv.ParseInt(text[0], 10, 64)
	if err != nil || gen < 1 {
		return wrappedKeyring{}, errKeyringDamaged
	}
	return wrappedKeyring{gen: gen, storeID: text[1], data: []byte(text[2]), record: []byte(text[3]), check: text[4]}, nil
}

var errKeyringDamaged = fmt.Errorf("%w: the keyring was changed or damaged in Redis; restore it from a backup", ErrSealed)

func unwrap(w wrappedKeyring, blob []byte, name string, kek *KEK) (*keyset.Handle, error) {
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(blob)), kek, keysetAAD(w.storeID, w.gen, name))
	if err == nil {
		return h, nil
	}
	if w.check == kek.Check() {
		return nil, errKeyringDamaged
	}
	return nil, fmt.Errorf("%w: wrong master key: the keyring has check value %.8q, this key gives %q", ErrSealed, w.check, kek.Check())
}
