package secrets_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

// TestAFullRedisStillOpensSecrets: the jobs in a Redis that has reached its
// maxmemory end only if a worker can start, read its sets and open secrets, each
// with an audit entry as ever. What would store more is refused.
func TestAFullRedisStillOpensSecrets(t *testing.T) {
	server := queuetest.NewServer(t)
	rdb := redis.NewClient(queuetest.Options(server.Addr()))
	t.Cleanup(func() { _ = rdb.Close() })
	w := newWorld(t, rdb, secrets.DefaultPrefix)
	ref := secretstest.MustPut(t, w.Store, "MAIL", smtpValue)
	ctx := t.Context()
	entry := secrets.AuditEntry{Actor: "admin", Op: "create", Kind: "policy", ID: "p1"}
	set := secrets.NewRecordSet(rdb, w.keyring, "things", "things")
	_, _, err := set.Read(ctx)
	check(t, err, "read the set")
	ok, err := set.Write(ctx, "p1", `{"a":1}`, entry)
	if check(t, err, "write a record"); !ok {
		t.Fatal("the record was not written")
	}
	check(t, rdb.ConfigSet(ctx, "maxmemory", "1").Err(), "fill Redis")
	if err := rdb.Set(ctx, "more", "x", 0).Err(); !redis.IsOOMError(err) {
		t.Fatalf("SET: got %v, want Redis full", err)
	}

	records, whole, err := secrets.NewRecordSet(rdb, w.keyring, "things", "things").Read(ctx)
	if err != nil || !whole || records["p1"] != `{"a":1}` {
		t.Errorf("a process that starts: got %v, whole %v, %v; want the record", records, whole, err)
	}
	other := w.another(t)
	rev, err := secrets.NewRevision(rdb, w.keyring).Current(ctx)
	check(t, err, "read the revision")
	catalog := secrets.NewCatalog(other)
	check(t, catalog.View(ctx, rev, func(v secrets.View) {
		if _, ok := v.ByID(ref.ID); !ok {
			t.Error("the catalog has no secret, want the one that there is")
		}
	}), "view the catalog")

	before := rdb.XLen(ctx, w.key("audit")).Val()
	login, err := other.OpenSMTP(ctx, ref, use)
	if err != nil || login.Ref.Version != 1 {
		t.Fatalf("OpenSMTP: got version %d, %v; want 1", login.Ref.Version, err)
	}
	log, err := other.Audit(ctx, 1)
	if err != nil || rdb.XLen(ctx, w.key("audit")).Val() != before+1 || log[0].Op != "open" || log[0].Why != use.Why || log[0].ID != ref.ID {
		t.Errorf("got audit entries %+v, %v; want one more, of the opening", log, err)
	}
	current, err := secrets.NewRevision(rdb, w.keyring).NoteAt(ctx, rev, entry.Prepare())
	if n := rdb.XLen(ctx, w.key("audit")).Val(); err != nil || current != rev || n != before+2 {
		t.Errorf("an entry at a revision: got %q, %v and %d entries; want it written at %q", current, err, n-before, rev)
	}
	if _, _, err := other.Put(ctx, "test", put("OTHER", smtpValue)); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("Put: got %v, want it refused: Redis is full", err)
	}
}
