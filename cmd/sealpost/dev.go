package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Times of the dev mode.
const (
	devStart = 20 * time.Second      // everything is in this process; seconds mean a fault
	devTick  = 50 * time.Millisecond // how late a key of the in-memory Redis may expire
)

func (a *app) devCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Show the main job with everything in one process, and stay up to play with",
		Long: "Starts an in-memory Redis, a mail server with STARTTLS, and servers that answer as SQS, as\n" +
			"SendGrid, as Twilio and as a web hook do, all of them in this process, stores a secret for\n" +
			"each, sends a real job of each type, and shows what arrived, also on a page for the browser.\n" +
			"Nothing is kept: when it ends, all is gone.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := time.Now()
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			d, err := a.startDev(cfg)
			if err != nil {
				return err
			}
			return errors.Join(d.run(cmd.Context(), start, once), d.close())
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the show")
	settingFlags(cmd, "SEALPOST_API_ADDR", "SEALPOST_OPS_ADDR", "SEALPOST_LOG_LEVEL")
	return cmd
}

// dev is everything that the dev mode runs.
type dev struct {
	app     *app
	redis   *miniredis.Miniredis
	rdb     redis.UniversalClient
	sinks   *devSinks
	process *process

	admin, producer redact.String // tokens
	program         string        // id of the analysis that has a script
	shown           atomic.Bool   // the show is over: mails that come now are the user's
}

// startDev starts the servers around Sealpost and makes the keyring.
func (a *app) startDev(cfg config.Config) (*dev, error) {
	d := &dev{app: a}
	var err error
	if d.redis, err = miniredis.Run(); err != nil {
		return nil, fmt.Errorf("start in-memory Redis: %w", err)
	}
	if d.sinks, err = startDevSinks(d.arrived); err != nil {
		return nil, errors.Join(err, d.close())
	}
	cfg.Redis = config.Redis{Addrs: []string{d.redis.Addr()}}
	cfg.MasterKey = secrets.GenerateMasterKey()
	cfg.AllowNet = "127.0.0.0/8" // the sinks
	cfg.Roles = config.Roles{Worker: true, API: true}
	cfg.APIAddr, cfg.OpsAddr = freeAddr(cfg.APIAddr), freeAddr(cfg.OpsAddr)
	cfg.SendgridURL, cfg.TwilioURL = d.sinks.sendgrid.URL(), d.sinks.twilio.URL()
	cfg.ScriptDir = d.sinks.scripts
	cfg.LogFormat = "text"
	cfg.LogLevel = max(cfg.LogLevel, slog.LevelWarn) // the show is what there is to see
	d.rdb = redis.NewUniversalClient(cfg.Redis.Options())
	kek, err := loadKEK(cfg)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), devStart)
	defer cancel()
	if _, err := secrets.Init(ctx, d.rdb, kek); err != nil {
		return nil, errors.Join(err, d.close())
	}
	d.process, err = newProcess(cfg, newLogger(a.stderr, cfg), d.rdb)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// arrived shows a mail that the user's own jobs sent.
func (d *dev) arrived(m sink.Message) {
	if d.shown.Load() && !d.app.asJSON() {
		// One write, so that mails at the same time do not mix.
		_, _ = fmt.Fprintf(d.app.stdout, "\n--- A mail has arrived\n\n%s\n", indent(mailText(m)))
	}
}

// mailText is a mail as it came, with plain line ends.
func mailText(m sink.Message) string { return strings.ReplaceAll(string(m.Raw), "\r\n", "\n") }

// freeAddr is addr, or a free port of this machine when addr is taken: the dev
// mode should start beside a real one.
func freeAddr(addr string) string {
	if addr == "" {
		return addr
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "127.0.0.1:0"
	}
	defer ln.Close()
	return addr
}

// close ends the servers around Sealpost, in reverse.
func (d *dev) close() error {
	var errs []error
	if d.rdb != nil {
		errs = append(errs, d.rdb.Close())
	}
	if d.sinks != nil {
		errs = append(errs, d.sinks.close())
	}
	if d.redis != nil {
		d.redis.Close()
	}
	return errors.Join(errs...)
}

// run gives the show while the process runs, and goes on until ctx ends.
func (d *dev) run(ctx context.Context, start time.Time, once bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.process.run(ctx) })
	group.Go(func() error { keepTime(ctx, d.redis); return nil })
	group.Go(func() error {
		err := d.show(ctx, start)
		if ctx.Err() != nil {
			return nil // stopped by a signal in the middle of it
		}
		d.shown.Store(true)
		if err != nil || once {
			stop()
			return err
		}
		return nil
	})
	return group.Wait()
}

// keepTime makes keys of the in-memory Redis expire, which it does not do by
// itself.
func keepTime(ctx context.Context, memory *miniredis.Miniredis) {
	last := time.Now()
	for pause(ctx, devTick) == nil {
		now := time.Now()
		memory.FastForward(now.Sub(last))
		last = now
	}
}

// ready waits until the keyring is open, and makes the tokens.
func (d *dev) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, devStart)
	defer cancel()
	for d.process.opened.Load() == nil {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the keyring: %w", err)
		}
	}
	tokens := d.process.opened.Load().tokens
	var err error
	if d.admin, _, err = tokens.Create(ctx, access.Admin, "dev", access.TokenOptions{}); err != nil {
		return err
	}
	d.producer, _, err = tokens.Create(ctx, access.Producer, "dev-producer", access.TokenOptions{})
	return err
}
