package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

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
	open   map[string]bool            // accepted and not ended, by jid
	claims []modelClaim               // also lost ones
	holder map[string]string          // entry -> worker that has it
	old    map[string]bool            // entries whose lease has run out
	parts  map[string]map[string]bool // jid -> parts that were written as accepted
	ids    map[string]string          // producer's id -> jid
	broken string                     // place that has the wrong type: moves fail
	failed int                        // moves that did

	prefix   string
	marks    map[string]string // jid -> claim that began what cannot be taken back
	newest   int               // version of secret s that the queue was told of
	released map[string]int64  // parked set -> ms of its last release
	gate     modelGuard        // of version 1 of secret s
	breaker  modelGuard        // of lane l
}

type modelClaim struct {
	worker, eid, jid string
	parts            []string // accepted ones that it was given
}

func TestEveryAcceptedJobIsInOnePlaceUntilItEnds(t *testing.T) {
	rdb, _ := queuetest.Redis(t)
	rapid.Check(t, func(rt *rapid.T) {
		prefix := queuetest.Prefix()
		m := &model{
			ctx: t.Context(), rdb: rdb, keys: queue.PlaceKeys(prefix), open: map[string]bool{}, holder: map[string]string{},
			old: map[string]bool{}, parts: map[string]map[string]bool{}, ids: map[string]string{},
			prefix: prefix, marks: map[string]string{}, released: map[string]int64{},
		}
		m.base = strings.TrimSuffix(queue.StreamKey(prefix, 0), "jobs")
		defer cleanup(t, rdb, prefix)
		if err := rdb.XGroupCreateMkStream(m.ctx, m.keys[0], "w", "0").Err(); err != nil {
			rt.Fatalf("XGROUP CREATE: %v", err)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"enqueue": m.enqueue, "foreign": m.foreign, "read": m.read, "settle": m.settle, "settle again": m.settle,
			"promote": m.promote, "take over": m.takeOver, "cancel": m.cancel, "operator": m.operator, "unpark": m.unpark,
			"recall": m.recall, "reap": m.reap, "lease runs out": m.age, "renew": m.renew, "break a place": m.breakPlace, "": m.check,
			"gate":    func(rt *rapid.T) { m.guards(rt, false) },
			"breaker": func(rt *rapid.T) { m.guards(rt, true) },
		})
	})
}

func (m *model) run(rt *rapid.T, name string, more []string, args ...any) any {
	v, err := queue.Moves[name].Run(m.ctx, m.rdb, append(slices.Clone(m.keys), more...), args...).Result()
	if m.broken != "" && err != nil && strings.Contains(err.Error(), "WRONGTYPE") {
		m.failed++
		return nil // nothing may have happened: check sees whether it has
	}
	if err != nil && err != redis.Nil {
		rt.Fatalf("%s: %v", name, err)
	}
	return v
}

// code is the answer of a script for its one job, -1 if it failed.
func code(reply any) int64 {
	if codes, _ := reply.([]any); len(codes) == 1 {
		n, _ := codes[0].(int64)
		return n
	}
	return -1
}

var workers = rapid.SampledFrom([]string{"w1", "w2", "w3"})

var producerIDs = rapid.SampledFrom([]string{"", "a", "b"})

func (m *model) enqueue(rt *rapid.T) {
	args := []any{1000, 3_600_000, 3_600_000, 1000, 0}
	var more, ids []string
	for range rapid.IntRange(1, 3).Draw(rt, "jobs") {
		due, dedup := rapid.SampledFrom([]int64{0, 4e12}).Draw(rt, "due"), 0
		id := producerIDs.Draw(rt, "id")
		if id != "" {
			more = append(more, m.base+"dedup:"+id)
			dedup = len(m.keys) + len(more)
		}
		ids = append(ids, id)
		args = append(args, dedup, due, `{"action":{}}`)
	}
	reply, _ := m.run(rt, "enqueue", more, args...).([]any)
	for i := 1; i < len(reply); i += 2 {
		jid, id := reply[i].(string), ids[i/2]
		was, known := m.ids[id]
		if dup := reply[i+1] == int64(1); dup != known || dup && jid != was {
			rt.Fatalf("job of id %q: got %s, duplicate %v, want %s", id, jid, dup, was)
		}
		if !known {
			m.open[jid] = true
		}
		if id != "" {
			m.ids[id] = jid
		}
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
			text, _ := e.Values["meta"].(string)
			m.claim(rt, w, e.ID, text)
		}
	}
}

