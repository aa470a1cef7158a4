package email

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// How long connections and verdicts are kept.
const (
	idleMax  = 30 * time.Second // some servers close after 30 to 60 s, Postfix after 300 s
	ageMax   = 10 * time.Minute // so that a change in DNS is followed
	mailsMax = 1000             // per connection; the most that Exim takes (smtp_accept_max_per_connection). A login costs as much as ten mails.

	// refusalMemory is how long a refused login answers for the jobs that were on
	// their way when it was refused. Then the queue's gate keeps further ones
	// back, in all processes: repeated logins lock accounts.
	refusalMemory = 2 * time.Second

	// loginShare is how many connections there may be for each that is being made.
	loginShare = 8

	slotWait  = 20 * time.Second // for a free connection, then the job goes back to the queue
	busyDelay = 2 * time.Second  // until such a job comes again
	paceWait  = 2 * time.Second  // for messages_per_second, then the job goes back as throttled
)

// errBusy says that all connections of the account stayed in use.
var errBusy = errors.New("all connections to this server are busy")

// account is one version of one secret: its connections and what is known of
// its login. The first connection is made alone; only when its login worked are
// others made beside it.
type account struct {
	pool  *pool
	cache tls.ClientSessionCache
	far   time.Duration // the time of a reply from which on the way is long; see bdat.go

	// Set once, under mu and before proven, when the secret was opened.
	ref    secrets.Ref
	sender string
	logins *semaphore.Weighted // new connections at once: an eighth of all, at least one
	pace   *rate.Limiter       // nil: unlimited

	mu           sync.Mutex
	learnt       bool         // the secret was opened
	free         int          // slots: connections that there may be and nobody holds
	line         []*waiter    // for a slot; then none is free
	solo         time.Time    // no mail rides before this
	trip         atomic.Int64 // the shortest time of a reply, in ns, 0 if unknown
	plain        atomic.Int64 // no mail goes by BDAT before this, in ns of Unix
	proven       bool
	flight       *flight  // the first login, while it is tried
	refused      *failure // of the last login, when the login itself was wrong
	refusedUntil time.Time
	idle         []*conn // the newest last
	busy         int
	dialing      int
	limit        queue.Limit // learnt of the server, in all processes; see limits.go
	retired      bool        // a newer version is in use, or the pool is closed
	sweep        *time.Timer
}

// flight is one try of the first login that several jobs wait for.
type flight struct {
	done chan struct{}
	err  error // after done
	own  bool  // the try failed for a reason of the job that made it
}

func newAccount(p *pool, ref secrets.Ref) *account {
	return &account{pool: p, ref: ref, cache: tls.NewLRUClientSessionCache(4), far: p.far}
}

// take returns a kept connection or makes one. The caller holds a slot.
func (a *account) take(ctx context.Context, use secrets.Use) (*conn, error) {
	if err := a.keepPace(ctx); err != nil {
		return nil, err
	}
	a.mu.Lock()
	if c := a.popIdle(time.Now()); c != nil {
		a.busy++
		a.mu.Unlock()
		return c, nil
	}
	if err := a.remembered(); err != nil {
		a.mu.Unlock()
		return nil, err
	}
	a.dialing++
	a.mu.Unlock()
	c, err := a.login(ctx, use)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dialing--
	if err != nil {
		a.remember(err)
		return nil, err
	}
	a.busy++
	return c, nil
}

// login makes a connection beside others. Few are made at once: a password that
// was changed at the server refuses all that are on their way.
func (a *account) login(ctx context.Context, use secrets.Use) (*conn, error) {
	if err := a.logins.Acquire(ctx, 1); err != nil {
		return nil, newFailure(ctx, a.ref, stageDial, ctx.Err(), nil)
	}
	defer a.logins.Release(1)
	a.mu.Lock()
	err := a.remembered() // of the one that was made meanwhile
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return a.pool.open(ctx, a, a.ref, use)
}

// keepPace waits until messages_per_second allows the next mail. A long wait is
// the queue's business.
func (a *account) keepPace(ctx context.Context) error {
	if a.pace == nil {
		return nil
	}
	r := a.pace.Reserve()
	d := r.Delay()
	if d > paceWait {
		r.Cancel()
		return a.throttled(d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return newFailure(ctx, a.ref, stageDial, ctx.Err(), nil)
	}
}

// throttled is the failure of a mail that comes too early by d.
func (a *account) throttled(d time.Duration) *failure {
	return &failure{
		ref: a.ref, answer: actions.Answer{Stage: stageDial, Status: "pace"},
		verdict: actions.Verdict{Reason: actions.Throttled, Rule: "own-pace", After: d},
		text:    "messages_per_second of the secret is reached",
	}
}

// prove returns nil once a login with this version has worked. One caller
// tries it; the others wait for the result and share it.
func (a *account) prove(ctx context.Context, ref secrets.Ref, use secrets.Use) error {
	for {
		a.mu.Lock()
		if a.proven {
			a.mu.Unlock()
			return nil
		}
		if err := a.remembered(); err != nil {
			a.mu.Unlock()
			return err
		}
		f := a.flight
		if f == nil {
			f = &flight{done: make(chan struct{})}
			a.flight = f
			a.dialing++
			a.mu.Unlock()
			return a.firstLogin(ctx, ref, use, f)
		}
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			return newFailure(ctx, ref, stageDial, ctx.Err(), nil)
		case <-f.done:
			if f.err != nil && !f.own {
				return f.err
			}
		}
	}
}

