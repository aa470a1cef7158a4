// Package chaos kills workers while they work and counts what came of it.
//
// A run starts a redis-server with an append-only file, a STARTTLS mail sink,
// a process with the API and some workers of the built program, enqueues mail
// jobs, and kills a random worker with kill -9 at each interval, to start it
// again at once, until the queue is empty. Then two ledgers are compared: the
// ids that were accepted and what arrived at the sink.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

const (
	login    = "chaos-Pa55word"
	lease    = 5 * time.Second // the shortest there is: what was lost comes back soon
	batch    = 1000            // jobs a command sends
	patience = 3 * time.Minute // without any arrival before a run gives up
)

// Config says what a run does. The zero value of a field means the default.
type Config struct {
	// Binary is the built program. No default.
	Binary string
	// Dir is where all processes keep their files. No default.
	Dir string
	// Jobs is how many mails are to be sent. Default 10,000.
	Jobs int
	// Workers is how many processes work at once. Default 2.
	Workers int
	// Interval is the time between two kills. Default 1s.
	Interval time.Duration
	// Seed makes the choice of victims repeatable. 0 is a seed, too.
	Seed uint64
	// Logf gets a line for each step. Nil: silence.
	Logf func(format string, args ...any)
}

// Result is what a run has found.
type Result struct {
	Accepted   int `json:"accepted"`   // ids that the API has given out
	Delivered  int `json:"delivered"`  // jobs whose mail arrived at least once
	Dead       int `json:"dead"`       // never arrived, but kept as a dead letter with its reason
	Lost       int `json:"lost"`       // accepted, never arrived, and in no place any more
	Duplicated int `json:"duplicated"` // mails that arrived again
	Unknown    int `json:"unknown"`    // mails that belong to no accepted job
	Kills      int `json:"kills"`
	// Seconds from the first enqueue to the empty queue.
	Seconds float64 `json:"seconds"`
}

// Err is nil if nothing was lost and nothing arrived that nobody sent.
func (r Result) Err() error {
	var errs []error
	if r.Lost > 0 {
		errs = append(errs, fmt.Errorf("%d of %d accepted jobs are lost", r.Lost, r.Accepted))
	}
	if r.Unknown > 0 {
		errs = append(errs, fmt.Errorf("%d mails belong to no accepted job", r.Unknown))
	}
	return errors.Join(errs...)
}

// String is the line that "make chaos" prints.
func (r Result) String() string {
	return fmt.Sprintf("accepted %d, delivered %d, dead %d, lost %d, duplicated %d, kills %d, %.1f s",
		r.Accepted, r.Delivered, r.Dead, r.Lost, r.Duplicated, r.Kills, r.Seconds)
}

// run is one run in progress.
type run struct {
	Config
	site    *program.Site
	sink    *sink.SMTP
	ledger  *ledger
	workers []*program.Server
	random  *rand.Rand
	kills   int
}

// Run does one run. The error is for what kept it from coming to an end; look
// at [Result.Err] for the verdict.
func Run(ctx context.Context, c Config) (Result, error) {
	r := &run{Config: withDefaults(c), ledger: newLedger(), random: rand.New(rand.NewPCG(c.Seed, 0))}
	redis, err := peers.StartRedis(r.Dir)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = redis.Kill() }()
	if err := r.open(redis); err != nil {
		return Result{}, errors.Join(err, r.close())
	}
	began := time.Now()
	err = r.work(ctx)
	took := time.Since(began)
	err = errors.Join(err, r.buried())
	result := r.ledger.result()
	result.Kills, result.Seconds = r.kills, took.Seconds()
	return result, errors.Join(err, r.close())
}

