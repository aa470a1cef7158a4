package queue_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// A failover takes the newest moves back: the job is again in an older place
// than its holder knows. queue/model finds what that leads to; here are the
// states that it found, made by hand on a real Redis.

// moves is one partition for scripts that a test calls one by one.
type moves struct {
	t      *testing.T
	rdb    redis.UniversalClient
	keys   []string
	stream string
}

func newMoves(t *testing.T) *moves {
	t.Helper()
	rdb, prefix := queuetest.Redis(t)
	m := &moves{t, rdb, queue.PlaceKeys(prefix), queue.StreamKey(prefix, 0)}
	if err := rdb.XGroupCreateMkStream(t.Context(), m.stream, "w", "0").Err(); err != nil {
		t.Fatalf("XGROUP CREATE: %v", err)
	}
	return m
}

func (m *moves) run(name string, args ...any) any {
	m.t.Helper()
	v, err := queue.Moves[name].Run(m.t.Context(), m.rdb, m.keys, args...).Result()
	if err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	return v
}

// enqueue returns the jid.
func (m *moves) enqueue() string {
	m.t.Helper()
	return m.run("enqueue", 1000, 1000, 1000, 1000, 0, 0, 0, `{"action":{}}`).([]any)[1].(string)
}

func (m *moves) read(worker string) string {
	m.t.Helper()
	got, err := m.rdb.XReadGroup(m.t.Context(), &redis.XReadGroupArgs{Group: "w", Consumer: worker, Streams: []string{m.stream, ">"}, Count: 1}).Result()
	if err != nil {
		m.t.Fatalf("XREADGROUP: %v", err)
	}
	return got[0].Messages[0].ID
}

func (m *moves) done(eid, jid string) {
	m.t.Helper()
	m.run("done", 60, strings.TrimSuffix(m.stream, "jobs")+"parked:", 1, 1, eid, jid)
}

func (m *moves) empty(what string) {
	m.t.Helper()
	if n := m.rdb.XLen(m.t.Context(), m.stream).Val(); n != 0 {
		m.t.Errorf("%s: %d entries are left, and the job would be sent again", what, n)
	}
	if p := m.rdb.XPending(m.t.Context(), m.stream, "w").Val(); p == nil || p.Count != 0 {
		m.t.Errorf("%s: got pending %+v, want none", what, p)
	}
}

func TestALateSuccessEndsTheEntryThatAFailoverBroughtBack(t *testing.T) {
	for _, delivered := range []bool{false, true} {
		m := newMoves(t)
		jid := m.enqueue()
		if delivered {
			m.read("w1")
		}
		m.done("9999999999999-0", jid) // an entry that the new primary never had
		m.empty(fmt.Sprintf("the first entry, delivered: %v", delivered))
	}

	m := newMoves(t)
	jid := m.enqueue()
	body := fmt.Sprintf(`{"j":%q,"n":1,"e":5}`, jid) + "\n" + `{"action":{}}`
	m.run("release", 60, "w1", m.read("w1"), jid, body, 0, "") // the second entry
	m.done("9999999999999-0", jid)
	m.empty("the second entry")
}

func TestALateSuccessLeavesOtherJobsAlone(t *testing.T) {
	m := newMoves(t)
	jid, other := m.enqueue(), m.enqueue()
	m.read("w1")
	m.done("9999999999999-0", jid)
	got := m.rdb.XRange(t.Context(), m.stream, "-", "+").Val()
	if len(got) != 1 || got[0].ID != other {
		t.Errorf("got entries %v, want only %s", got, other)
	}
}

func TestAnEntryThatIsOnlyPendingIsForgotten(t *testing.T) {
	m := newMoves(t)
	m.enqueue()
	eid := m.read("w1")
	if err := m.rdb.XDel(t.Context(), m.stream, eid).Err(); err != nil { // a script that stopped between XDEL and XACK
		t.Fatal(err)
	}
	reply := m.run("reclaim", "w2", 0, 10, "0-0", 3).([]any)
	if found := reply[1].([]any); len(found) != 0 {
		t.Errorf("got %v taken over, want nothing", found)
	}
	m.empty("after the takeover")
}
