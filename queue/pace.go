package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/crashpoint"
)

// What a destination bears is learnt from its refusals, and all processes share
// it: a field for each lane in a hash beside the partitions, which pace.lua
// reads and writes. A lane that nothing limits has no field and costs nothing.
// Of a lane with a field each process asks, a few times a second and for all
// such lanes in one call, how many jobs it may begin and how many may run.
// pacelane.go is what lanes make of the answers.
const (
	paceRefresh = time.Second            // how late a process learns what others have learnt
	paceShare   = 100 * time.Millisecond // between two shares of a limited lane
	paceBatch   = 200 * time.Millisecond // for which a share has tokens: more than a late call needs
	paceLease   = 3 * time.Second        // after which a process that does not ask has no share and no probe
	paceProbe   = time.Minute            // after which another may probe although a probe goes on
	paceRecover = time.Minute            // scale of growth: back at what was too much after 32 s, doubled after 92 s
	maxPaced    = 500                    // lanes in the hash; others are limited by each process alone
	maxPaceName = 256                    // bytes of the name of such a lane
	paceMeasure = time.Second            // over which a process counts what comes through
	paceLong    = time.Minute            // the same, if nothing came
	// Hand-backs come faster than they are done, or the lane would run empty. That
	// is the rate of all processes, as one of them may have got the whole backlog.
	paceAhead   = 1.25
	paceGuess   = 4                // the same while the limit is a guess that soon grows
	paceHorizon = 10 * time.Second // longest hand-back by such a guess
	paceBlind   = 2 * time.Second  // the same while no process knows how long an attempt takes
)

// Lesson says which limit of the other side a refusal has shown.
type Lesson int

// The lessons. A throttled attempt without one only stops its lane for a while.
const (
	NoLesson        Lesson = iota
	RateLimit              // too many jobs a second
	ConnectionLimit        // too many connections at once; ThrottledError.Count is how many are open
	SessionLimit           // too many messages in one connection; Count is how many it took
)

// lessonWords are the lessons as pace.lua has them.
var lessonWords = map[Lesson]string{NoLesson: "", RateLimit: "rate", ConnectionLimit: "connections", SessionLimit: "messages"}

// Limit is what is known of a destination at this moment; 0 means no limit.
type Limit struct {
	Rate          float64 // jobs a second, of all processes
	Connections   int     // of this process: its part of the limit
	PerConnection int     // messages in one connection
}

// LaneState is a lane that is limited, held or broken. Its JSON is part of the
// public contract.
type LaneState struct {
	Lane          string    `json:"lane"`
	Rate          float64   `json:"rate,omitempty"`                    // jobs a second, of all processes
	Connections   int       `json:"connections,omitempty"`             // of all processes
	PerConnection int       `json:"messages_per_connection,omitempty"` //
	HeldUntil     time.Time `json:"held_until,omitzero"`               // no job begins before
	BrokenSince   time.Time `json:"broken_since,omitzero"`             // it does not answer
	NextProbe     time.Time `json:"next_probe,omitzero"`               // when one job may try
	Code          string    `json:"code,omitempty"`                    // of the last refusal
	Rule          string    `json:"rule,omitempty"`                    // that judged it
	Text          string    `json:"text,omitempty"`                    // of the last refusal or error, scrubbed
}

// paced is a lane as Redis has it; pace.lua explains the letters. Times are
// Redis' ms.
type paced struct {
	Rate  float64 `json:"r"`
	Conns int     `json:"c"`
	Mails int     `json:"m"`
	Hold  float64 `json:"h"`

	// When the rate and the connections were guessed; 0 once they were refused again.
	First      float64 `json:"i"`
	FirstConns float64 `json:"ci"`

	Broken float64 `json:"b"`
	Probe  float64 `json:"bu"`

	Procs map[string]struct {
		Took float64 `json:"d"` // µs of an attempt
	} `json:"k"`

	Code       string `json:"o"`
	Rule       string `json:"y"`
	Text       string `json:"x"`
	BrokenRule string `json:"by"`
	BrokenText string `json:"bx"`
}

// took is how long an attempt takes in the fastest process, 0 if none knows. A
// process that has not ended one yet would guess, and hand a backlog back for far
// too long (seen: 18 jobs a second of 500 for 7 s).
func (s *paced) took() time.Duration {
	least := 0.0
	for _, p := range s.Procs {
		if p.Took > 0 && (least == 0 || p.Took < least) {
			least = p.Took
		}
	}
	return time.Duration(least) * time.Microsecond
}

