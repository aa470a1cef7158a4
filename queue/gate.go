package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/crashpoint"
)

// The gate keeps all processes from trying a credential that was refused: each
// further login could lock the account. One refusal closes the gate of a version
// of a secret, everywhere within gateRefresh. From then on its jobs are parked
// without being tried, but for one at a time that may probe, after a pause that
// doubles. A probe that works opens the gate and lets the parked jobs go on, so
// a password that was mended at the server needs nobody here.
const (
	gateRefresh = time.Second     // how late a process learns of a refusal elsewhere
	gatePause   = 2 * time.Minute // until the first probe; servers count failures over minutes
	gateLongest = time.Hour       // most between two probes
	gateMemory  = 24 * time.Hour  // after which an unused refusal is forgotten
	gateProbe   = time.Minute     // after which another may probe if a probe said nothing
)

// Credential names a version of a secret.
type Credential struct {
	Secret  string // id
	Version int64
}

// Refusal is what is known of a refused credential.
type Refusal struct {
	Credential
	Refused int       // how often: the first time, and each probe
	Since   time.Time // the first time
	Until   time.Time // no probe before this
	Code    string    // of the last answer
	Text    string    // of the last answer, scrubbed
}

// refusal is a Refusal as Redis has it; gate.lua writes it.
type refusal struct {
	N     int     `json:"n"`
	T     float64 `json:"t"` // ms; Lua's numbers
	U     float64 `json:"u"` // ms
	Probe int     `json:"p"`
	Code  string  `json:"o"`
	Text  string  `json:"x"`

	asOf int64 // Redis' time when it was so, ms
}

func (r *refusal) until() time.Time { return time.UnixMilli(int64(r.U)) }

func (r *refusal) shown(c Credential) Refusal {
	return Refusal{Credential: c, Refused: r.N, Since: time.UnixMilli(int64(r.T)).UTC(), Until: r.until().UTC(), Code: r.Code, Text: r.Text}
}

// gate is the copy that one process has of all refusals.
type gate struct {
	rdb redis.UniversalClient
	key string

	closed atomic.Bool // there is at least one refusal
	mu     sync.Mutex
	known  map[string]refusal // by name; see parkedOn
	first  map[Credential][]parkedOn
}

func newGate(rdb redis.UniversalClient, prefix string) *gate {
	return &gate{rdb: rdb, key: newShared(prefix).refused(), known: map[string]refusal{}}
}

// call runs the script and returns the time of its answer and the rest of it.
func (g *gate) call(ctx context.Context, args ...any) (asOf int64, rest []string, err error) {
	reply, err := scriptGate.Run(ctx, g.rdb, []string{g.key}, args...).StringSlice()
	if err != nil {
		return 0, nil, err
	}
	if len(reply) == 0 {
		return 0, nil, errors.New("gate: answer of another form")
	}
	asOf, err = strconv.ParseInt(reply[0], 10, 64)
	return asOf, reply[1:], err
}

// parseRefusal reads the JSON of a refusal as it was at asOf.
func parseRefusal(text string, asOf int64) (r refusal, err error) {
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, errors.New("gate: a refusal that is no JSON")
	}
	r.asOf = asOf
	return r, nil
}

// refresh reads all refusals.
func (g *gate) refresh(ctx context.Context) error {
	asOf, all, err := g.call(ctx, "list")
	if err != nil {
		return err
	}
	known := make(map[string]refusal, len(all)/2)
	for i := 0; i+1 < len(all); i += 2 {
		if r, err := parseRefusal(all[i+1], asOf); err == nil {
			known[all[i]] = r
		}
	}
	g.replace(known, asOf)
	return nil
}

// replace takes over a list of all refusals as they were at asOf. What this process
// has learnt since stays: a refusal that came while the list was on its
// way would else be unknown until the next one, and all would try.
func (g *gate) replace(known map[string]refusal, asOf int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, r := range g.known {
		if _, listed := known[name]; r.asOf > asOf || r.asOf == asOf && !listed {
			known[name] = r
		}
	}
	g.known = known
	g.index()
}

