package secrets_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/maintnotifications.(*CircuitBreakerManager).cleanupLoop"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx"))
}

// world is a store and the Redis under it.
type world struct {
	*secrets.Store
	rdb     redis.UniversalClient
	prefix  string
	keyring *secrets.Keyring
}

// each runs test on a real redis-server and on the in-memory one.
func each(t *testing.T, test func(t *testing.T, w world)) {
	t.Run("on redis-server", func(t *testing.T) {
		rdb, prefix := queuetest.Redis(t)
		test(t, newWorld(t, rdb, prefix))
	})
	t.Run("on the in-memory Redis", func(t *testing.T) {
		rdb, prefix := queuetest.Mini(t)
		test(t, newWorld(t, rdb, prefix))
	})
}

func newWorld(t testing.TB, rdb redis.UniversalClient, prefix string) world {
	t.Helper()
	keyring := secretstest.NewKeyring(t, rdb, prefix)
	s := secrets.NewStore(rdb, keyring, secrets.Options{})
	t.Cleanup(s.Close)
	return world{Store: s, rdb: rdb, prefix: prefix, keyring: keyring}
}

// miniWorld is a store on the in-memory Redis.
func miniWorld(t testing.TB) world {
	t.Helper()
	rdb, prefix := queuetest.Mini(t)
	return newWorld(t, rdb, prefix)
}

// another is a second process on the same Redis, with caches of its own.
func (w world) another(t testing.TB) *secrets.Store {
	t.Helper()
	s := secrets.NewStore(w.rdb, w.keyring, secrets.Options{})
	t.Cleanup(s.Close)
	return s
}

func (w world) key(name string) string { return w.prefix + ":{control}:" + name }

const (
	smtpValue = `{"smtp_server":"mail.example.org","username":"robot","password":"hunter2"}`
	sqsValue  = `{"aws_region":"eu-west-1","queue_url":"https://sqs.eu-west-1.amazonaws.com/123456789012/q","access_key_id":"AKIAEXAMPLE","secret_access_key":"s3cr3tkey"}`
)

func put(key, value string, tags ...secrets.Tag) secrets.PutRequest {
	return secrets.PutRequest{Key: key, Value: redact.New(value), Tags: tags}
}

var use = secrets.Use{Actor: "worker w1", Why: "job 1"}

// check fails the test if err is not nil.
func check(t testing.TB, err error, doing string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(doing, args...), err)
	}
}