// claim is a job that came to worker w, which must know of its accepted parts.
func (m *model) claim(rt *rapid.T, w, eid, text string) {
	c := modelClaim{worker: w, eid: eid, jid: jidOf(eid, map[string]any{"meta": text})}
	var meta struct {
		Parts []struct {
			ID      string `json:"i"`
			Refused bool   `json:"r"`
		} `json:"p"`
	}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &meta); err != nil {
			rt.Fatalf("meta %q: %v", text, err)
		}
	}
	for _, p := range meta.Parts {
		if !p.Refused {
			c.parts = append(c.parts, p.ID)
		}
	}
	slices.Sort(c.parts)
	if want := slices.Sorted(maps.Keys(m.parts[c.jid])); !slices.Equal(c.parts, want) {
		rt.Fatalf("job %s comes with accepted parts %v, want %v", c.jid, c.parts, want)
	}
	m.claims = append(m.claims, c)
	m.holder[eid] = w
	delete(m.old, eid)
}

// body is a job that got one more part accepted and one refused.
func (c *modelClaim) body(accepted, more string) string {
	list := []string{`{"i":"refused","r":true}`}
	for _, id := range append(slices.Clone(c.parts), accepted) {
		if id != "" {
			list = append(list, fmt.Sprintf(`{"i":%q}`, id))
		}
	}
	return fmt.Sprintf(`{"j":%q,"a":1,"n":2,"e":5%s,"p":[%s]}`, c.jid, more, strings.Join(list, ",")) + "\n" + `{"action":{}}`
}

// settle ends a claim, often one that another worker has by now. A settlement
// may be sent twice, as after a lost answer.
func (m *model) settle(rt *rapid.T) {
	if len(m.claims) == 0 {
		return
	}
	c := rapid.SampledFrom(m.claims).Draw(rt, "claim")
	accepted := rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "accepted part")
	if slices.Contains(c.parts, accepted) {
		accepted = "" // what is known is not sent
	}
	outcome := rapid.SampledFrom([]string{"done", "delay", "dead", "park", "release"}).Draw(rt, "outcome")
	version := rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "version")
	id := producerIDs.Draw(rt, "follows")
	body := c.body(accepted, "")
	var reply any
	for range rapid.IntRange(1, 2).Draw(rt, "times") {
		held := m.holder[c.eid] == c.worker
		switch outcome {
		case "done":
			if m.run(rt, "done", nil, 60, m.base+"parked:", 1, 1, c.eid, c.jid) != nil {
				m.ended(c.jid)
			}
			continue
		case "delay":
			reply = m.run(rt, "delay", nil, 60, c.worker, c.eid, c.jid, 1e9, lanes.Draw(rt, "lane")+body[1:], 0, "", "")
		case "dead":
			reply = m.dead(rt, c, body, id)
		case "park":
			reply = m.park(rt, c, accepted, version)
		case "release":
			reply = m.run(rt, "release", nil, 60, c.worker, c.eid, c.jid, body, 0, "")
		}
		m.settled(rt, c, code(reply), held, accepted)
	}
}

