// Package drill breaks an installation on purpose and counts what came of it.
//
// A run starts a redis-server, a STARTTLS mail sink that spoils three mails of
// ten, and worker processes of the program; enqueues mails; kills a random
// worker with kill -9 each second and redis-server each five; cuts, stalls and
// slows down connections between all of them; and changes the password in the
// middle, to a wrong one first. At the end a ledger of accepted
// jobs is compared with the sink's: nothing may be lost, and each duplicate must
// have a cause that one of the logs shows (ledger.go).
//
// `sealpost drill` and the chaos tests of the project are this package.
package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/faultline"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// lease is the shortest there is: what was lost comes back soon.
const lease = queue.MinLease

// Parts of the time limit after which a run sends no more, and kills no more.
const (
	sendShare = 0.55
	killShare = 0.8
)

// patience is how long a run without a limit waits for any arrival.
const patience = 3 * time.Minute

// Config says what a run does. Binary and Dir have no default.
type Config struct {
	// Binary is the program whose workers are killed, Dir an empty directory for
	// the files of all processes.
	Binary, Dir string
	// Jobs is how many mails are sent; 0 is as many as the limit allows.
	Jobs int
	// Limit is how long the run may take; 0 is until all jobs have ended.
	Limit time.Duration
	// Workers is how many processes work at once. Default 2.
	Workers int
	// WorkerEach and RedisEach are the times between kills. Default 1s and 5s.
	WorkerEach, RedisEach time.Duration
	// Seed makes the faults and the choice of victims repeatable.
	Seed uint64
	// Quiet leaves out the faults of the sink and of the lines, the kills of Redis
	// and the change of the password: then only workers are killed.
	Quiet bool
	// Rate is how many jobs a second are sent, all Jobs or else For how long. 0: as
	// many as are taken, until Jobs or Limit.
	Rate int
	For  time.Duration
	// Rolling, if set, replaces all faults by a restart (SIGTERM, drain, start) of
	// one worker after the other at this interval.
	Rolling time.Duration
	// Outages leaves nothing but the kills of redis-server.
	Outages bool
	// Soak leaves out all kills, adds hostile mail servers to the faults of the
	// sink, and measures the workers all the time.
	Soak bool
	// Connections are those of a worker to the mail server (max_connections of the
	// secret); 0 is the default of secrets.
	Connections int
	// Judge has the run fail for times that are too long. On a machine that others
	// use too they say little. Copies after restarts are judged always.
	Judge bool
	// RedisURL names a Redis to use, which is not killed. "": a redis-server is
	// started from PATH.
	RedisURL string
	// Progress, if set, is told how far the run is, a few times a second.
	Progress func(Progress)
}

