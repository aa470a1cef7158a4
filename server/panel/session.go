package panel

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// SessionLife is how long a login lasts; nothing makes it longer. Number: ours,
// a working day.
const SessionLife = 8 * time.Hour

// errNoSession says that a cookie belongs to no session, or to one that ended.
var errNoSession = errors.New("panel: no such session")

// Sessions keeps logins in Redis, so that every process knows them.
//
// A session is found by the hash of its cookie and holds the token that opened
// it, masked by a key made from the cookie and sealed with its end. So whoever
// reads Redis, even with the master key, gets neither a cookie nor a token;
// whoever writes Redis cannot make a session or lengthen one; and since the
// token itself is verified on each request, revoking it ends the session.
type Sessions struct {
	rdb     redis.UniversalClient
	keyring *secrets.Keyring
	now     func() time.Time
}

// NewSessions returns the sessions under the keyring's prefix. It does no I/O.
func NewSessions(rdb redis.UniversalClient, keyring *secrets.Keyring) *Sessions {
	return &Sessions{rdb: rdb, keyring: keyring, now: time.Now}
}

// open starts a session for a token that was verified and returns its cookie.
func (s *Sessions) open(ctx context.Context, token redact.String) (string, error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	cookie := base64.RawURLEncoding.EncodeToString(raw)
	masked, err := mask(cookie, []byte(token.Reveal()))
	if err != nil {
		return "", err
	}
	ends := strconv.FormatInt(s.now().Add(SessionLife).Unix(), 10)
	sealed, err := s.keyring.Seal("session", hashed(cookie), 1, redact.New(ends+" "+base64.RawStdEncoding.EncodeToString(masked)))
	if err != nil {
		return "", fmt.Errorf("seal session: %w", err)
	}
	if err := s.rdb.Set(ctx, s.key(cookie), sealed, SessionLife).Err(); err != nil {
		return "", fmt.Errorf("store session: %w", err)
	}
	return cookie, nil
}

// token returns the token of the session with this cookie. The error is
// errNoSession for every cookie that is not good, else the network's.
func (s *Sessions) token(ctx context.Context, cookie string) (redact.String, error) {
	sealed, err := s.rdb.Get(ctx, s.key(cookie)).Bytes()
	if errors.Is(err, redis.Nil) {
		return redact.String{}, errNoSession
	}
	if err != nil {
		return redact.String{}, fmt.Errorf("read session: %w", err)
	}
	text, err := s.keyring.Unseal("session", hashed(cookie), 1, sealed)
	if err != nil {
		return redact.String{}, errNoSession // changed in Redis: good for nothing
	}
	ends, body, _ := strings.Cut(text.Reveal(), " ")
	end, err := strconv.ParseInt(ends, 10, 64)
	if err != nil || !s.now().Before(time.Unix(end, 0)) {
		return redact.String{}, errNoSession
	}
	masked, err := base64.RawStdEncoding.DecodeString(body)
	if err != nil {
		return redact.String{}, errNoSession
	}
	token, err := mask(cookie, masked)
	return redact.New(string(token)), err
}

// end forgets the session with this cookie, if there is one.
func (s *Sessions) end(ctx context.Context, cookie string) error {
	if err := s.rdb.Del(ctx, s.key(cookie)).Err(); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

func (s *Sessions) key(cookie string) string {
	return s.keyring.Prefix() + ":{control}:session:" + hashed(cookie)
}

// hashed is what a session is found by. A cookie has 256 random bits, so a
// plain hash cannot be turned back.
func hashed(cookie string) string {
	sum := sha256.Sum256([]byte("sealpost panel session " + cookie))
	return hex.EncodeToString(sum[:16])
}

// mask hides text under a pad that only this cookie gives, and shows it again.
// A cookie masks one text only, so the pad is used once.
func mask(cookie string, text []byte) ([]byte, error) {
	pad, err := hkdf.Key(sha256.New, []byte(cookie), nil, "sealpost panel session", max(len(text), 1))
	if err != nil {
		return nil, fmt.Errorf("mask token: %w", err)
	}
	out := make([]byte, len(text))
	subtle.XORBytes(out, text, pad)
	return out, nil
}
