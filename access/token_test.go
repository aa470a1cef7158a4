package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// tokens is a token store in a Redis of its own, and the Redis.
func tokens(t *testing.T) (*Store, *redis.Client) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	kek, err := secrets.LoadKEK(secrets.GenerateMasterKey())
	if err != nil {
		t.Fatalf("LoadKEK: %v", err)
	}
	keyring, err := secrets.Init(t.Context(), rdb, kek)
	if err != nil {
		t.Fatalf("Init: %v", err)
	}
	return NewStore(rdb, keyring), rdb
}

func mint(t *testing.T, s *Store, kind Kind, ttl time.Duration) (string, Token) {
	t.Helper()
	text, token, err := s.Create(t.Context(), kind, "tester", TokenOptions{TTL: ttl})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	return text.Reveal(), token
}

func TestTokenTellsWhoPresentsIt(t *testing.T) {
	s, _ := tokens(t)
	for kind, prefix := range kindPrefix {
		text, token := mint(t, s, kind, time.Hour)
		if !strings.HasPrefix(text, prefix+"_"+token.ID+"_") || len(text) != tokenLength {
			t.Errorf("a %s token of %d characters does not begin with its prefix and id", kind, len(text))
		}
		got, err := s.Verify(t.Context(), text)
		if want := (Principal{ID: token.ID, Kind: kind, Name: "tester"}); err != nil || !cmp.Equal(got, want) {
			t.Errorf("Verify = %+v, %v, want %+v", got, err, want)
		}
	}
}

// TestTokenIDIsNoFlag makes so many that one in 64 would show in all but one
// of 4 million runs.
func TestTokenIDIsNoFlag(t *testing.T) {
	s, _ := tokens(t)
	for range 1000 {
		if _, token := mint(t, s, Reader, 0); token.ID[0] == '-' {
			t.Fatalf("the id %s begins like a flag", token.ID)
		}
	}
}

func TestTokenThatIsNotGoodIsRefused(t *testing.T) {
	s, _ := tokens(t)
	text, token := mint(t, s, Admin, 0)
	other, _ := mint(t, s, Admin, 0)
	reseal := func(body string) string { return body + "_" + checksum(body) }
	rows := map[string]string{
		"empty":                          "",
		"a typing error":                 text[:20] + "x" + text[21:],
		"the secret of another token":    reseal(text[:17] + other[17:60]),
		"a changed secret, right sum":    reseal(text[:59] + string(rune(text[59]^1))),
		"an id that does not exist":      reseal("spad_AAAAAAAAAAA" + text[16:60]),
		"another kind in the prefix":     reseal("sppr" + text[4:60]),
		"too long":                       text + "a",
		"not a token at all":             strings.Repeat("a", tokenLength),
		"underscores in the wrong place": strings.Repeat("_", tokenLength),
	}
	for name, presented := range rows {
		if p, err := s.Verify(t.Context(), presented); !errors.Is(err, ErrUnauthorized) || !cmp.Equal(p, Principal{}) {
			t.Errorf("%s: Verify = %+v, %v, want ErrUnauthorized", name, p, err)
		}
	}
	if err := s.Revoke(t.Context(), token.ID); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	if _, err := s.Verify(t.Context(), text); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("after Revoke: Verify = %v, want ErrUnauthorized", err)
	}
	if err := s.Revoke(t.Context(), token.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Revoke = %v, want ErrNotFound", err)
	}
}

func TestTokenRevokedElsewhereIsRefusedAtOnce(t *testing.T) {
	s, rdb := tokens(t)
	text, token := mint(t, s, Producer, 0)
	if _, err := s.Verify(t.Context(), text); err != nil { // cached now
		t.Fatalf("Verify: %v", err)
	}
	if err := NewStore(rdb, s.keyring).Revoke(t.Context(), token.ID); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	if _, err := s.Verify(t.Context(), text); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("Verify = %v, want ErrUnauthorized", err)
	}
}

