package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// model makes random moves by the real scripts, by workers that hold a job and
// by workers that have lost it, and knows which jobs were accepted and ended.
type model struct {
	ctx    context.Context
	rdb    redis.UniversalClient
	keys   []string
	base   string
	open   map[string]bool // accepted and not ended, by jid
	claims []modelClaim    // also lost ones
}

type modelClaim struct{ worker, eid, jid string }

func TestEveryAcceptedJobIsInOnePlaceUntilItEnds(t *testing.T) {
	rdb, _ := queuetest.Redis(t)
	rapid.Check(t, func(rt *rapid.T) {
		prefix := queuetest.Prefix()
		m := &model{ctx: t.Context(), rdb: rdb, keys: queue.PlaceKeys(prefix), open: map[string]bool{}}
		m.base = strings.TrimSuffix(queue.StreamKey(prefix, 0), "jobs")
		defer cleanup(t, rdb, prefix)
		if err := rdb.XGroupCreateMkStream(m.ctx, m.keys[0], "w", "0").Err(); err != nil {
			rt.Fatalf("XGROUP CREATE: %v", err)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"enqueue": m.enqueue, "foreign": m.foreign, "read": m.read, "settle": m.settle, "settle again": m.settle,
			"promote": m.promote, "take over": m.takeOver, "cancel": m.cancel, "operator": m.operator, "unpark": m.unpark,
			"reap": m.reap, "": m.check,
		})
	})
}

func (m *model) run(rt *rapid.T, name string, more []string, args ...any) any {
	v, err := queue.Moves[name].Run(m.ctx, m.rdb, append(slices.Clone(m.keys), more...), args...).Result()
	if err != nil && err != redis.Nil {
		rt.Fatalf("%s: %v", name, err)
	}
	return v
}

var workers = rapid.SampledFrom([]string{"w1", "w2", "w3"})

func (m *model) enqueue(rt *rapid.T) {
	args := []any{1000, 1000, 1000, 1000, 0}
	n := rapid.IntRange(1, 3).Draw(rt, "jobs")
	for range n {
		due := rapid.SampledFrom([]int64{0, 4e12}).Draw(rt, "due")
		args = append(args, 0, due, `{"action":{}}`)
	}
	reply, _ := m.run(rt, "enqueue", nil, args...).([]any)
	for i := 1; i < len(reply); i += 2 {
		m.open[reply[i].(string)] = true
	}
}

func (m *model) foreign(rt *rapid.T) {
	id, err := m.rdb.XAdd(m.ctx, &redis.XAddArgs{Stream: m.keys[0], Values: []string{"job", `{"action":{}}`}}).Result()
	if err != nil {
		rt.Fatalf("XADD: %v", err)
	}
	m.open[id] = true
}

func jidOf(id string, fields map[string]any) string {
	var meta struct {
		JID string `json:"j"`
	}
	text, _ := fields["meta"].(string)
	if json.Unmarshal([]byte(text), &meta) == nil && meta.JID != "" {
		return meta.JID
	}
	return id
}

func (m *model) read(rt *rapid.T) {
	w := workers.Draw(rt, "worker")
	got, err := m.rdb.XReadGroup(m.ctx, &redis.XReadGroupArgs{Group: "w", Consumer: w, Streams: []string{m.keys[0], ">"}, Count: 2, Block: -1}).Result()
	if err != nil && err != redis.Nil {
		rt.Fatalf("XREADGROUP: %v", err)
	}
	for _, s := range got {
		for _, e := range s.Messages {
			m.claims = append(m.claims, modelClaim{w, e.ID, jidOf(e.ID, e.Values)})
		}
	}
}