// settled compares an answer with who holds the job.
func (m *model) settled(rt *rapid.T, c modelClaim, answer int64, held bool, accepted string) {
	switch {
	case answer < 0:
	case held != (answer > 0):
		rt.Fatalf("%s settles %s of job %s: got answer %d, and it holds it: %v", c.worker, c.eid, c.jid, answer, held)
	case answer == 2:
		m.ended(c.jid) // cancelled while it ran
	case held:
		delete(m.holder, c.eid)
		delete(m.marks, c.jid)
		if accepted != "" && m.parts[c.jid] == nil {
			m.parts[c.jid] = map[string]bool{}
		}
		if accepted != "" {
			m.parts[c.jid][accepted] = true
		}
	}
}

// dead makes a dead letter, and perhaps a job that follows it.
func (m *model) dead(rt *rapid.T, c modelClaim, body, id string) any {
	if id == "" {
		return m.run(rt, "dead", nil, 60, c.worker, 3_600_000, 3_600_000, c.eid, c.jid, body, 0, "", "", "", 0)
	}
	key := m.base + "dedup:" + id
	reply := m.run(rt, "dead", []string{key}, 60, c.worker, 3_600_000, 3_600_000, c.eid, c.jid, body, 0, "", "", `{"action":{}}`, len(m.keys)+1)
	if _, known := m.ids[id]; code(reply) == 1 && !known {
		jid, _, _ := strings.Cut(m.rdb.Get(m.ctx, key).Val(), " ")
		m.ids[id] = jid
		m.open[jid] = true
	}
	return reply
}

// ended forgets a job; whoever holds it has lost it.
func (m *model) ended(jid string) {
	delete(m.open, jid)
	delete(m.parts, jid)
	delete(m.marks, jid)
	for _, c := range m.claims {
		if c.jid == jid {
			delete(m.holder, c.eid)
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

// takeOver claims only what has no lease any more, and no more suspects than asked.
func (m *model) takeOver(rt *rapid.T) {
	const lease, losses, suspicion = 60_000, 3, 2
	suspects := rapid.IntRange(0, 2).Draw(rt, "suspects")
	w := workers.Draw(rt, "worker")
	reply, _ := m.run(rt, "reclaim", nil, w, lease, rapid.IntRange(1, 3).Draw(rt, "looked at"), "0-0", losses, suspicion, suspects,
		rapid.IntRange(1, 3).Draw(rt, "count"), losses, 2, 60, m.base+"log:").([]any)
	if reply == nil {
		return
	}
	found, _ := reply[1].([]any)
	for _, f := range found {
		e := f.([]any)
		eid := e[0].(string)
		if !m.old[eid] {
			rt.Fatalf("%s takes over %s, whose lease has not run out", w, eid)
		}
		if deliveries := e[1].(int64); crashesOf(e[2].(string))+int(deliveries)-1 >= suspicion {
			suspects--
		}
		m.claim(rt, w, eid, e[2].(string))
		if jid := m.claims[len(m.claims)-1].jid; e[4] != m.marks[jid] {
			rt.Fatalf("%s takes over %s with mark %q, want %q", w, eid, e[4], m.marks[jid])
		}
	}
	if suspects < 0 {
		rt.Fatalf("%s takes over more suspects than it has slots for", w)
	}
	buried, _ := reply[2].([]any)
	for _, jid := range buried {
		delete(m.marks, jid.(string))
		for _, c := range m.claims {
			if c.jid == jid && m.old[c.eid] {
				delete(m.holder, c.eid)
			}
		}
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
		m.ended(jid)
	}
}

func (m *model) operator(rt *rapid.T) {
	jid := m.any(rt)
	if dead := m.rdb.ZRange(m.ctx, m.keys[3], 0, -1).Val(); len(dead) > 0 {
		jid = rapid.SampledFrom(dead).Draw(rt, "dead letter")
	}
	if rapid.IntRange(0, 3).Draw(rt, "remove") > 0 {
		m.run(rt, "requeue", nil, jid, "1-1")
		return
	}
	if code(m.run(rt, "remove", nil, jid)) == 1 {
		m.ended(jid)
	}
}

func (m *model) reap(rt *rapid.T) { m.run(rt, "reap", nil, workers.Draw(rt, "worker")) }
