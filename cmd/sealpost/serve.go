package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/builtin"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/script"
	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/server"
)

// Times of a process's life. Numbers: ours.
const (
	closeGrace  = 5 * time.Second // for requests that run when the workers have ended
	unsealPause = 5 * time.Second // between tries to open the keyring
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Take jobs and do them, and answer the API",
		Long: "Runs until SIGTERM or SIGINT: then it takes no more jobs, lets the running ones go on for\n" +
			"SEALPOST_GRACE, and hands back the rest. A second signal ends it at once; nothing is lost.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			if err := crashpoint.Arm(a.getenv(crashpoint.Variable)); err != nil {
				return err
			}
			if err := secrets.HardenProcess(); err != nil {
				return fmt.Errorf("harden process: %w", err)
			}
			defer reserveHeap()()
			options := cfg.Redis.Options()
			// Each partition holds a connection in a blocking read, and outcomes must
			// not wait for one; the rest is what go-redis would take without them.
			options.PoolSize = cfg.Partitions + queue.SettleCalls + 10*runtime.GOMAXPROCS(0)
			rdb := redis.NewUniversalClient(options)
			defer rdb.Close()
			p, err := newProcess(cfg, newLogger(a.stderr, cfg), rdb)
			if err != nil {
				return err
			}
			return p.run(cmd.Context())
		},
	}
	settingFlags(cmd)
	return cmd
}

// process is one running `sealpost serve`.
type process struct {
	cfg      config.Config
	log      *slog.Logger
	rdb      redis.UniversalClient
	name     string // of this worker
	actions  *actions.Registry
	metrics  *server.Metrics
	observer queue.Observer
	jobs     *queue.Client
	api, ops net.Listener // nil when not wanted

	opened   atomic.Pointer[opened]
	sealed   atomic.Pointer[string] // why it is sealed, for people
	draining atomic.Bool
	met      atomic.Bool                // Redis has answered once
	pool     atomic.Pointer[queue.Pool] // nil until it runs
}

// newProcess builds what needs neither Redis nor keys, and listens.
func newProcess(cfg config.Config, log *slog.Logger, rdb redis.UniversalClient) (*process, error) {
	guard, err := netguard.Parse(cfg.AllowNet)
	if err != nil {
		return nil, fmt.Errorf("SEALPOST_ALLOW_NET: %w", err)
	}
	name, err := workerName()
	if err != nil {
		return nil, err
	}
	p := &process{cfg: cfg, log: log, rdb: rdb, name: name}
	if err := script.CheckDir(cfg.ScriptDir); err != nil {
		return nil, fmt.Errorf("SEALPOST_SCRIPT_DIR: %w", err)
	}
	list := builtin.New(builtin.Deps{Vault: (*lateVault)(p), Guard: guard, Worker: name, Logger: log, Script: p.scripts(),
		Refused: p.refused, SendgridURL: cfg.SendgridURL, TwilioURL: cfg.TwilioURL})
	p.actions = actions.NewRegistry(list...)
	p.actions.UseStored((*lateVault)(p))
	p.metrics = server.NewMetrics(build().Version, p.actions.Kinds())
	p.observer = observe(p.metrics)
	p.sealed.Store(new("starting: Redis has not answered yet"))
	p.jobs = queue.NewClient(rdb, queue.ClientOptions{Partitions: cfg.Partitions, QueueMax: cfg.QueueMax,
		DeadMax: cfg.DeadMax, Durability: queue.Durability(cfg.Durability), LogRetention: cfg.LogRetention, Observer: p.observer})
	p.metrics.Observe(p.gauges(list))
	return p, p.listen()
}

// workerName is unique among all processes of all machines.
func workerName() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("read host name: %w", err)
	}
	tail := make([]byte, 4)
	_, _ = rand.Read(tail) // never fails
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(tail)), nil
}