func TestTokensChangedInRedisAreRefused(t *testing.T) {
	field := func(name, from, to string) func(record string) string {
		return func(record string) string {
			if !strings.Contains(record, from) {
				t.Errorf("%s: the record does not hold %s", name, from)
			}
			return strings.Replace(record, from, to, 1)
		}
	}
	rows := map[string]func(record string) string{
		"widened":        field("widened", `"reader"`, `"admin"`),
		"renamed":        field("renamed", `"tester"`, `"boss"`),
		"removed":        func(string) string { return "" },
		"another MAC":    func(r string) string { return r[:20] + string(rune(r[20]^1)) + r[21:] },
		"no MAC":         func(r string) string { return r[37:] },
		"something else": func(string) string { return "x" },
	}
	for name, change := range rows {
		s, rdb := tokens(t)
		text, token := mint(t, s, Reader, time.Hour)
		record := rdb.HGet(t.Context(), tokensKey(s), token.ID).Val()
		if changed := change(record); changed == "" {
			rdb.HDel(t.Context(), tokensKey(s), token.ID)
		} else {
			rdb.HSet(t.Context(), tokensKey(s), token.ID, changed)
		}
		if p, err := NewStore(rdb, s.keyring).Verify(t.Context(), text); !errors.Is(err, secrets.ErrSealBroken) {
			t.Errorf("%s: Verify = %+v, %v, want ErrSealBroken", name, p, err)
		}
	}
}

func TestTokenPutBackAfterItWasRevokedIsRefused(t *testing.T) {
	s, rdb := tokens(t)
	text, token := mint(t, s, Admin, 0)
	record := rdb.HGet(t.Context(), tokensKey(s), token.ID).Val()
	if err := s.Revoke(t.Context(), token.ID); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	rdb.HSet(t.Context(), tokensKey(s), token.ID, record)
	if _, err := NewStore(rdb, s.keyring).Verify(t.Context(), text); !errors.Is(err, secrets.ErrSealBroken) {
		t.Errorf("a fresh process: Verify = %v, want ErrSealBroken", err)
	}
	if _, err := s.Verify(t.Context(), text); err == nil {
		t.Error("a process that knew the token: Verify takes it")
	}
}

func TestTokenExpires(t *testing.T) {
	s, _ := tokens(t)
	text, token := mint(t, s, Admin, time.Second)
	r := tokenRecord{Kind: Admin, Name: "tester", NotBefore: token.NotBefore.Unix(), Expires: time.Now().Add(-tokenSkew - time.Second).Unix()}
	r.MAC = s.keyring.MAC("token", r.fields(token.ID, text)...)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), token.ID, string(b), secrets.AuditEntry{Op: "test"}); err != nil {
		t.Fatalf("write: %v", err)
	}
	if _, err := s.Verify(t.Context(), text); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("Verify = %v, want ErrUnauthorized", err)
	}
}

func TestTokenIsKeptNowhere(t *testing.T) {
	s, rdb := tokens(t)
	text, token := mint(t, s, Admin, 0)
	list, err := s.List(t.Context())
	if err != nil || len(list) != 1 || !cmp.Equal(list[0], token) {
		t.Errorf("List = %+v, %v, want only %+v", list, err, token)
	}
	dump := rdb.HGetAll(t.Context(), tokensKey(s)).String() + fmt.Sprint(rdb.XRange(t.Context(), "sealpost:{control}:audit", "-", "+").Val())
	if strings.Contains(dump, text[17:60]) {
		t.Error("the token's secret is in Redis")
	}
	if !strings.Contains(dump, "token create") {
		t.Error("the audit stream does not say that a token was made")
	}
}

func TestTokenOfWhichSomethingIsMissing(t *testing.T) {
	s, _ := tokens(t)
	for name, err := range map[string]error{
		"an unknown kind": second3(s.Create(t.Context(), "root", "x", TokenOptions{})),
		"no name":         second3(s.Create(t.Context(), Admin, "", TokenOptions{})),
		"a name of lines": second3(s.Create(t.Context(), Admin, "a\nb", TokenOptions{})),
		"a long name":     second3(s.Create(t.Context(), Admin, strings.Repeat("n", maxTokenName+1), TokenOptions{})),
		"a negative ttl":  second3(s.Create(t.Context(), Admin, "x", TokenOptions{TTL: -time.Hour})),
		"a ttl under 1 s": second3(s.Create(t.Context(), Admin, "x", TokenOptions{TTL: time.Millisecond})),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Create = %v, want ErrInvalid", name, err)
		}
	}
}

func second3(_ redact.String, _ Token, err error) error { return err }

func TestTokenVerifyWithoutRedis(t *testing.T) {
	s, rdb := tokens(t)
	text, _ := mint(t, s, Admin, 0)
	_ = rdb.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Verify(ctx, text); err == nil || errors.Is(err, ErrUnauthorized) {
		t.Errorf("Verify = %v, want an error that is not ErrUnauthorized", err)
	}
}

// tokensKey is the hash that holds the tokens' records.
func tokensKey(s *Store) string { return s.keyring.Prefix() + ":{control}:tokens" }
