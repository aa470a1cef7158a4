package queue_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"github.com/sealpost/sealpost/queue"
)

// age lets the lease of an entry run out.
func (m *model) age(rt *rapid.T) {
	eids := slices.Sorted(maps.Keys(m.holder))
	if len(eids) == 0 {
		return
	}
	eid := rapid.SampledFrom(eids).Draw(rt, "entry")
	deliveries := rapid.IntRange(1, 3).Draw(rt, "deliveries")
	hour := 3_600_000
	if err := m.rdb.Do(m.ctx, "XCLAIM", m.keys[0], "w", m.holder[eid], 0, eid, "IDLE", hour, "RETRYCOUNT", deliveries, "JUSTID").Err(); err != nil {
		rt.Fatalf("XCLAIM: %v", err)
	}
	m.old[eid] = true
}

// renew asks for a lease, which only its holder gets, perhaps with the mark of a step
// that cannot be taken back: who finds another's is told so.
func (m *model) renew(rt *rapid.T) {
	if len(m.claims) == 0 {
		return
	}
	c := rapid.SampledFrom(m.claims).Draw(rt, "claim")
	if rapid.Bool().Draw(rt, "by another worker") {
		c.worker = workers.Draw(rt, "worker")
	}
	held := m.holder[c.eid] == c.worker
	mark, want := rapid.SampledFrom([]string{"", "m1", "m2"}).Draw(rt, "mark"), int64(0)
	if held {
		want = 1
	}
	if was := m.marks[c.jid]; held && mark != "" && was != "" && was != mark {
		want = 2
	}
	switch answer := code(m.run(rt, "renew", nil, c.worker, c.eid, c.jid, mark)); {
	case answer < 0:
	case answer != want:
		rt.Fatalf("%s renews %s with mark %q: got %d, want %d", c.worker, c.eid, mark, answer, want)
	case held:
		delete(m.old, c.eid)
		if mark != "" && answer == 1 {
			m.marks[c.jid] = mark
		}
	}
}

// breakPlace gives a place that is empty the wrong type, or mends it.
func (m *model) breakPlace(rt *rapid.T) {
	if m.broken != "" {
		m.rdb.Del(m.ctx, m.broken)
		m.broken = ""
		return
	}
	key := rapid.SampledFrom(append(slices.Clone(m.keys[1:]), m.base+"parked:s:1")).Draw(rt, "place")
	if m.rdb.SetNX(m.ctx, key, "wrong", 0).Val() {
		m.broken = key
	}
}

// park parks a job that was refused, or one that was not tried for a refusal of
// before or after the last release of its set.
func (m *model) park(rt *rapid.T, c modelClaim, accepted, version string) any {
	set := "s:" + version
	asOf := m.released[set] // the release's own moment counts as before it
	switch rapid.IntRange(0, 3).Draw(rt, "untried") {
	case 0, 1:
		asOf = 0
	case 2:
		asOf += 1 << 40 // some year to come
	}
	parked := c.body(accepted, `,"s":"s","v":`+version)
	reply := m.run(rt, "park", []string{m.base + "parked:" + set}, 60, c.worker, "s", version, "", c.eid, c.jid, 5, parked, 0, "", "", asOf)
	number, _ := strconv.Atoi(version)
	ready := m.newest > number || asOf > 0 && asOf <= m.released[set]
	if answer := code(reply); answer == 1 && ready || answer == 3 && !ready {
		rt.Fatalf("park on %s, as of %d, released at %d, newest version %d: got answer %d", set, asOf, m.released[set], m.newest, answer)
	}
	return reply
}

// unpark lets parked jobs go: all of a set, which is remembered, or some as probes.
func (m *model) unpark(rt *rapid.T) {
	if rapid.IntRange(0, 9).Draw(rt, "new version") == 0 {
		newest := rapid.IntRange(1, 2).Draw(rt, "newest")
		told := m.run(rt, "version", nil, "s", newest) != nil
		got, _ := m.rdb.HGet(m.ctx, m.keys[8], "s").Int() // 0 while there is none
		if want := max(m.newest, newest); told && got != want || got < m.newest {
			rt.Fatalf("newest version: got %d, want %d", got, want)
		}
		m.newest = got
	}
	name := "s:" + rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "version")
	all := rapid.IntRange(0, 1).Draw(rt, "release")
	done := m.run(rt, "unpark", []string{m.base + "parked:" + name}, name, rapid.IntRange(1, 3).Draw(rt, "limit"), all) != nil
	was := m.released[name]
	m.released[name], _ = m.rdb.HGet(m.ctx, m.keys[8], "released:"+name).Int64() // 0 while there was none
	if got := m.released[name]; all == 0 && got != was || done && all == 1 && (got == 0 || got < was) {
		rt.Fatalf("unpark of %s, all: %d: the last release was at %d, and is at %d", name, all, was, got)
	}
}