func withDefaults(c Config) Config {
	if c.Jobs == 0 {
		c.Jobs = 10_000
	}
	if c.Workers == 0 {
		c.Workers = 2
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return c
}

// open starts everything but the load.
func (r *run) open(redis *peers.Redis) error {
	var err error
	if r.sink, err = sink.StartSMTP(sink.SMTPConfig{Username: "chaos", Password: login, Keep: 1, OnMessage: r.ledger.arrived}); err != nil {
		return err
	}
	if r.site, err = program.New(r.Binary, r.Dir, redis.URL()); err != nil {
		return err
	}
	if err := r.site.Init(); err != nil {
		return err
	}
	api, err := r.site.Serve("SEALPOST_ROLES=api")
	if err != nil {
		return err
	}
	r.workers = append(r.workers, api) // the first is never killed
	if err := peers.Wait(time.Minute, "the API", api.Ready); err != nil {
		return err
	}
	if _, err := r.site.PutSecret("CHAOS", r.secret()); err != nil {
		return err
	}
	for range r.Workers {
		w, err := r.worker()
		if err != nil {
			return err
		}
		r.workers = append(r.workers, w)
	}
	return nil
}

// secret is the login to the sink, as JSON.
func (r *run) secret() string {
	host, port, _ := net.SplitHostPort(r.sink.Addr()) // of a listener: always both
	return fmt.Sprintf(`{"smtp_server":%q,"smtp_port":%s,"username":"chaos","password":%q,"ca_pem":%q}`,
		host, port, login, r.sink.CAPEM())
}

// worker starts a process that only works.
func (r *run) worker() (*program.Server, error) {
	return r.site.Serve("SEALPOST_ROLES=worker", "SEALPOST_LEASE="+lease.String())
}

// work enqueues all jobs while it kills, and waits for the end.
func (r *run) work(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := make(chan error, 1)
	go func() { sent <- r.send(ctx) }()
	killing := time.NewTicker(r.Interval)
	defer killing.Stop()
	looking := time.NewTicker(200 * time.Millisecond)
	defer looking.Stop()
	sending, quiet := true, 0
	watch := watch{since: time.Now()}
	for {
		select {
		case <-ctx.Done():
			if sending {
				<-sent
			}
			return context.Cause(ctx)
		case err := <-sent:
			if err != nil {
				return err
			}
			sending = false
			r.Logf("all %d jobs accepted", r.Jobs)
		case <-killing.C:
			if err := r.killOne(); err != nil {
				cancel(err)
			}
		case <-looking.C:
			// Twice, since a job can be on its way from one state to another
			// while they are counted.
			if quiet++; sending || !r.empty() {
				quiet = 0
			}
			if quiet == 2 {
				return nil
			}
			if err := watch.look(r.ledger.total()); err != nil {
				cancel(err)
			}
		}
	}
}

// send enqueues the jobs in batches, each mail with the number of its job as
// subject, and keeps which numbers were accepted.
func (r *run) send(ctx context.Context) error {
	for first := 0; first < r.Jobs && ctx.Err() == nil; first += batch {
		last := min(first+batch, r.Jobs)
		var jobs []string
		for n := first; n < last; n++ {
			jobs = append(jobs, fmt.Sprintf(`{"id":"chaos-%d","action":{"type":"email-smtp","smtp_secret":"CHAOS",`+
				`"from":"chaos@example.test","to":"sink@example.test","subject":"%d","message":"body of %d"}}`, n, n, n))
		}
		if _, err := r.site.Send(jobs...); err != nil {
			return err
		}
		r.ledger.accept(first, last)
	}
	return nil
}

// killOne kills a random worker as kill -9 does and starts another.
func (r *run) killOne() error {
	i := 1 + r.random.IntN(r.Workers)
	if err := r.workers[i].Kill(); err != nil {
		return err
	}
	r.kills++
	r.Logf("kill %d: worker %d; %d mails arrived, %d missing", r.kills, i, r.ledger.total(), r.ledger.missing())
	w, err := r.worker()
	if err != nil {
		return err
	}
	r.workers[i] = w
	return nil
}

// empty says whether no job is left in the queue.
func (r *run) empty() bool {
	states, err := r.site.States()
	return err == nil && states["ready"]+states["running"]+states["delayed"]+states["parked"] == 0
}

// buried notes the jobs that ended as dead letters. A job that was in the
// hands of a worker at each of four kills looks like one that kills workers.
func (r *run) buried() error {
	var list []struct {
		ID string `json:"id"`
	}
	if err := r.site.JSON(&list, "dead", "list", "--limit", "1000"); err != nil {
		return err
	}
	for _, job := range list {
		n, err := strconv.Atoi(strings.TrimPrefix(job.ID, "chaos-"))
		if err != nil {
			return fmt.Errorf("a dead letter of no job of this run: %s", job.ID)
		}
		r.ledger.bury(n)
	}
	return nil
}

// close ends all processes and the sink.
func (r *run) close() error {
	var errs []error
	for _, w := range r.workers {
		errs = append(errs, w.Kill())
	}
	if r.sink != nil {
		errs = append(errs, r.sink.Close())
	}
	return errors.Join(errs...)
}

// watch gives up on a run in which nothing happens any more.
type watch struct {
	total int
	since time.Time
}

// look is told how many mails have arrived so far.
func (w *watch) look(total int) error {
	if total != w.total {
		w.total, w.since = total, time.Now()
	}
	if time.Since(w.since) > patience {
		return fmt.Errorf("no mail for %v: given up", patience)
	}
	return nil
}
