package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

const (
	user      = "drill"
	secretKey = "DRILL"
	idPrefix  = "drill-"
	batch     = 50                     // jobs of an enqueue
	backlog   = 2000                   // most jobs that wait: what is queued must end within the limit
	look      = 200 * time.Millisecond // between looks at the queue
	again     = 50 * time.Millisecond  // between tries while Redis is away
	wrongFor  = 3 * time.Second        // how long the password is wrong
	wrongMost = 15 * time.Second       // and when no job has met it
)

// password is the n-th password of the sink. It opens nothing else.
func password(n int) string { return "drill-pa55word-" + strconv.Itoa(n) }

// putLogin stores the login to a mail server, again and again while Redis is away.
func (r *run) putLogin(ctx context.Context, key, addr, pass string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address of the mail sink: %w", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("address of the mail sink: %w", err)
	}
	login := map[string]any{"smtp_server": host, "smtp_port": number, "username": user, "password": pass, "ca_pem": r.sink.CAPEM()}
	if r.Connections > 0 {
		login["max_connections"] = r.Connections
	}
	value, err := json.Marshal(login)
	if err != nil {
		return fmt.Errorf("encode the login: %w", err)
	}
	return insist(ctx, func() error {
		_, _, err := r.store.Put(ctx, "drill", secrets.PutRequest{Key: key, Value: redact.New(string(value))})
		return err
	})
}

// insist calls do until it works or ctx ends.
func insist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if pause(ctx, again) != nil {
			return err
		}
	}
}

// pause waits for d, or returns why ctx ended before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// work sends, kills and waits for the end: all jobs ended, the limit, or ctx.
func (r *run) work(ctx context.Context) error {
	if r.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Limit)
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { defer close(sent); return r.send(ctx) })
	for _, spoil := range r.spoilers() {
		group.Go(func() error { return spoil(ctx) })
	}
	group.Go(func() error {
		defer stop()
		return r.watch(ctx, sent)
	})
	return group.Wait()
}

// spoilers are what breaks the installation, each in a goroutine of its own.
func (r *run) spoilers() []func(context.Context) error {
	switch {
	case r.Soak:
		return []func(context.Context) error{r.measure, r.annoy}
	case r.Rolling > 0:
		return []func(context.Context) error{r.roll}
	case r.Outages:
		return []func(context.Context) error{r.killRedis}
	case r.Quiet:
		return []func(context.Context) error{r.killWorkers}
	case r.server == nil:
		return []func(context.Context) error{r.killWorkers, r.rotate, r.disturb}
	}
	return []func(context.Context) error{r.killWorkers, r.killRedis, r.rotate, r.disturb}
}

// past reports whether this part of the limit is over.
func (r *run) past(share float64) bool {
	return r.Limit > 0 && time.Since(r.began) > time.Duration(share*float64(r.Limit))
}

// send enqueues the jobs.
func (r *run) send(ctx context.Context) error {
	if r.Rate > 0 {
		return r.sendSteadily(ctx)
	}
	for first := 0; (r.Jobs == 0 || first < r.Jobs) && !r.past(sendShare); {
		if p := r.ledger.progress(); p.Accepted-p.Delivered > backlog {
			if pause(ctx, again) != nil {
				return nil
			}
			continue
		}
		last := first + batch
		if r.Jobs > 0 {
			last = min(last, r.Jobs)
		}
		if r.enqueue(ctx, first, last) != nil {
			return nil // ctx has ended
		}
		first = last
	}
	return nil
}

// enqueue sends the jobs from first to below last. A batch whose answer did not
// come is sent again: its jobs have ids, so each is accepted once.
func (r *run) enqueue(ctx context.Context, first, last int) error {
	var jobs []json.RawMessage
	for n := first; n < last; n++ {
		jobs = append(jobs, fmt.Appendf(nil, `{"id":%q,"action":{"type":"email-smtp","smtp_secret":%q,"from":%q,`+
			`"to":"box@drill.test","subject":"drill %d","message":"body of %d"}}`, idOf(n), secretKey, senderOf(n), n, n))
	}
	r.ledger.ask(last, time.Now())
	var receipts []queue.Receipt
	err := insist(ctx, func() (err error) {
		receipts, err = r.queue.Enqueue(ctx, jobs...)
		if bad, ok := errors.AsType[*queue.InvalidJobError](err); ok {
			return bad
		}
		return err
	})
	for i, receipt := range receipts {
		if receipt.ID != "" {
			r.ledger.accept(first + i)
		}
	}
	return err
}

func idOf(job int) string { return idPrefix + strconv.Itoa(job) }