// settle ends a claim, often one that another worker has by now. A settlement
// may be sent twice, as after a lost answer.
func (m *model) settle(rt *rapid.T) {
	if len(m.claims) == 0 {
		return
	}
	c := rapid.SampledFrom(m.claims).Draw(rt, "claim")
	times := rapid.IntRange(1, 2).Draw(rt, "times")
	outcome := rapid.SampledFrom([]string{"done", "delay", "dead", "park", "release"}).Draw(rt, "outcome")
	version := rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "version")
	body := fmt.Sprintf(`{"j":%q,"a":1,"n":2,"e":5}`, c.jid) + "\n" + `{"action":{}}`
	parked := fmt.Sprintf(`{"j":%q,"a":1,"n":2,"e":5,"s":"s","v":%s}`, c.jid, version) + "\n" + `{"action":{}}`
	var reply any
	for range times {
		switch outcome {
		case "done":
			m.run(rt, "done", nil, 60, m.base+"parked:", c.eid, c.jid, 0, "", "done ")
			delete(m.open, c.jid)
			continue
		case "delay":
			reply = m.run(rt, "delay", nil, 60, c.worker, c.eid, c.jid, 1e9, body, 0, "", "")
		case "dead":
			reply = m.run(rt, "dead", nil, 60, c.worker, c.eid, c.jid, body, 0, "", "")
		case "park":
			reply = m.run(rt, "park", []string{m.base + "parked:s:" + version}, 60, c.worker, "s", version, c.eid, c.jid, 5, parked, 0, "", "", 0)
		case "release":
			reply = m.run(rt, "release", nil, 60, c.worker, c.eid, c.jid, body, 0, "")
		}
		if codes, _ := reply.([]any); len(codes) == 1 && codes[0] == int64(2) {
			delete(m.open, c.jid) // cancelled while it ran
		}
	}
}

// promote lets time pass for some delayed jobs.
func (m *model) promote(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "time passes") {
		for _, jid := range m.rdb.ZRange(m.ctx, m.keys[1], 0, -1).Val() {
			m.rdb.ZAddXX(m.ctx, m.keys[1], redis.Z{Score: 1, Member: jid})
		}
	}
	m.run(rt, "promote", nil, rapid.IntRange(1, 5).Draw(rt, "limit"))
}

// takeOver claims what any worker holds, as if all leases had run out.
func (m *model) takeOver(rt *rapid.T) {
	w := workers.Draw(rt, "worker")
	reply, _ := m.run(rt, "reclaim", nil, w, 0, rapid.IntRange(1, 3).Draw(rt, "count"), "0-0", 3).([]any)
	found, _ := reply[1].([]any)
	for _, f := range found {
		e := f.([]any)
		m.claims = append(m.claims, modelClaim{w, e[0].(string), jidOf(e[0].(string), map[string]any{"meta": e[2]})})
	}
}

func (m *model) any(rt *rapid.T) string {
	jids := slices.Sorted(maps.Keys(m.open))
	if len(jids) == 0 {
		return "1-1"
	}
	return rapid.SampledFrom(jids).Draw(rt, "job")
}

func (m *model) cancel(rt *rapid.T) {
	jid := m.any(rt)
	if m.run(rt, "cancel", []string{m.base + "log:0"}, jid, m.base+"parked:", 0, "") == "cancelled" {
		delete(m.open, jid)
	}
}

func (m *model) operator(rt *rapid.T) {
	jid := m.any(rt)
	if rapid.Bool().Draw(rt, "retry") {
		m.run(rt, "requeue", nil, jid, "1-1")
		return
	}
	if codes, _ := m.run(rt, "remove", nil, jid).([]any); codes[0] == int64(1) {
		delete(m.open, jid)
	}
}

func (m *model) unpark(rt *rapid.T) {
	if rapid.IntRange(0, 9).Draw(rt, "new version") == 0 {
		m.run(rt, "version", nil, "s", 2)
	}
	name := "s:" + rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "version")
	m.run(rt, "unpark", []string{m.base + "parked:" + name}, name, rapid.IntRange(1, 3).Draw(rt, "limit"))
}

func (m *model) reap(rt *rapid.T) { m.run(rt, "reap", nil, workers.Draw(rt, "worker")) }

// check compares the places with what was accepted and not ended.
func (m *model) check(rt *rapid.T) {
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
