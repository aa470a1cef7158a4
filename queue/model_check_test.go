package queue_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// check compares the places with what was accepted and not ended.
func (m *model) check(rt *rapid.T) {
	if m.broken != "" {
		m.rdb.Del(m.ctx, m.broken) // it held nothing; a list of it would fail
		defer m.rdb.Set(m.ctx, m.broken, "wrong", 0)
	}
	places := map[string][]string{}
	moved := map[string]string{}
	waiting := map[string]bool{}
	for _, e := range m.rdb.XRange(m.ctx, m.keys[0], "-", "+").Val() {
		jid := jidOf(e.ID, e.Values)
		places[jid] = append(places[jid], "stream")
		waiting[e.ID] = true
		if jid != e.ID {
			moved[jid] = e.ID
		}
	}
	parks := map[string]bool{}
	sets := map[string]string{"due": m.keys[1], "dead": m.keys[3], "parked s:1": m.base + "parked:s:1", "parked s:2": m.base + "parked:s:2"}
	bodies := map[string]bool{}
	for name, key := range sets {
		for _, jid := range m.rdb.ZRange(m.ctx, key, 0, -1).Val() {
			places[jid] = append(places[jid], name)
			bodies[jid] = true
			if park, ok := strings.CutPrefix(name, "parked "); ok {
				parks[park] = true
			}
		}
	}
	for jid, in := range places {
		if len(in) != 1 || !m.open[jid] {
			rt.Fatalf("job %s is in %v, open: %v", jid, in, m.open[jid])
		}
	}
	for jid := range m.open {
		if len(places[jid]) == 0 {
			rt.Fatalf("job %s is lost", jid)
		}
	}
	same(rt, "bodies", m.rdb.HKeys(m.ctx, m.keys[2]).Val(), bodies)
	same(rt, "parked sets", m.rdb.HKeys(m.ctx, m.keys[7]).Val(), parks)
	if diff := cmp.Diff(m.rdb.HGetAll(m.ctx, m.keys[4]).Val(), moved); diff != "" {
		rt.Fatalf("moved (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(m.rdb.HGetAll(m.ctx, m.keys[6]).Val(), m.marks); diff != "" {
		rt.Fatalf("marks (-got +want):\n%s", diff)
	}
	m.checkPending(rt, waiting)
}

// checkPending compares the pending list with who holds what. waiting are the
// entries of the stream.
func (m *model) checkPending(rt *rapid.T, waiting map[string]bool) {
	pending, err := m.rdb.XPendingExt(m.ctx, &redis.XPendingExtArgs{Stream: m.keys[0], Group: "w", Start: "-", End: "+", Count: 1000}).Result()
	if err != nil {
		rt.Fatalf("XPENDING: %v", err)
	}
	last := m.rdb.XInfoGroups(m.ctx, m.keys[0]).Val()[0].LastDeliveredID
	undelivered := map[string]bool{}
	for _, e := range m.rdb.XRange(m.ctx, m.keys[0], "("+last, "+").Val() {
		undelivered[e.ID] = true
	}
	for _, p := range pending {
		if !waiting[p.ID] {
			rt.Fatalf("entry %s is pending and not in the stream", p.ID)
		}
		delete(waiting, p.ID)
		if m.holder[p.ID] != p.Consumer {
			rt.Fatalf("entry %s is pending for %s, and %q holds it", p.ID, p.Consumer, m.holder[p.ID])
		}
	}
	for id := range waiting {
		if !undelivered[id] {
			rt.Fatalf("entry %s was delivered and is in no pending list: nobody will ever get it", id)
		}
	}
}

func same(rt *rapid.T, what string, got []string, want map[string]bool) {
	slices.Sort(got)
	if diff := cmp.Diff(got, slices.Sorted(maps.Keys(want)), cmp.Transformer("empty", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
		rt.Fatalf("%s (-got +want):\n%s", what, diff)
	}
}

// crashesOf is the count in a job's meta.
func crashesOf(meta string) int {
	var m struct {
		C int `json:"c"`
	}
	_ = json.Unmarshal([]byte(meta), &m) // "" of a job that was nowhere else
	return m.C
}