// numberOf is the reverse of idOf.
func numberOf(id string) (int, bool) {
	text, ok := strings.CutPrefix(id, idPrefix)
	n, err := strconv.Atoi(text)
	return n, ok && err == nil
}

// killWorkers kills a random worker at each interval and starts another.
func (r *run) killWorkers(ctx context.Context) error {
	for started := time.Now(); pause(ctx, r.WorkerEach-time.Since(started)) == nil; {
		started = time.Now()
		for _, w := range r.workers {
			if !w.running() {
				return fmt.Errorf("a worker ended by itself:\n%s", w.tail())
			}
		}
		if r.past(killShare) {
			continue
		}
		i := r.random.IntN(len(r.workers))
		from := time.Now()
		if err := r.workers[i].kill(); err != nil {
			return err
		}
		to := time.Now()
		r.ledger.killed(false, from, to)
		r.inherit(ctx, r.workers[i], holding{at: from, to: to})
		w, err := r.worker()
		if err != nil {
			return err
		}
		r.workers[i] = w
	}
	return nil
}

// killRedis kills redis-server at each interval and starts it again.
func (r *run) killRedis(ctx context.Context) error {
	for pause(ctx, r.RedisEach) == nil {
		if r.past(killShare) || r.For > 0 && time.Since(r.began) > r.For {
			return nil
		}
		from := time.Now()
		if err := r.server.close(); err != nil {
			return err
		}
		if r.Outages { // the workers' pauses between tries grow meanwhile
			if pause(ctx, time.Duration(r.random.Int64N(int64(outageMost)))) != nil {
				return nil
			}
		}
		if err := r.server.start(); err != nil {
			return err
		}
		now := time.Now()
		r.ledger.killed(true, from, now)
		r.back = append(r.back, now)
	}
	return nil
}

// rotate changes the password at the server when a third is delivered. The first
// new one that is stored is wrong, for wrongFor and until a job has met it: some
// wait for a retry just then, and redis-server may be away.
func (r *run) rotate(ctx context.Context) error {
	for !r.past(sendShare/2) && (r.Jobs == 0 || r.ledger.progress().Delivered < r.Jobs/3) {
		if pause(ctx, look) != nil {
			return nil
		}
	}
	r.sink.SetLogin(user, password(2))
	if r.putLogin(ctx, secretKey, r.mailAddr, password(3)) != nil {
		return nil // ctx has ended
	}
	for start := time.Now(); time.Since(start) < wrongFor || r.parked == 0 && time.Since(start) < wrongMost; {
		if s, err := r.queue.Stats(ctx); err == nil {
			r.parked = max(r.parked, s.Jobs[queue.Parked])
		}
		if pause(ctx, look) != nil {
			break
		}
	}
	// A run that is stopped now need not be left with the wrong one: it ends.
	_ = r.putLogin(ctx, secretKey, r.mailAddr, password(2))
	return nil
}

// standing says where the jobs are, and what holds their lanes back.
func (r *run) standing(ctx context.Context) string {
	stats, err := r.queue.Stats(ctx)
	if err != nil {
		return err.Error()
	}
	lanes, err := r.queue.Lanes(ctx)
	if err != nil {
		return err.Error()
	}
	refused, err := r.queue.Refusals(ctx)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("jobs %v, oldest %v s, lanes %+v, refused credentials %+v", stats.Jobs, stats.Oldest, lanes, refused)
}

// watch returns when all that was sent has ended, and tells of the progress.
func (r *run) watch(ctx context.Context, sent <-chan struct{}) error {
	quiet, sending := 0, true
	last, since := 0, time.Now()
	for pause(ctx, look) == nil {
		p := r.ledger.progress()
		p.Seconds = time.Since(r.began).Seconds()
		r.Progress(p)
		if p.Arrivals != last {
			last, since = p.Arrivals, time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("no mail for %v: given up; %s", patience, r.standing(ctx))
		}
		select {
		case <-sent:
			sending = false
		default:
		}
		// Twice, since a job can be on its way from one state to another while they
		// are counted.
		if quiet++; sending || !r.empty(ctx) {
			quiet = 0
		}
		if quiet == 2 {
			return nil
		}
	}
	return nil
}

// empty reports whether no job is left in the queue. Those of hostile servers
// do not count.
func (r *run) empty(ctx context.Context) bool {
	if r.Soak {
		return r.buried(ctx) == nil && len(r.ledger.missing()) == 0
	}
	s, err := r.queue.Stats(ctx)
	return err == nil && s.Jobs[queue.Ready]+s.Jobs[queue.Running]+s.Jobs[queue.Delayed]+s.Jobs[queue.Parked] == 0
}