func (c *Config) complete() error {
	if c.Workers == 0 {
		c.Workers = 2
	}
	if c.WorkerEach == 0 {
		c.WorkerEach = time.Second
	}
	if c.RedisEach == 0 {
		c.RedisEach = 5 * time.Second
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Jobs < 1 && c.Limit <= 0 && c.For <= 0 {
		return errors.New("drill: want a number of jobs or a time")
	}
	if (c.Rolling > 0 || c.Outages || c.Soak) && (c.Rate < 1 || c.For <= 0) {
		return errors.New("drill: want a steady load: a rate and for how long")
	}
	if c.Workers < 1 || c.Jobs < 0 || c.Connections < 0 {
		return errors.New("drill: want at least one worker, and no negative number of jobs or connections")
	}
	return nil
}

// run is one run in progress.
type run struct {
	Config
	ledger   *ledger
	mischief *mischief
	sink     *sink.SMTP
	server   *server       // nil: Redis is not ours
	rdb      *redis.Client // of the producer
	direct   *redis.Client // over no line
	queue    *queue.Client
	store    *secrets.Store
	workers  []*process
	random   *rand.Rand
	parked   int64
	hostile  []*hostile
	samples  []sample
	lines    map[string]*faultline.Line
	mailAddr string
	drains   []time.Duration
	back     []time.Time // when redis-server answered again
	began    time.Time
	served   int
}

// Run does one run. The end of ctx ends it early; the result is then of what
// there is. The error is for what kept the run from its work; look at
// [Result.Err] for the verdict.
func Run(ctx context.Context, c Config) (result Result, err error) {
	if err := c.complete(); err != nil {
		return Result{}, err
	}
	r := &run{Config: c, ledger: newLedger(), lines: map[string]*faultline.Line{}, mischief: newMischief(c.Seed), random: rand.New(rand.NewPCG(c.Seed, 0))}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(); err != nil {
		return Result{}, err
	}
	r.began = time.Now()
	failure := r.work(ctx)
	took := time.Since(r.began)
	if err := r.stopWorkers(); err != nil {
		return Result{}, errors.Join(failure, err)
	}
	// The account is taken even when ctx has ended.
	result, err = r.account(context.WithoutCancel(ctx))
	result.Seconds = took.Seconds()
	return result, errors.Join(failure, err)
}

// open starts everything but the load.
func (r *run) open() error {
	url := r.RedisURL
	if url == "" {
		path := RedisServer()
		if path == "" {
			return errors.New("drill: no redis-server on PATH")
		}
		var err error
		if r.server, err = startServer(path, r.Dir); err != nil {
			return err
		}
		url = r.server.url()
	}
	if err := r.openRedis(url); err != nil {
		return err
	}
	smtp := sink.SMTPConfig{Username: user, Password: password(1), Keep: 1, OnMessage: r.ledger.arrived, OnEnd: r.ledger.ended}
	if r.faulty() || r.Soak {
		smtp.Choose = r.mischief.choose
	}
	var err error
	if r.sink, err = sink.StartSMTP(smtp); err != nil {
		return err
	}
	if r.mailAddr, err = r.through(workerMail, r.sink.Addr()); err != nil {
		return err
	}
	if url, err = r.redisThrough(workerRedis, url); err != nil {
		return err
	}
	if err := r.seal(url); err != nil {
		return err
	}
	if r.Soak {
		if err := r.invite(); err != nil {
			return err
		}
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

var errURL = errors.New("drill: the URL of Redis is none")

// openRedis connects the producer.
func (r *run) openRedis(url string) error {
	straight, err := redis.ParseURL(url)
	if err != nil {
		return errURL
	}
	straight.MaxRetries, straight.DisableIdentity = -1, true
	r.direct = redis.NewClient(straight)
	url, err = r.redisThrough(producerRedis, url)
	if err != nil {
		return err
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return errURL
	}
	options.MaxRetries, options.DisableIdentity = -1, true
	r.rdb = redis.NewClient(options)
	r.queue = queue.NewClient(r.rdb, queue.ClientOptions{})
	return nil
}

// seal makes a master key and a keyring, and stores the login to the sink. The
// key is on the disk for as long as the run takes, and opens nothing else.
func (r *run) seal(url string) error {
	master := secrets.GenerateMasterKey()
	for name, text := range map[string]string{keyFile: master.Reveal(), urlFile: url} {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	kek, err := secrets.LoadKEK(master)
	if err != nil {
		return err
	}
	keyring, err := secrets.Init(context.Background(), r.rdb, kek)
	if err != nil {
		return err
	}
	r.store = secrets.NewStore(r.rdb, keyring, secrets.Options{})
	r.store.OnChange(func(ctx context.Context, ref secrets.Ref) {
		_, _ = r.queue.CredentialChanged(ctx, ref.ID, ref.Version) // the workers' sweep sees it too
	})
	return r.putLogin(context.Background(), secretKey, r.mailAddr, password(1))
}

// Files of a run.
const (
	keyFile = "master.key"
	urlFile = "redis.url"
)

// worker starts a process that only works.
func (r *run) worker() (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(r.Binary, "serve")
	cmd.Dir = r.Dir
	cmd.Env = environ("NO_COLOR=1", "SEALPOST_ROLES=worker", "SEALPOST_LEASE="+lease.String(), "SEALPOST_OPS_ADDR=127.0.0.1:"+port,
		"SEALPOST_ALLOW_NET=127.0.0.0/8", "SEALPOST_LOG_LEVEL=warn",
		"SEALPOST_MASTER_KEY_FILE="+filepath.Join(r.Dir, keyFile), "SEALPOST_REDIS_URL_FILE="+filepath.Join(r.Dir, urlFile))
	r.served++
	w, err := start(cmd, filepath.Join(r.Dir, fmt.Sprintf("worker-%d.log", r.served)))
	if err == nil {
		w.ops = "http://127.0.0.1:" + port
	}
	return w, err
}

// stopWorkers kills the workers: nothing moves while the account is taken.
func (r *run) stopWorkers() error {
	var errs []error
	for _, w := range r.workers {
		errs = append(errs, w.kill())
	}
	r.workers = nil
	return errors.Join(errs...)
}

// close ends everything.
func (r *run) close() error {
	errs := []error{r.stopWorkers()}
	if r.store != nil {
		r.store.Close()
	}
	for _, c := range []*redis.Client{r.rdb, r.direct} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	for _, line := range r.lines {
		line.Close()
	}
	if r.sink != nil {
		errs = append(errs, r.sink.Close())
	}
	for _, h := range r.hostile {
		h.close()
	}
	if r.server != nil {
		errs = append(errs, r.server.close())
	}
	return errors.Join(errs...)
}