// shown is the lane as people see it. It was read at ms.
func (s *paced) shown(lane string, ms int64) LaneState {
	at := func(ms float64) time.Time { return time.UnixMilli(int64(ms)).UTC() }
	l := LaneState{Lane: lane, Rate: s.Rate, Connections: s.Conns, PerConnection: s.Mails, Code: s.Code, Rule: s.Rule, Text: s.Text}
	if s.Hold > float64(ms) {
		l.HeldUntil = at(s.Hold)
	}
	if s.Broken > 0 {
		l.BrokenSince, l.NextProbe = at(s.Broken), at(s.Probe)
		l.Code, l.Rule, l.Text = "", s.BrokenRule, s.BrokenText
	}
	return l
}

// pacer calls pace.lua.
type pacer struct {
	rdb     redis.UniversalClient
	key     string
	me      string // this process
	recover time.Duration
	kick    chan struct{} // a lane has become limited
}

func newPacer(rdb redis.UniversalClient, prefix, me string, recover time.Duration) *pacer {
	return &pacer{rdb: rdb, key: newShared(prefix).pace(), me: me, recover: recover, kick: make(chan struct{}, 1)}
}

// call runs the script and returns the time of its answer and the rest of it.
func (pc *pacer) call(ctx context.Context, args ...any) (ms int64, rest []string, err error) {
	reply, err := scriptPace.Run(ctx, pc.rdb, []string{pc.key}, args...).StringSlice()
	if err != nil {
		return 0, nil, err
	}
	if len(reply) == 0 {
		return 0, nil, errPaceForm
	}
	ms, err = strconv.ParseInt(reply[0], 10, 64)
	return ms, reply[1:], err
}

var errPaceForm = errors.New("pace: answer of another form")

// list reads all lanes, and says that this process lives and still probes those of
// probes, which it may do alone for another lease.
func (pc *pacer) list(ctx context.Context, lease time.Duration, probes ...string) (ms int64, all map[string]paced, err error) {
	args := []any{"list", pc.recover.Milliseconds(), pc.me, lease.Milliseconds()}
	for _, lane := range probes {
		args = append(args, lane)
	}
	ms, rest, err := pc.call(ctx, args...)
	if err != nil {
		return 0, nil, err
	}
	all = make(map[string]paced, len(rest)/2)
	for i := 0; i+1 < len(rest); i += 2 {
		var s paced
		if err := json.Unmarshal([]byte(rest[i+1]), &s); err != nil {
			return 0, nil, errPaceForm
		}
		all[rest[i]] = s
	}
	return ms, all, nil
}

// one reads the answer to a call about one lane: nil if it is not limited.
func one(rest []string) (*paced, error) {
	if len(rest) == 0 || rest[len(rest)-1] == "" {
		return nil, nil
	}
	var s paced
	if err := json.Unmarshal([]byte(rest[len(rest)-1]), &s); err != nil {
		return nil, errPaceForm
	}
	return &s, nil
}

// sharable says that the lane may be a field of the hash.
func sharable(lane string) bool { return lane != suspectLane && len(lane) <= maxPaceName }

// teach tells all processes that a job of the lane was throttled. pause is what
// the other side named, 0 if nothing.
func (p *Pool) teach(l *lane, e *ThrottledError, pause time.Duration, reply *Reply) {
	if !sharable(l.name) {
		return
	}
	running, rate, known := p.lanes.taught(l, pause, time.Now())
	if known {
		return
	}
	count := rate
	if e.Lesson != RateLimit {
		count = float64(e.Count)
	}
	ctx, start := context.WithoutCancel(p.jobs), time.Now()
	crashpoint.Point("pace-before")
	ms, rest, err := p.pace.call(ctx, "teach", l.name, p.pace.me, p.pace.recover.Milliseconds(), lessonWords[e.Lesson], count, running,
		pause.Milliseconds(), clip(reply.Code), clip(reply.Rule), clip(reply.Text), maxPaced)
	if err != nil {
		p.trouble("pace", err)
		return
	}
	crashpoint.Point("pace-after")
	if len(rest) == 0 {
		return // there are too many such lanes: this process is alone with it
	}
	p.take(l, start, ms, rest)
	if e.Lesson != NoLesson {
		limit := p.lanes.limit(l)
		p.log.Info("destination wants less", "lane", l.name, "rule", clip(reply.Rule), "rate", limit.Rate,
			"connections", limit.Connections, "per_connection", limit.PerConnection)
	}
}

// take applies what a call about one lane answered.
func (p *Pool) take(l *lane, start time.Time, ms int64, rest []string) {
	s, err := one(rest)
	if err != nil {
		p.trouble("pace", err)
		return
	}
	p.lanes.apply(l.name, s, start, ms)
	select {
	case p.pace.kick <- struct{}{}:
	default:
	}
}