// listen binds both addresses, so that a wrong one is known at once.
func (p *process) listen() error {
	var err error
	if p.cfg.Roles.API {
		if p.api, err = net.Listen("tcp", p.cfg.APIAddr); err != nil {
			return fmt.Errorf("listen for the API (SEALPOST_API_ADDR): %w", err)
		}
		if secured(p.cfg) {
			cert, err := tls.LoadX509KeyPair(p.cfg.APITLSCert, p.cfg.APITLSKey)
			if err != nil {
				return errors.Join(fmt.Errorf("load certificate of the API: %w", err), p.api.Close())
			}
			p.api = tls.NewListener(p.api, &tls.Config{Certificates: []tls.Certificate{cert},
				MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		}
	}
	if p.cfg.OpsAddr == "" {
		return nil
	}
	if p.ops, err = net.Listen("tcp", p.cfg.OpsAddr); err != nil {
		err = fmt.Errorf("listen for metrics and health (SEALPOST_OPS_ADDR): %w", err)
		if p.api != nil {
			err = errors.Join(err, p.api.Close())
		}
	}
	return err
}

// run works until ctx ends and then drains: no new jobs, the running ones get
// their grace, then the listeners close, then the connections.
func (p *process) run(ctx context.Context) error {
	p.announce()
	listening, closeListeners := context.WithCancel(context.WithoutCancel(ctx))
	defer closeListeners()
	group, failed := errgroup.WithContext(listening)
	if p.ops != nil {
		group.Go(func() error {
			return server.Serve(failed, p.ops, server.Ops(p.metrics.Handler(), p.checks()), closeGrace)
		})
	}
	if p.api != nil {
		group.Go(func() error { return server.Serve(failed, p.api, p.handler(), closeGrace) })
	}
	group.Go(func() error {
		defer closeListeners()
		// A listener that fails ends the work too.
		intake, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(failed, stop)()
		return p.work(intake)
	})
	err := group.Wait()
	if closing := p.actions.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("close senders: %w", closing))
	}
	if o := p.opened.Load(); o != nil {
		o.secrets.Close()
	}
	if err != nil {
		return err
	}
	p.log.Info("stopped")
	return nil
}

// announce logs what an operator wants to know at the start.
func (p *process) announce() {
	attrs := []any{slog.String("version", build().Version), slog.String("worker", p.name),
		slog.String("roles", p.cfg.Roles.String()), slog.String("redis", p.cfg.Redis.String())}
	if p.api != nil {
		attrs = append(attrs, slog.String("api", p.api.Addr().String()))
	}
	if p.ops != nil {
		attrs = append(attrs, slog.String("ops", p.ops.Addr().String()))
	}
	p.log.Info("started", attrs...)
	for _, warning := range p.cfg.Warnings() {
		p.log.Warn(warning)
	}
}

func (p *process) handler() http.Handler {
	return server.New(server.Config{Queue: p.jobs, Actions: p.actions, Vault: p.vault, Log: p.log, Panel: p.panel()})
}

// work waits for Redis and for the keyring, and then takes jobs until intake
// ends. No job is claimed while the store is sealed.
func (p *process) work(intake context.Context) error {
	defer p.draining.Store(true)
	if err := p.awaitRedis(intake); err != nil {
		return p.unlessStopped(intake, err)
	}
	if err := p.awaitKeyring(intake); err != nil {
		return p.unlessStopped(intake, err)
	}
	if !p.cfg.Roles.Worker {
		p.log.Info("ready")
		<-intake.Done()
		return nil
	}
	pool, err := p.newPool()
	if err != nil {
		return err
	}
	p.pool.Store(pool)
	p.log.Info("ready", slog.Int("slots", p.cfg.Slots))
	context.AfterFunc(intake, func() {
		p.draining.Store(true)
		p.log.Info("stopping", slog.Duration("grace", p.cfg.Grace))
	})
	if err := p.runPool(intake, pool); err != nil {
		return fmt.Errorf("run workers: %w", err)
	}
	return nil
}

// unlessStopped returns nil for the error that comes of being stopped.
func (p *process) unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