// find returns a refusal as this process knows it.
func (g *gate) find(name string) (refusal, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.known[name]
	return r, ok
}

func (g *gate) keep(name string, r refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.known[name]
	if g.known[name] = r; !known {
		g.index()
	}
}

func (g *gate) forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.known, name)
	g.index()
}

// ask returns the refusal that forbids a login, or nil: then this caller may
// try, as the only probe or because the credential is not refused any more. If it
// could not ask, the refusal that it knows forbids it: all who cannot ask would try.
func (g *gate) ask(ctx context.Context, name string, now time.Time) (forbids *refusal, probe bool, err error) {
	r, ok := g.find(name)
	if !ok {
		return nil, false, nil
	}
	if now.Before(r.until()) {
		return &r, false, nil
	}
	asOf, reply, err := g.call(ctx, "ask", name, gateProbe.Milliseconds())
	if err != nil || len(reply) == 0 {
		return &r, false, err
	}
	if len(reply) == 1 {
		if probe = reply[0] == "probe"; !probe {
			g.forget(name)
		}
		return nil, probe, nil
	}
	fresh, err := parseRefusal(reply[1], asOf)
	if err != nil {
		return &r, false, err
	}
	g.keep(name, fresh)
	return &fresh, false, nil
}

// refuse closes the gate of a credential and those beside it.
func (g *gate) refuse(ctx context.Context, name, code, text string) error {
	crashpoint.Point("gate-before")
	asOf, reply, err := g.call(ctx, "refuse", name, gatePause.Milliseconds(), gateLongest.Milliseconds(), clip(code), clip(text))
	if err != nil || len(reply) == 0 {
		return err
	}
	crashpoint.Point("gate-after")
	r, err := parseRefusal(reply[0], asOf)
	if err != nil {
		return err
	}
	g.keep(name, r)
	return nil
}

// outdated forgets a refusal as it was at asOf: a job that was
// parked for it went to ready, as the refusal was taken back since. Else the job
// would come and go, hundreds of times, until the next refresh.
func (g *gate) outdated(name string, asOf int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r, ok := g.known[name]; ok && r.asOf <= asOf {
		delete(g.known, name)
		g.index()
	}
}

// open forgets refusals.
func (g *gate) open(ctx context.Context, fields ...string) error {
	if len(fields) == 0 {
		return nil
	}
	args := []any{"open"}
	g.mu.Lock()
	for _, f := range fields {
		args = append(args, f)
		delete(g.known, f)
	}
	g.index()
	g.mu.Unlock()
	_, _, err := g.call(ctx, args...)
	return err
}

// due returns the names of the refusals that may be probed now.
func (g *gate) due(now time.Time) (names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, r := range g.known {
		if !now.Before(r.until()) {
			names = append(names, name)
		}
	}
	return names
}

// errGate is why a job is parked that was not tried.
var errGate = errors.New("not tried: the credential was refused")

// gated reports whether the job must not be tried, and then parks it.
func (p *Pool) gated(c *claim) bool {
	if !p.gate.closed.Load() || p.cfg.CredentialsOf == nil {
		return false
	}
	list, err := p.cfg.CredentialsOf(p.jobs, c.work)
	if err != nil {
		return false // the sender will find the same and say it better
	}
	for _, name := range p.gate.applying(list) {
		r, probe, err := p.gate.ask(p.jobs, name, p.now())
		if err != nil {
			p.trouble("gate", err)
		}
		if probe {
			c.probes = append(c.probes, name)
		}
		if r == nil {
			continue
		}
		on, _ := parseOn(name)
		cred := on[0]
		reply := Reply{Secret: cred.Secret, SecretVersion: cred.Version, Stage: "gate", Code: r.Code, Rule: "credential-refused",
			Reason: reasonCredential, Certainty: Rejected}
		c.asOf = r.asOf
		reply.Text = clip(fmt.Sprintf("not tried; refused %d times before, last: %s", r.N, r.Text))
		p.finish(c, reply, &ParkedError{Secret: cred.Secret, Version: cred.Version, Beside: on[1:], Err: fmt.Errorf("%w: %s", errGate, r.Text)}, 0)
		return true
	}
	return false
}

