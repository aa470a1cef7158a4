package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Kind is what a token may do.
type Kind string

// The kinds of tokens.
const (
	Admin    Kind = "admin"    // everything
	Producer Kind = "producer" // send jobs and follow them
	Reader   Kind = "reader"   // look, change nothing
)

// Errors of the token store. ErrUnauthorized is the same for every reason, so
// that an answer does not tell whether a token's id exists.
var (
	ErrUnauthorized = errors.New("access: authorization denied")
	ErrNotFound     = errors.New("access: no such token")
	ErrInvalid      = errors.New("access: invalid")
)

// Form of a token: sp<kind 2>_<id 11>_<secret 43>_<crc32 6>. The prefix lets
// secret scanners find it, the checksum refuses a typing error without a look-up.
const (
	tokenIDBytes     = 8  // 11 characters of base64url
	tokenSecretBytes = 32 // 43 characters
	tokenLength      = 4 + 1 + 11 + 1 + 43 + 1 + 6
	tokenSkew        = time.Minute // clocks of two machines may differ by this
	maxTokenName     = 128         // characters
)

var kindPrefix = map[Kind]string{Admin: "spad", Producer: "sppr", Reader: "sprd"} // :: kind → first part of its tokens

// Token is what may be shown of a token: never its secret, which is kept nowhere.
type Token struct {
	ID        string // 11 characters of base64url
	Kind      Kind
	Name      string    // whose it is, for the audit trail
	NotBefore time.Time // when it was made
	Expires   time.Time // zero: never
	Scopes    Scopes    // of a producer
}

// Principal is who presented a valid token.
type Principal struct {
	ID     string
	Kind   Kind
	Name   string
	Scopes Scopes // of a producer
}

// Same reports whether both are one token, whose scopes never change.
func (p Principal) Same(other Principal) bool {
	return p.ID == other.ID && p.Kind == other.Kind && p.Name == other.Name
}

// TokenOptions are what a token need not have. The zero value is a token that
// is good for ever, for all that its kind may do.
type TokenOptions struct {
	TTL    time.Duration // how long it is good for; 0: for ever
	Scopes Scopes        // only for a producer
}

// Store keeps tokens. Redis holds a MAC over everything that a token may do
// and over its secret's hash, and a sealed manifest of all tokens. So whoever
// can write to Redis can neither make a token, nor widen one, nor lengthen its
// life, nor put a revoked one back: then every token is refused with
// secrets.ErrSealBroken. Its methods may be called at the same time.
type Store struct {
	keyring  *secrets.Keyring
	revision *secrets.Revision
	mirror   *secrets.Mirror
	set      *secrets.RecordSet      // used by who is alone in the mirror
	byID     map[string]*tokenRecord // :: token id → its record
}

// tokenRecord is a token as Redis keeps it.
type tokenRecord struct {
	Kind      Kind   `json:"k"`
	Name      string `json:"n"`
	NotBefore int64  `json:"b"` // Unix seconds
	Expires   int64  `json:"x"` // Unix seconds, 0: never
	Scopes    Scopes `json:"s,omitzero"`
	MAC       []byte `json:"m"`
}

// NewStore returns the token store under the keyring's prefix. It does no I/O.
func NewStore(rdb redis.UniversalClient, keyring *secrets.Keyring) *Store {
	return &Store{
		keyring: keyring, revision: secrets.NewRevision(rdb, keyring), mirror: secrets.NewMirror(),
		set: secrets.NewRecordSet(rdb, keyring, secrets.SetTokens, "tokens"), byID: map[string]*tokenRecord{},
	}
}

// Close waits for the reading under way.
func (s *Store) Close() { s.revision.Close() }

// Create makes a token and returns it, this once. Errors: ErrInvalid for an
// unknown kind, an empty or long name, a negative ttl, scopes that are none or
// are not for a producer.
func (s *Store) Create(ctx context.Context, kind Kind, name string, options TokenOptions) (redact.String, Token, error) {
	if err := checkToken(kind, name, options.TTL); err != nil {
		return redact.String{}, Token{}, err
	}
	scopes, err := options.Scopes.canonical(kind)
	if err != nil {
		return redact.String{}, Token{}, err
	}
	raw := make([]byte, tokenIDBytes+tokenSecretBytes)
	id := "-"
	for id[0] == '-' { // a command line would take it for a flag
		_, _ = rand.Read(raw) // never fails (crypto/rand)
		id = base64.RawURLEncoding.EncodeToString(raw[:tokenIDBytes])
	}
	body := kindPrefix[kind] + "_" + id + "_" + base64.RawURLEncoding.EncodeToString(raw[tokenIDBytes:])
	text := body + "_" + checksum(body)

	r := tokenRecord{Kind: kind, Name: name, NotBefore: time.Now().Unix(), Scopes: scopes}
	if options.TTL > 0 {
		r.Expires = time.Now().Add(options.TTL).Unix()
	}
	r.MAC = s.keyring.MAC("token", r.fields(id, text)...)
	record, err := json.Marshal(r)
	if err != nil {
		return redact.String{}, Token{}, fmt.Errorf("encode token: %w", err)
	}
	audit := secrets.AuditEntry{Actor: "operator", Op: "token create", Kind: string(kind), ID: id, Key: name}
	if err := s.write(ctx, id, string(record), audit); err != nil {
		return redact.String{}, Token{}, fmt.Errorf("store token: %w", err)
	}
	return redact.New(text), r.token(id), nil
}