// tellBreaker tells all processes what an attempt has done to its lane's breaker.
func (p *Pool) tellBreaker(c *claim, reply *Reply, err error) {
	l, how := c.lane, c.change
	if how == stays || !sharable(l.name) {
		return
	}
	ctx, start := context.WithoutCancel(p.jobs), time.Now()
	args := []any{"mend", l.name}
	if how != mended {
		text := reply.Text
		if text == "" {
			text = err.Error()
		}
		args = []any{"silent", l.name, breakerBase.Milliseconds(), breakerMost.Milliseconds(), clip(reply.Rule), clip(text), maxPaced}
	}
	crashpoint.Point("breaker-before")
	ms, rest, callErr := p.pace.call(ctx, args...)
	if callErr != nil {
		p.trouble("pace", callErr)
		return
	}
	crashpoint.Point("breaker-after")
	if how != mended && len(rest) > 0 {
		p.take(l, start, ms, rest)
	}
}

// unprobed reports whether the job must not try its broken lane, since another
// process does. It is then handed back.
func (p *Pool) unprobed(c *claim) bool {
	if !c.tries || !sharable(c.lane.name) {
		return false
	}
	start := time.Now()
	ms, rest, err := p.pace.call(context.WithoutCancel(p.jobs), "probe", c.lane.name, p.pace.me, p.each(paceLease).Milliseconds(), p.each(paceProbe).Milliseconds())
	if err != nil {
		p.trouble("pace", err)
		return false // this process alone decides
	}
	if len(rest) == 0 || rest[0] != "wait" {
		return false
	}
	p.take(c.lane, start, ms, rest)
	c.meta.Handbacks++
	p.handBack(c, p.lanes.after(c, time.Now()))
	return true
}

// refreshPace takes over what all processes have learnt.
func (p *Pool) refreshPace(ctx context.Context) error {
	start := time.Now()
	ms, all, err := p.pace.list(ctx, p.each(paceLease), p.lanes.probes()...)
	if err != nil {
		return err
	}
	p.lanes.applyAll(all, start, ms)
	return nil
}

// watchPace keeps the copy fresh, and gets tokens and slots for limited lanes.
func (p *Pool) watchPace(ctx context.Context) {
	var next time.Time
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(next) {
			if err := p.refreshPace(ctx); err != nil && ctx.Err() == nil {
				p.trouble("pace", err)
			}
			next = now.Add(jittered(p.each(paceRefresh)))
		}
		limited, err := p.share(ctx)
		if err != nil && ctx.Err() == nil {
			p.trouble("pace", err)
		}
		pause := max(time.Until(next), time.Millisecond)
		if limited {
			pause = min(pause, jittered(p.each(paceShare)))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.pace.kick:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// share asks for tokens and slots of all limited lanes of this process, and
// starts what they allow.
func (p *Pool) share(ctx context.Context) (limited bool, err error) {
	wishes := p.lanes.wishes()
	if len(wishes) == 0 {
		return false, nil
	}
	start := time.Now()
	args := []any{"share", p.pace.me, p.pace.recover.Milliseconds(), p.each(paceBatch).Milliseconds(), p.each(paceLease).Milliseconds()}
	for _, w := range wishes {
		args = append(args, w.lane, w.tokens, w.slots, w.running, w.done, w.took.Microseconds())
	}
	ms, rest, err := p.pace.call(ctx, args...)
	if err != nil {
		return true, err
	}
	const each = 3 // answers for a lane
	if len(rest) != each*len(wishes) {
		return true, errPaceForm
	}
	for i, w := range wishes {
		r := rest[each*i : each*(i+1)]
		s, err := one(r[:1])
		if err != nil {
			return true, err
		}
		var n [2]int
		for j := range n {
			if n[j], err = strconv.Atoi(r[j+1]); err != nil {
				return true, errPaceForm
			}
		}
		p.lanes.apply(w.lane, s, start, ms)
		for _, c := range p.lanes.grant(w.lane, n[0], n[1], time.Now()) {
			p.work.put(c)
		}
	}
	return true, nil
}

// Lanes returns the lanes that are limited, held or broken, by the alphabet.
func (c *Client) Lanes(ctx context.Context) ([]LaneState, error) {
	ms, all, err := newPacer(c.rdb, c.opts.Prefix, "", paceRecover).list(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("read lanes: %w", err)
	}
	list := make([]LaneState, 0, len(all))
	for name, s := range all {
		list = append(list, s.shown(name, ms))
	}
	slices.SortFunc(list, func(a, b LaneState) int { return strings.Compare(a.Lane, b.Lane) })
	return list, nil
}