// tellGate says what an attempt has shown of a credential. Only a probe shows that
// it works again: other jobs may have gone out by a connection whose login was
// before the refusal.
func (p *Pool) tellGate(c *claim, reply *Reply, err error) {
	if parked, ok := errors.AsType[*ParkedError](err); ok {
		if errors.Is(err, errGate) {
			return
		}
		name := parked.on().name()
		if r, ok := p.gate.find(name); ok && p.now().Before(r.until()) {
			return // jobs that were on their way when the gate closed
		}
		if err := p.gate.refuse(context.WithoutCancel(p.jobs), name, reply.Code, parked.Err.Error()); err != nil {
			p.trouble("gate", err)
		}
		return
	}
	if err != nil {
		return
	}
	cred := Credential{reply.Secret, reply.SecretVersion}
	for _, name := range c.probes {
		on, _ := parseOn(name)
		if _, refused := p.gate.find(name); !refused || on[0] != cred {
			continue
		}
		n, err := p.client.CredentialWorks(context.WithoutCancel(p.jobs), cred.Secret, cred.Version)
		if err != nil {
			p.trouble("gate", err)
			return
		}
		p.gate.forget(name)
		p.log.Info("a refused credential works again", "secret", cred.Secret, "version", cred.Version, "released", n)
	}
}

// watchGate keeps the copy of the refusals fresh, and lets one parked job go
// where a probe is due.
func (p *Pool) watchGate(ctx context.Context) {
	for ctx.Err() == nil {
		if err := p.gate.refresh(ctx); err != nil && ctx.Err() == nil {
			p.trouble("gate", err)
		}
		for _, name := range p.gate.due(p.now()) {
			if err := p.tend(ctx, name); err != nil && ctx.Err() == nil {
				p.trouble("gate", err)
			}
		}
		wait(ctx, jittered(p.each(gateRefresh)))
	}
}

// CredentialWorks says that a login with this version of a secret has just
// worked: the gate opens, and jobs that are parked on it become ready. It
// returns how many.
func (c *Client) CredentialWorks(ctx context.Context, secret string, version int64) (int, error) {
	return c.ReleaseParked(ctx, secret, version)
}

// Refused returns the refusal that forbids a login with this version of a secret
// at this moment, whatever is used beside it; ok is false if there is none. A credential that is being probed
// is not forbidden: only its probe comes so far.
func (c *Client) Refused(ctx context.Context, secret string, version int64) (r Refusal, ok bool, err error) {
	cred := Credential{secret, version}
	text, err := c.rdb.HGet(ctx, newShared(c.opts.Prefix).refused(), cred.name()).Result()
	if errors.Is(err, redis.Nil) {
		return Refusal{}, false, nil
	}
	if err != nil {
		return Refusal{}, false, fmt.Errorf("read refusal: %w", err)
	}
	found, err := parseRefusal(text, 0)
	if err != nil || found.Probe != 0 {
		return Refusal{}, false, err
	}
	return found.shown(cred), true, nil
}

// Refusals returns the refused credentials, in no order.
func (c *Client) Refusals(ctx context.Context) ([]Refusal, error) {
	g := newGate(c.rdb, c.opts.Prefix)
	if err := g.refresh(ctx); err != nil {
		return nil, fmt.Errorf("read refusals: %w", err)
	}
	list := make([]Refusal, 0, len(g.known))
	for name, r := range g.known {
		if on, ok := parseOn(name); ok {
			list = append(list, r.shown(on[0]))
		}
	}
	return list, nil
}

// openGates forgets the refusals for which which says so, and returns the names of
// their parked sets.
func (c *Client) openGates(ctx context.Context, which func(parkedOn) bool) ([]string, error) {
	g := newGate(c.rdb, c.opts.Prefix)
	fields, err := c.rdb.HKeys(ctx, g.key).Result()
	if err != nil {
		return nil, fmt.Errorf("read refusals: %w", err)
	}
	var gone []string
	for _, field := range fields {
		if on, ok := parseOn(field); ok && which(on) {
			gone = append(gone, field)
		}
	}
	return gone, g.open(ctx, gone...)
}