// firstLogin makes the first connection and ends the flight.
func (a *account) firstLogin(ctx context.Context, ref secrets.Ref, use secrets.Use, f *flight) error {
	c, err := a.pool.open(ctx, a, ref, use)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dialing--
	a.flight = nil
	f.err = err
	f.own = ctx.Err() != nil
	if err == nil {
		a.proven = true
		a.refused = nil
		a.keep(c)
	} else {
		a.remember(err)
		a.watch(time.Now())
	}
	close(f.done)
	return err
}

// learn takes over what the opened secret says, the first time: slots are counted
// from then on.
func (a *account) learn(login secrets.SMTP) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.learnt {
		return
	}
	a.learnt = true
	a.ref = login.Ref
	a.sender = login.From
	if a.sender == "" {
		a.sender = login.Username
	}
	a.free = max(login.MaxConnections, 1)
	a.logins = semaphore.NewWeighted(int64(max(login.MaxConnections/loginShare, 1)))
	if r := login.MessagesPerSecond; r > 0 {
		a.pace = rate.NewLimiter(rate.Limit(r), int(math.Ceil(r/10)))
	}
}

// remembered returns the last refusal of this login while it counts. The
// caller holds mu.
func (a *account) remembered() error {
	if a.refused == nil || time.Now().After(a.refusedUntil) {
		return nil
	}
	return a.refused
}

// remember keeps a refusal of the login. The next try after it is a first login
// again, alone. The caller holds mu.
func (a *account) remember(err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.verdict.Reason != actions.Credential {
		return
	}
	a.refused, a.refusedUntil = f, time.Now().Add(refusalMemory)
	a.proven = false
}

// forgive forgets a refusal: a test of the secret has just worked.
func (a *account) forgive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = nil
}

// put takes a connection back, and its slot. broken says that it cannot send another
// mail, not even a QUIT: in the middle of a text that would end the text.
func (a *account) put(c *conn, broken bool) {
	c.used = time.Now()
	a.mu.Lock()
	if c.rider != nil {
		if a.handOn(c, broken) {
			a.mu.Unlock()
			return
		}
		broken = true // the server waits for a text
	}
	if c.behind != nil {
		if a.passOn(c, broken) {
			a.mu.Unlock()
			return
		}
		broken = true // the server has heard half of a mail
	}
	broken = broken || c.ahead != nil || c.ending
	if broken {
		_ = c.raw.Close()
	}
	a.busy--
	keep := !broken && !a.retired && a.room(c) && c.used.Sub(c.born) < ageMax
	if keep {
		a.keep(c)
	}
	a.pass()
	a.mu.Unlock()
	if !keep && !broken {
		c.quit()
	}
}

// keep adds an idle connection. The caller holds mu.
func (a *account) keep(c *conn) {
	if a.retired {
		c.quit()
		return
	}
	c.reused = true
	a.idle = append(a.idle, c)
	a.watch(c.used)
}

// watch looks at the account again when its oldest idle connection has been so for
// idleMax, or that long from now: one that never gets a connection must be given up
// too, or secrets that never work add up. The caller holds mu.
func (a *account) watch(now time.Time) {
	if a.sweep != nil || a.retired {
		return
	}
	wait := idleMax
	if len(a.idle) > 0 {
		wait -= now.Sub(a.idle[0].used)
	}
	a.sweep = time.AfterFunc(wait, a.expire)
}

// oldest takes the oldest idle connection. Its place goes too: a closed connection
// has its buffers still, and knows the password. The caller holds mu.
func (a *account) oldest() *conn {
	c := a.idle[0]
	a.idle = slices.Delete(a.idle, 0, 1)
	return c
}

// popIdle takes the newest idle connection that is still fit. The caller holds mu.
func (a *account) popIdle(now time.Time) *conn {
	for len(a.idle) > 0 {
		c := a.idle[len(a.idle)-1]
		a.idle = slices.Delete(a.idle, len(a.idle)-1, len(a.idle)) // its place must not hold on to it, see oldest
		if c.sent < a.mails() && now.Sub(c.used) < idleMax && now.Sub(c.born) < ageMax {
			return c
		}
		c.quit()
	}
	return nil
}

// expire closes connections that nobody has used for idleMax, and gives the
// account up when none is left.
func (a *account) expire() {
	now := time.Now()
	a.mu.Lock()
	var old []*conn
	for len(a.idle) > 0 && now.Sub(a.idle[0].used) >= idleMax {
		old = append(old, a.oldest())
	}
	a.sweep = nil
	unused := len(a.idle)+a.busy+a.dialing == 0 && now.After(a.refusedUntil)
	if !unused {
		a.watch(now)
	}
	a.mu.Unlock()
	for _, c := range old {
		c.quit()
	}
	if unused {
		a.pool.forget(a)
	}
}

// dropIdle closes all idle connections.
func (a *account) dropIdle() {
	a.mu.Lock()
	old := a.idle
	a.idle = nil
	a.mu.Unlock()
	for _, c := range old {
		c.quit()
	}
}

// retire closes the idle connections; the busy ones close after their mail.
func (a *account) retire() {
	a.mu.Lock()
	a.retired = true
	if a.sweep != nil {
		a.sweep.Stop()
		a.sweep = nil
	}
	a.mu.Unlock()
	a.dropIdle()
}
