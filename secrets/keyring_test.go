package secrets_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

const rawKey = "0123456789abcdefghijklmnopqrst\xfb\xff" // the last two give + and / in base64

func clearKeyset(t *testing.T, template *tinkpb.KeyTemplate) string {
	t.Helper()
	h, err := keyset.NewHandle(template)
	check(t, err, "make keyset")
	var b bytes.Buffer
	check(t, insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)), "write keyset")
	return b.String()
}

func TestLoadKEKTakesAllForms(t *testing.T) {
	enc := map[string]string{
		"standard":            base64.StdEncoding.EncodeToString([]byte(rawKey)),
		"with a line end":     base64.StdEncoding.EncodeToString([]byte(rawKey)) + "\n",
		"without padding":     base64.RawStdEncoding.EncodeToString([]byte(rawKey)),
		"URL":                 base64.URLEncoding.EncodeToString([]byte(rawKey)),
		"URL without padding": "  " + base64.RawURLEncoding.EncodeToString([]byte(rawKey)) + "\r\n",
	}
	first, err := secrets.LoadKEK(redact.New(enc["standard"]))
	check(t, err, "load")
	sealed, err := first.Encrypt([]byte("text"), []byte("aad"))
	check(t, err, "encrypt")
	for name, text := range enc {
		kek, err := secrets.LoadKEK(redact.New(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := kek.Decrypt(sealed, []byte("aad")); err != nil || string(got) != "text" || kek.Check() != first.Check() {
			t.Errorf("%s: got %q, %v, check value %s, want the same key as the standard form", name, got, err, kek.Check())
		}
	}
	tinkKey := clearKeyset(t, aead.XAES256GCM192BitNonceKeyTemplate())
	one, err := secrets.LoadKEK(redact.New(tinkKey))
	check(t, err, "load keyset")
	two, err := secrets.LoadKEK(redact.New(tinkKey + "\n"))
	check(t, err, "load keyset again")
	if one.Check() != two.Check() || one.Check() == first.Check() || len(one.Check()) != 8 {
		t.Errorf("check values: %s, %s, %s: want the same for the same key, 8 digits", one.Check(), two.Check(), first.Check())
	}
}

func TestLoadKEKRefuses(t *testing.T) {
	rows := []struct {
		name, text, says string
		want             error
	}{
		{"nothing", " \n", "empty", secrets.ErrMasterKey},
		{"no base64", "this is my secret master key!", "neither", secrets.ErrMasterKey},
		{"too short a key", base64.StdEncoding.EncodeToString([]byte(rawKey[:16])), "16 bytes", secrets.ErrMasterKey},
		{"too long a key", base64.StdEncoding.EncodeToString([]byte(rawKey + rawKey)), "64 bytes", secrets.ErrMasterKey},
		{"hex in place of base64", hex.EncodeToString([]byte(rawKey)), "48 bytes", secrets.ErrMasterKey},
		{"a key of zeros", base64.StdEncoding.EncodeToString(make([]byte, 32)), "same", secrets.ErrMasterKey},
		{"broken JSON", `{"primaryKeyId":12345678`, "keyset", secrets.ErrMasterKey},
		{"a keyset without keys", `{"primaryKeyId":1,"key":[]}`, "keyset", secrets.ErrMasterKey},
		{"a keyset that is not for AEAD", clearKeyset(t, mac.HMACSHA256Tag256KeyTemplate()), "not one for AEAD", secrets.ErrMasterKey},
		{"a key in AWS", "aws-kms://arn:aws:kms:eu-west-1:1:key/1", "SEALPOST_MASTER_KEY_FILE", secrets.ErrKMSNotYet},
		{"a key in Google Cloud", "gcp-kms://projects/p", "not supported yet", secrets.ErrKMSNotYet},
		{"a key in Vault", "hcvault://h/keys/k", "not supported yet", secrets.ErrKMSNotYet},
	}
	for _, r := range rows {
		kek, err := secrets.LoadKEK(redact.New(r.text))
		if !errors.Is(err, r.want) || kek != nil || !strings.Contains(err.Error(), r.says) {
			t.Errorf("%s: got %v, want %v with %q", r.name, err, r.want, r.says)
		}
		if text := strings.TrimSpace(r.text); err != nil && text != "" && strings.Contains(err.Error(), text[:8]) && !errors.Is(err, secrets.ErrKMSNotYet) {
			t.Errorf("%s: the error quotes the key: %v", r.name, err)
		}
	}
}

func FuzzLoadKEK(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString([]byte(rawKey)))
	f.Add(`{"primaryKeyId":1,"key":[{"keyData":{"typeUrl":"x","value":"eA=="},"status":"ENABLED","keyId":1}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		kek, err := secrets.LoadKEK(redact.New(text))
		if (kek == nil) != (err != nil) {
			t.Fatalf("got %v and %v", kek, err)
		}
		if s := strings.TrimSpace(text); err != nil && len(s) > 12 && strings.Contains(err.Error(), s) {
			t.Errorf("the error quotes the input: %v", err)
		}
	})
}

func TestKeysDoNotPrint(t *testing.T) {
	w := miniWorld(t)
	kek, err := secrets.LoadKEK(redact.New(base64.StdEncoding.EncodeToString([]byte(rawKey))))
	check(t, err, "load")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		got := fmt.Sprintf(verb+verb, kek, w.keyring)
		if want := "master key " + kek.Check() + "keyring " + w.keyring.StoreID() + " generation 1"; got != want {
			t.Errorf("%s: got %q, want %q", verb, got, want)
		}
	}
}

func newKEK(t *testing.T) *secrets.KEK {
	t.Helper()
	kek, err := secrets.LoadKEK(secrets.GenerateMasterKey())
	check(t, err, "load master key")
	return kek
}

// onBoth runs test on both kinds of Redis, with nothing in them.
func onBoth(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient, prefix string)) {
	t.Run("on redis-server", func(t *testing.T) { rdb, p := queuetest.Redis(t); test(t, rdb, p) })
	t.Run("on the in-memory Redis", func(t *testing.T) { rdb, p := queuetest.Mini(t); test(t, rdb, p) })
}

func TestInitMakesOneKeyring(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient, prefix string) {
		kek := newKEK(t)
		const n = 8
		keyrings, errs := make([]*secrets.Keyring, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { keyrings[i], errs[i] = secrets.Init(t.Context(), rdb, kek, secrets.WithPrefix(prefix)) })
		}
		wg.Wait()
		made := 0
		for i, err := range errs {
			if err == nil {
				made++
				opened, err := secrets.OpenKeyring(t.Context(), rdb, kek, secrets.WithPrefix(prefix))
				check(t, err, "open")
				if opened.StoreID() != keyrings[i].StoreID() || opened.Generation() != 1 {
					t.Errorf("opened %v, want %v", opened, keyrings[i])
				}
				if !opened.VerifyMAC(keyrings[i].MAC("p", "f"), "p", "f") {
					t.Error("the opened keyring has other keys than the one made")
				}
			} else if !errors.Is(err, secrets.ErrInitialised) || keyrings[i] != nil {
				t.Errorf("got %v, %v, want ErrInitialised", keyrings[i], err)
			}
		}
		if made != 1 {
			t.Errorf("%d keyrings were made, want 1", made)
		}
	})
}

func TestOpenKeyringSaysWhatToDo(t *testing.T) {
	right, wrong := newKEK(t), newKEK(t)
	rows := []struct {
		name   string
		kek    *secrets.KEK
		change func(ctx context.Context, rdb redis.UniversalClient, key string) error
		says   []string
	}{
		{"no keyring", right, func(ctx context.Context, rdb redis.UniversalClient, key string) error { return rdb.Del(ctx, key).Err() }, []string{"sealpost init"}},
		{"wrong master key", wrong, nil, []string{"wrong master key", right.Check(), wrong.Check()}},
		{"a changed store id", right, set("store_id", strings.Repeat("0", 32)), []string{"restore it from a backup"}},
		{"a changed generation", right, set("gen", "2"), []string{"restore it from a backup"}},
		{"a generation that is none", right, set("gen", "-1"), []string{"restore it from a backup"}},
		{"a damaged data key", right, set("data", "xx"), []string{"restore it from a backup"}},
		{"a damaged record key", right, set("record", ""), []string{"restore it from a backup"}},
		{"a missing field", right, func(ctx context.Context, rdb redis.UniversalClient, key string) error {
			return rdb.HDel(ctx, key, "record").Err()
		}, []string{"restore it from a backup"}},
		{"the two keys swapped", right, func(ctx context.Context, rdb redis.UniversalClient, key string) error {
			f := rdb.HGetAll(ctx, key).Val()
			return rdb.HSet(ctx, key, "data", f["record"], "record", f["data"]).Err()
		}, []string{"restore it from a backup"}},
		{"a forged check value that looks like a key", wrong, set("kek_check", strings.Repeat("\x1b[31m", 50)), []string{"wrong master key"}},
	}
	for _, r := range rows {
		rdb, prefix := queuetest.Mini(t)
		check(t, second(secrets.Init(t.Context(), rdb, right, secrets.WithPrefix(prefix))), "init")
		if r.change != nil {
			check(t, r.change(t.Context(), rdb, prefix+":{control}:keyring"), "change")
		}
		_, err := secrets.OpenKeyring(t.Context(), rdb, r.kek, secrets.WithPrefix(prefix))
		if !errors.Is(err, secrets.ErrSealed) {
			t.Errorf("%s: got %v, want ErrSealed", r.name, err)
			continue
		}
		for _, says := range r.says {
			if !strings.Contains(err.Error(), says) || strings.ContainsRune(err.Error(), '\x1b') || len(err.Error()) > 300 {
				t.Errorf("%s: got %q, want %q in it", r.name, err, says)
			}
		}
	}
}

func set(field, value string) func(context.Context, redis.UniversalClient, string) error {
	return func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.HSet(ctx, key, field, value).Err()
	}
}

func TestOpenKeyringWithoutRedis(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	defer rdb.Close()
	_, err := secrets.OpenKeyring(t.Context(), rdb, newKEK(t))
	if err == nil || errors.Is(err, secrets.ErrSealed) {
		t.Errorf("got %v, want the network's error: the store is not sealed, it is not there", err)
	}
	if _, err := secrets.Init(t.Context(), rdb, newKEK(t)); err == nil || errors.Is(err, secrets.ErrInitialised) {
		t.Errorf("Init: got %v, want the network's error", err)
	}
}