// modelGuard is what gate.lua and pace.lua must know of a credential and of a lane.
type modelGuard struct {
	closed bool
	over   bool // the pause is
	probe  bool // somebody has it
}

// guards are the moves of the gate and of the breaker. They move no job.
func (m *model) guards(rt *rapid.T, lane bool) {
	g, script, key, field := &m.gate, "gate", queue.GateKey(m.prefix), "s:1"
	refuse := []any{"refuse", field, 120_000, 3_600_000, "535", "refused"}
	open, ask := []any{"open", field}, []any{"ask", field, 60_000}
	if lane {
		g, script, key, field = &m.breaker, "pace", queue.PaceKey(m.prefix), "l"
		ask = []any{"probe", field, "w1", 60_000, 60_000}
		refuse = []any{"silent", field, 60_000, 60_000, "rule", "no answer", 500}
		open = []any{"mend", field}
	}
	call := func(args ...any) []any {
		reply, err := queue.Moves[script].Run(m.ctx, m.rdb, []string{key}, args...).Slice()
		if err != nil || len(reply) == 0 {
			rt.Fatalf("%s %v: %v, %v", script, args, reply, err)
		}
		return reply[1:]
	}
	switch rapid.SampledFrom([]string{"refuse", "ask", "ask", "time passes", "open"}).Draw(rt, "guard") {
	case "refuse":
		call(refuse...)
		if !g.closed || g.over || g.probe {
			*g = modelGuard{closed: true}
		}
	case "ask":
		want := "go"
		switch {
		case g.closed && g.over:
			want = "probe"
			g.over, g.probe = false, true
		case g.closed && lane:
			want = "wait"
		case g.closed:
			want = "refused"
		}
		if got := call(ask...)[0]; got != want {
			rt.Fatalf("%s asks: got %v, want %s; %+v", script, got, want, *g)
		}
	case "time passes":
		if g.closed {
			m.past(rt, key, field, lane)
			g.over = true
		}
	case "open":
		call(open...)
		*g = modelGuard{}
	}
}

// past lets the pause of a guard be over.
func (m *model) past(rt *rapid.T, key, field string, lane bool) {
	var entry map[string]any
	if err := json.Unmarshal([]byte(m.rdb.HGet(m.ctx, key, field).Val()), &entry); err != nil {
		rt.Fatalf("%s of %s: %v", field, key, err)
	}
	if entry["u"] = 1; lane {
		entry["bu"] = 1
		delete(entry, "u")
	}
	text, err := json.Marshal(entry)
	if err != nil {
		rt.Fatal(err)
	}
	m.rdb.HSet(m.ctx, key, field, text)
}

// lanes begin the meta of a delayed job: none, or the lane that handed it back.
var lanes = rapid.SampledFrom([]string{"{", `{"w":"l",`, `{"w":"m",`})

// recall makes the jobs ready that a lane handed back, and no others.
func (m *model) recall(rt *rapid.T) {
	mark := strings.Trim(rapid.SampledFrom([]string{`{"w":"l",`, `{"w":"m",`}).Draw(rt, "mark"), "{,")
	want := map[string]bool{}
	for _, jid := range m.rdb.ZRange(m.ctx, m.keys[1], 0, -1).Val() {
		if body := m.rdb.HGet(m.ctx, m.keys[2], jid).Val(); !strings.Contains(body, mark) {
			want[jid] = true
		}
	}
	had := m.rdb.ZCard(m.ctx, m.keys[1]).Val()
	reply, _ := m.run(rt, "recall", nil, mark, "0", 1000).([]any)
	if reply == nil {
		return // a place was broken
	}
	if n := reply[1].(int64); reply[0] != "0" || n != had-int64(len(want)) {
		rt.Fatalf("recall of %s: got %v, want %d jobs and no more pages", mark, reply, had-int64(len(want)))
	}
	same(rt, "delayed jobs that were not recalled", m.rdb.ZRange(m.ctx, m.keys[1], 0, -1).Val(), want)
}
