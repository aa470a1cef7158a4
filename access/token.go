package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // the script
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"sync"
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

//go:embed scripts/token.lua
var tokenLua string

var tokenScript = redis.NewScript(tokenLua)

// Token is what may be shown of a token: never its secret, which is kept nowhere.
type Token struct {
	ID        string // 11 characters of base64url
	Kind      Kind
	Name      string    // whose it is, for the audit trail
	NotBefore time.Time // when it was made
	Expires   time.Time // zero: never
}

// Principal is who presented a valid token.
type Principal struct {
	ID   string
	Kind Kind
	Name string
}

// Store keeps tokens. Redis holds a MAC over everything that a token may do
// and over its secret's hash, so whoever can write to Redis can neither make a
// token, nor widen one, nor lengthen its life. Its methods may be called at the same time.
type Store struct {
	rdb      redis.UniversalClient
	keyring  *secrets.Keyring
	revision *secrets.Revision

	mu    sync.Mutex
	rev   string                  // that the cache belongs to
	cache map[string]*tokenRecord // :: token id → its record, nil if there is none
}

// tokenRecord is a token as Redis keeps it.
type tokenRecord struct {
	Kind      Kind   `json:"k"`
	Name      string `json:"n"`
	NotBefore int64  `json:"b"` // Unix seconds
	Expires   int64  `json:"x"` // Unix seconds, 0: never
	MAC       []byte `json:"m"`
}

// NewStore returns the token store under the keyring's prefix.
func NewStore(rdb redis.UniversalClient, keyring *secrets.Keyring) *Store {
	return &Store{rdb: rdb, keyring: keyring, revision: secrets.NewRevision(rdb, keyring), cache: map[string]*tokenRecord{}}
}

// Create makes a token that is good for ttl (0: for ever) and returns it, this
// once. Errors: ErrInvalid for an unknown kind, an empty or long name, a negative ttl.
func (s *Store) Create(ctx context.Context, kind Kind, name string, ttl time.Duration) (redact.String, Token, error) {
	if err := checkToken(kind, name, ttl); err != nil {
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

	r := tokenRecord{Kind: kind, Name: name, NotBefore: time.Now().Unix()}
	if ttl > 0 {
		r.Expires = time.Now().Add(ttl).Unix()
	}
	r.MAC = s.keyring.MAC("token", r.fields(id, text)...)
	record, err := json.Marshal(r)
	if err != nil {
		return redact.String{}, Token{}, fmt.Errorf("encode token: %w", err)
	}
	audit := secrets.AuditEntry{Actor: "operator", Op: "token create", Kind: string(kind), ID: id, Key: name}
	if _, err := s.write(ctx, id, string(record), audit); err != nil {
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
	return Principal{ID: id, Kind: r.Kind, Name: r.Name}, nil
}

// List returns all tokens, sorted by name and id. What it says of a token is
// checked against the MAC only when the token is presented.
func (s *Store) List(ctx context.Context) ([]Token, error) {
	all, err := s.rdb.HGetAll(ctx, s.key("tokens")).Result()
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	tokens := make([]Token, 0, len(all))
	for id, text := range all {
		var r tokenRecord
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("token %s: %w", id, secrets.ErrSealBroken)
		}
		tokens = append(tokens, r.token(id))
	}
	slices.SortFunc(tokens, func(a, b Token) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return tokens, nil
}

// Revoke forgets a token. Error: ErrNotFound.
func (s *Store) Revoke(ctx context.Context, id string) error {
	removed, err := s.write(ctx, id, "", secrets.AuditEntry{Actor: "operator", Op: "token revoke", ID: id})
	if err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	if !removed {
		return ErrNotFound
	}
	return nil
}

// record returns the token's record, nil if there is none, as it is after the call began.
func (s *Store) record(ctx context.Context, id string) (*tokenRecord, error) {
	rev, err := s.revision.Current(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.rev != rev {
		s.rev, s.cache = rev, map[string]*tokenRecord{}
	}
	r := s.cache[id]
	s.mu.Unlock()
	if r != nil {
		return r, nil
	}
	text, err := s.rdb.HGet(ctx, s.key("tokens"), id).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil // not cached: ids that do not exist are without number
	}
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	r = &tokenRecord{}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		return nil, nil // changed in Redis: good for nothing
	}
	s.mu.Lock()
	if s.rev == rev {
		s.cache[id] = r
	}
	s.mu.Unlock()
	return r, nil
}

// write stores a record, or removes it if record is "", with its audit entry
// and a new revision. It reports whether there was anything to do.
func (s *Store) write(ctx context.Context, id, record string, audit secrets.AuditEntry) (bool, error) {
	keys := []string{s.key("tokens"), s.key("rev"), s.key("audit")}
	args := append([]any{id, record, rand.Text(), secrets.AuditMax}, audit.Fields()...)
	n, err := tokenScript.Run(ctx, s.rdb, keys, args...).Int()
	return n == 1, err
}

func (s *Store) key(name string) string { return s.keyring.Prefix() + ":{control}:" + name }

// fields is what a token's MAC is over. presented may be anything.
func (r *tokenRecord) fields(id, presented string) []string {
	hash := sha256.Sum256([]byte(presented))
	return []string{id, string(r.Kind), r.Name, strconv.FormatInt(r.NotBefore, 10), strconv.FormatInt(r.Expires, 10), string(hash[:])}
}

func (r *tokenRecord) token(id string) Token {
	t := Token{ID: id, Kind: r.Kind, Name: r.Name, NotBefore: time.Unix(r.NotBefore, 0).UTC()}
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
