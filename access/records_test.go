package access

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
)

const (
	keyAccess   = "sealpost:{control}:access"
	keyManifest = "sealpost:{control}:manifest:access"
	keyRev      = "sealpost:{control}:rev"
)

// tamperings are what somebody who can write to Redis may do to the deny policy
// of the test, or to the set around it. Each is a change that, unseen, would
// widen what the analysis may read.
var tamperings = []struct {
	name string
	do   func(t *testing.T, rdb *redis.Client, deny, allow string)
}{
	{"the deny policy is deleted", func(t *testing.T, rdb *redis.Client, deny, _ string) {
		must(t, rdb.HDel(t.Context(), keyAccess, "policy:"+deny).Err())
	}},
	{"the deny policy is emptied", func(t *testing.T, rdb *redis.Client, deny, _ string) {
		must(t, rdb.HSet(t.Context(), keyAccess, "policy:"+deny, "").Err())
	}},
	{"the deny policy is switched off", func(t *testing.T, rdb *redis.Client, deny, _ string) {
		rec := rdb.HGet(t.Context(), keyAccess, "policy:"+deny).Val()
		must(t, rdb.HSet(t.Context(), keyAccess, "policy:"+deny, strings.Replace(rec, `"active":true`, `"active":false`, 1)).Err())
	}},
	{"the deny policy becomes a copy of the allow policy", func(t *testing.T, rdb *redis.Client, deny, allow string) {
		must(t, rdb.HSet(t.Context(), keyAccess, "policy:"+deny, rdb.HGet(t.Context(), keyAccess, "policy:"+allow).Val()).Err())
	}},
	{"a record is added under another id", func(t *testing.T, rdb *redis.Client, deny, _ string) {
		must(t, rdb.HSet(t.Context(), keyAccess, "policy:"+newRecordID(), rdb.HGet(t.Context(), keyAccess, "policy:"+deny).Val()).Err())
	}},
	{"one bit of the manifest is flipped", func(t *testing.T, rdb *redis.Client, _, _ string) {
		seal := []byte(rdb.HGet(t.Context(), keyManifest, "seal").Val())
		seal[len(seal)-1] ^= 1
		must(t, rdb.HSet(t.Context(), keyManifest, "seal", seal).Err())
	}},
	{"the manifest says another version", func(t *testing.T, rdb *redis.Client, _, _ string) {
		must(t, rdb.HIncrBy(t.Context(), keyManifest, "v", 1).Err())
	}},
	{"the manifest is deleted", func(t *testing.T, rdb *redis.Client, _, _ string) {
		must(t, rdb.Del(t.Context(), keyManifest).Err())
	}},
	{"the manifest is no manifest", func(t *testing.T, rdb *redis.Client, _, _ string) {
		must(t, rdb.HSet(t.Context(), keyManifest, "v", "x", "seal", "").Err())
	}},
	{"the deny policy is deleted with the manifest", func(t *testing.T, rdb *redis.Client, deny, _ string) {
		must(t, rdb.Del(t.Context(), keyManifest).Err())
		must(t, rdb.HDel(t.Context(), keyAccess, "policy:"+deny).Err())
	}},
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTamperingIsSeen(t *testing.T) {
	rdb := realRedis(t)
	for _, tt := range tamperings {
		t.Run(tt.name, func(t *testing.T) {
			must(t, rdb.FlushAll(t.Context()).Err())
			b := first(t, rdb)
			a, _ := b.analysis(t, AnalysisChange{})
			b.secret(t, "ONE", "first value")
			allow := b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
			deny := b.policy(t, Tuple{"analysis"}, may(Deny, "access", "secrets"))
			running := another(t, b)
			if got := running.keys(t, a.ID); got != "" {
				t.Fatalf("before: %q, want nothing", got)
			}
			tt.do(t, rdb, deny.ID, allow.ID)
			must(t, rdb.Set(t.Context(), keyRev, secrets.NewRevisionID(), 0).Err()) // so that everybody looks
			fresh := another(t, b)
			if _, _, err := fresh.dir.Environment(t.Context(), a.ID, secrets.Use{}); !errors.Is(err, secrets.ErrSealBroken) {
				t.Errorf("a fresh process: %v, want ErrSealBroken", err)
			}
			if _, _, err := fresh.dir.Verify(t.Context()); !errors.Is(err, secrets.ErrSealBroken) {
				t.Errorf("Verify: %v, want ErrSealBroken", err)
			}
			if _, err := fresh.dir.CreatePolicy(t.Context(), "test", PolicyChange{Name: new("n"), Permissions: []Permission{}, Targets: []Tuple{{"analysis"}}}); !errors.Is(err, secrets.ErrSealBroken) {
				t.Errorf("a write that would cover it up: %v, want ErrSealBroken", err)
			}
			// The running process has its own checked copy: it may go on with that, never with less.
			if env, _, err := running.dir.Environment(t.Context(), a.ID, secrets.Use{}); err == nil && len(env) > 0 {
				t.Errorf("the running process gives %d keys", len(env))
			}
		})
	}
}

func TestOldStateIsNotTakenBack(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	b.secret(t, "ONE", "first value")
	b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	ctx := t.Context()
	records, manifest := b.rdb.HGetAll(ctx, keyAccess).Val(), b.rdb.HGetAll(ctx, keyManifest).Val()
	b.policy(t, Tuple{"analysis"}, may(Deny, "access", "secrets"))
	if got := b.keys(t, a.ID); got != "" {
		t.Fatalf("environment = %q, want nothing", got)
	}
	must(t, b.rdb.Del(ctx, keyAccess, keyManifest).Err())
	must(t, b.rdb.HSet(ctx, keyAccess, records).Err())
	must(t, b.rdb.HSet(ctx, keyManifest, manifest).Err())
	must(t, b.rdb.Set(ctx, keyRev, secrets.NewRevisionID(), 0).Err())
	_, _, err := b.dir.Environment(ctx, a.ID, secrets.Use{})
	if !errors.Is(err, secrets.ErrSealBroken) || !strings.Contains(err.Error(), "older than this process") {
		t.Errorf("after a rollback: %v, want ErrSealBroken that says so", err)
	}
}

func TestEveryByteOfARecordCounts(t *testing.T) {
	b := first(t, realRedis(t))
	p := b.policy(t, Tuple{"analysis"}, may(Deny, "access", "secrets"))
	field := "policy:" + p.ID
	rec := b.rdb.HGet(t.Context(), keyAccess, field).Val()
	set := newRecordSet(b.rdb, b.keyring)
	for i := range len(rec) {
		bad := []byte(rec)
		bad[i] ^= 0x20
		if _, err := set.Check(map[string]string{field: string(bad)}); !errors.Is(err, secrets.ErrSealBroken) {
			t.Fatalf("byte %d of %d changed: %v, want ErrSealBroken", i, len(rec), err)
		}
	}
	if _, err := set.Check(map[string]string{field: rec}); err != nil {
		t.Errorf("the record itself: %v", err)
	}
}

func TestNothingSealedIsInRedis(t *testing.T) {
	b := first(t, realRedis(t))
	const canary = "canary-8b1f0a"
	a, token := b.analysis(t, AnalysisChange{Variables: vars("OWN", canary)})
	b.secret(t, "ONE", canary+"-secret")
	b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	if got := b.keys(t, a.ID); !strings.Contains(got, canary) {
		t.Fatalf("environment = %s, want the canary", got)
	}
	for _, key := range b.rdb.Keys(t.Context(), "*").Val() {
		dump := b.rdb.Dump(t.Context(), key).Val()
		if b.rdb.Type(t.Context(), key).Val() == "hash" {
			for k, v := range b.rdb.HGetAll(t.Context(), key).Val() {
				dump += k + v
			}
		}
		for _, hidden := range []string{canary, token.Reveal(), token.Reveal()[hintSize:]} {
			if strings.Contains(dump, hidden) {
				t.Errorf("%s holds %q", key, hidden)
			}
		}
	}
}