func checkToken(kind Kind, name string, ttl time.Duration) error {
	switch {
	case kindPrefix[kind] == "":
		return fmt.Errorf("%w: kind must be admin, producer or reader", ErrInvalid)
	case name == "" || len(name) > maxTokenName || redact.Scrub(name) != name:
		return fmt.Errorf("%w: name must be 1 to %d printable characters", ErrInvalid, maxTokenName)
	case ttl < 0 || ttl > 0 && ttl < time.Second:
		return fmt.Errorf("%w: ttl must be 1s or more, or 0 for ever", ErrInvalid)
	}
	return nil
}

// Verify returns whose token this is. Error: ErrUnauthorized for every token
// that is not good, after the same work for an unknown id as for a wrong
// secret; else the network's. A revoked token is refused from the next call on.
func (s *Store) Verify(ctx context.Context, presented string) (Principal, error) {
	id, ok := tokenID(presented)
	if !ok {
		return Principal{}, ErrUnauthorized
	}
	r, err := s.record(ctx, id)
	if err != nil {
		return Principal{}, err
	}
	if r == nil {
		r = &tokenRecord{MAC: s.keyring.MAC("token", "nobody")}
		ok = false
	}
	good := s.keyring.VerifyMAC(r.MAC, "token", r.fields(id, presented)...)
	now := time.Now()
	early := now.Add(tokenSkew).Before(time.Unix(r.NotBefore, 0))
	late := r.Expires != 0 && now.Add(-tokenSkew).After(time.Unix(r.Expires, 0))
	if !ok || !good || early || late || kindPrefix[r.Kind] != presented[:4] {
		return Principal{}, ErrUnauthorized
	}
	return Principal{ID: id, Kind: r.Kind, Name: r.Name, Scopes: r.Scopes}, nil
}

// List returns all tokens, sorted by name and id.
func (s *Store) List(ctx context.Context) ([]Token, error) {
	tokens := []Token{}
	err := s.view(ctx, func() {
		for id, r := range s.byID {
			tokens = append(tokens, r.token(id))
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(tokens, func(a, b Token) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return tokens, nil
}

// Revoke forgets a token. Error: ErrNotFound.
func (s *Store) Revoke(ctx context.Context, id string) error {
	err := s.write(ctx, id, "", secrets.AuditEntry{Actor: "operator", Op: "token revoke", ID: id})
	if err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	return nil
}

// record returns the token's record, nil if there is none, as it is after the call began.
func (s *Store) record(ctx context.Context, id string) (r *tokenRecord, err error) {
	err = s.view(ctx, func() { r = s.byID[id] })
	return r, err
}

// view calls look with the tokens as they are after the call began.
func (s *Store) view(ctx context.Context, look func()) error {
	rev, err := s.revision.Current(ctx)
	if err != nil {
		return err
	}
	return s.mirror.View(ctx, rev, s.refresh, look)
}

// refresh reads what changed and returns how to change the copy.
func (s *Store) refresh(ctx context.Context) (apply func(), err error) {
	texts, whole, err := s.set.Read(ctx)
	if err != nil {
		return nil, err
	}
	changed := make(map[string]*tokenRecord, len(texts))
	for id, text := range texts {
		if text == "" {
			changed[id] = nil
			continue
		}
		r := &tokenRecord{}
		if err := json.Unmarshal([]byte(text), r); err != nil {
			s.set.Forget() // it took what the copy will not have
			return nil, fmt.Errorf("%w: token %s has a body that this release cannot read", secrets.ErrSealBroken, id)
		}
		changed[id] = r
	}
	return func() {
		if whole {
			clear(s.byID)
		}
		for id, r := range changed {
			if r == nil {
				delete(s.byID, id)
			} else {
				s.byID[id] = r
			}
		}
	}, nil
}

// write stores a record, or removes it if text is "", with its audit entry.
// Error: ErrNotFound when there is nothing to remove.
func (s *Store) write(ctx context.Context, id, text string, audit secrets.AuditEntry) error {
	return s.set.Amend(ctx, s.mirror, s.refresh, func() (secrets.Draft, error) {
		if text == "" && s.byID[id] == nil {
			return secrets.Draft{}, ErrNotFound
		}
		return secrets.Draft{Field: id, Body: text, Entry: audit}, nil
	})
}

// fields is what a token's MAC is over. presented may be anything.
func (r *tokenRecord) fields(id, presented string) []string {
	hash := sha256.Sum256([]byte(presented))
	fixed := []string{id, string(r.Kind), r.Name, strconv.FormatInt(r.NotBefore, 10), strconv.FormatInt(r.Expires, 10), string(hash[:])}
	return append(fixed, r.Scopes.fields()...)
}

func (r *tokenRecord) token(id string) Token {
	t := Token{ID: id, Kind: r.Kind, Name: r.Name, NotBefore: time.Unix(r.NotBefore, 0).UTC(), Scopes: r.Scopes}
	if r.Expires != 0 {
		t.Expires = time.Unix(r.Expires, 0).UTC()
	}
	return t
}

// tokenID returns the id in a token whose form and checksum are right.
func tokenID(presented string) (string, bool) {
	if len(presented) != tokenLength {
		return "", false
	}
	const idAt, secretAt, sumAt = 5, 17, 61 // after the underscores
	if presented[idAt-1] != '_' || presented[secretAt-1] != '_' || presented[sumAt-1] != '_' {
		return "", false
	}
	return presented[idAt : secretAt-1], checksum(presented[:sumAt-1]) == presented[sumAt:]
}

// checksum is the CRC-32 of s as 6 characters of base64url.
func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	return base64.RawURLEncoding.EncodeToString([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
