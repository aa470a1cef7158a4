// Package secretstest makes stores of secrets for tests, in an in-memory Redis
// or in one that the test gives.
package secretstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// NewStore returns a store of its own in an in-memory Redis; both end with the
// test.
func NewStore(t testing.TB) *secrets.Store {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	return NewStoreOn(t, rdb, secrets.DefaultPrefix, secrets.Options{})
}

// NewStoreOn returns a store with a new keyring under prefix in rdb. The store
// is closed with the test.
func NewStoreOn(t testing.TB, rdb redis.UniversalClient, prefix string, opts secrets.Options) *secrets.Store {
	t.Helper()
	s := secrets.NewStore(rdb, NewKeyring(t, rdb, prefix), opts)
	t.Cleanup(s.Close)
	return s
}

// NewKeyring makes a keyring under a new master key.
func NewKeyring(t testing.TB, rdb redis.UniversalClient, prefix string) *secrets.Keyring {
	t.Helper()
	kek, err := secrets.LoadKEK(secrets.GenerateMasterKey())
	if err != nil {
		t.Fatalf("load master key: %v", err)
	}
	keyring, err := secrets.Init(t.Context(), rdb, kek, secrets.WithPrefix(prefix))
	if err != nil {
		t.Fatalf("make keyring: %v", err)
	}
	return keyring
}

// MustPut stores a value, its type by its own form, and returns its Ref.
func MustPut(t testing.TB, s *secrets.Store, key, value string, tags ...secrets.Tag) secrets.Ref {
	t.Helper()
	sec, _, err := s.Put(t.Context(), "test", secrets.PutRequest{Key: key, Value: redact.New(value), Tags: tags})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return sec.Ref
}

// MustPutSMTP stores an smtp secret. further fields, if not nil, are added to it
// or replace those of the same name.
func MustPutSMTP(t testing.TB, s *secrets.Store, key, server string, port int, user, password string, further map[string]any) secrets.Ref {
	t.Helper()
	return putObject(t, s, key, map[string]any{"smtp_server": server, "smtp_port": port, "username": user, "password": password}, further)
}

// MustPutSQS stores an sqs secret for a queue behind endpoint, or of AWS if
// endpoint is "".
func MustPutSQS(t testing.TB, s *secrets.Store, key, region, queueURL, accessKey, secretKey, endpoint string) secrets.Ref {
	t.Helper()
	fields := map[string]any{"aws_region": region, "queue_url": queueURL, "access_key_id": accessKey, "secret_access_key": secretKey}
	if endpoint != "" {
		fields["endpoint"] = endpoint
	}
	return putObject(t, s, key, fields, nil)
}

func putObject(t testing.TB, s *secrets.Store, key string, fields, further map[string]any) secrets.Ref {
	t.Helper()
	for name, v := range further {
		fields[name] = v
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatalf("encode %s: %v", key, err)
	}
	return MustPut(t, s, key, string(text))
}

// Certificate returns a new self-signed certificate in PEM, for ca_pem.
func Certificate(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
