package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/server"
	"github.com/sealpost/sealpost/server/panel"
)

// opened is what there is once the keyring has been opened.
type opened struct {
	secrets   *secrets.Store
	tokens    *access.Store
	directory *access.Directory
	actions   *actions.Store
	sessions  *panel.Sessions
}

// lateVault is the process as the senders see it: they are there before the
// keyring is open, but no job comes to them until it is.
type lateVault process

func (v *lateVault) store() (*secrets.Store, error) {
	vault, err := (*process)(v).vault()
	if err != nil {
		return nil, err
	}
	return vault.Secrets, nil
}

// Lookup is as of secrets.Store.
func (v *lateVault) Lookup(ctx context.Context, ref string) (secrets.Ref, error) {
	s, err := v.store()
	if err != nil {
		return secrets.Ref{}, err
	}
	return s.Lookup(ctx, ref)
}

// OpenSMTP is as of secrets.Store.
func (v *lateVault) OpenSMTP(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.SMTP, error) {
	s, err := v.store()
	if err != nil {
		return secrets.SMTP{}, err
	}
	return s.OpenSMTP(ctx, ref, use)
}

// OpenSQS is as of secrets.Store.
func (v *lateVault) OpenSQS(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.SQS, error) {
	s, err := v.store()
	if err != nil {
		return secrets.SQS{}, err
	}
	return s.OpenSQS(ctx, ref, use)
}

// Peek is as of actions.Store.
func (v *lateVault) Peek(id string) (actions.Definition, bool) {
	if o := v.opened.Load(); o != nil {
		return o.actions.Peek(id)
	}
	return actions.Definition{}, false
}

// Get is as of actions.Store.
func (v *lateVault) Get(ctx context.Context, id string) (actions.Definition, error) {
	o := v.opened.Load()
	if o == nil {
		return actions.Definition{}, secrets.ErrSealed
	}
	return o.actions.Get(ctx, id)
}

// OpenText is as of secrets.Store.
func (v *lateVault) OpenText(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.Text, error) {
	s, err := v.store()
	if err != nil {
		return secrets.Text{}, err
	}
	return s.OpenText(ctx, ref, use)
}

// vault gives the API the opened store, or why there is none.
func (p *process) vault() (*server.Vault, error) {
	o := p.opened.Load()
	if o == nil {
		return nil, fmt.Errorf("%w: %s", secrets.ErrSealed, *p.sealed.Load())
	}
	return &server.Vault{Secrets: o.secrets, Tokens: o.tokens, Directory: o.directory, Definitions: o.actions}, nil
}

// awaitKeyring opens the keyring, trying again until it opens or ctx ends.
// Each new reason is logged once.
func (p *process) awaitKeyring(ctx context.Context) error {
	said := ""
	for {
		err := p.unseal(ctx)
		if err == nil {
			return nil
		}
		reason := sealedReason(err)
		p.sealed.Store(&reason)
		if reason != said && ctx.Err() == nil {
			p.log.Error("sealed: no job is taken", slog.String("reason", reason))
			said = reason
		}
		if err := pause(ctx, unsealPause); err != nil {
			return err
		}
	}
}

// sealedReason is the text of err without the words that come before it anyway.
func sealedReason(err error) string {
	text := err.Error()
	prefix := secrets.ErrSealed.Error() + ": "
	if len(text) > len(prefix) && text[:len(prefix)] == prefix {
		return text[len(prefix):]
	}
	return text
}

// unseal opens the keyring and builds everything that needs it.
func (p *process) unseal(ctx context.Context) error {
	kek, err := loadKEK(p.cfg)
	if err != nil {
		return err
	}
	keyring, err := secrets.OpenKeyring(ctx, p.rdb, kek)
	if err != nil {
		return err
	}
	store := secrets.NewStore(p.rdb, keyring, secrets.Options{Observer: p.metrics.SecretOpened})
	if err := p.verify(ctx, store); err != nil {
		store.Close()
		return err
	}
	if err := verifyRecords(ctx, p.rdb, keyring, store); errors.Is(err, secrets.ErrSealBroken) {
		p.log.Error("somebody changed policies, analyses or actions in Redis; they are refused until a backup is restored", slog.Any("err", err))
	} else if err != nil {
		store.Close()
		return err
	}
	store.OnChange(p.credentialChanged)
	p.opened.Store(&opened{secrets: store, tokens: access.NewStore(p.rdb, keyring),
		directory: access.NewDirectory(p.rdb, keyring, store), actions: actions.NewStore(p.rdb, keyring, store, p.actions.Catalog()), sessions: panel.NewSessions(p.rdb, keyring)})
	return nil
}

// verify checks all seals. A broken one is for a person to look at; it stops
// the jobs that need this secret, and no others.
func (p *process) verify(ctx context.Context, store *secrets.Store) error {
	report, err := store.Verify(ctx)
	if errors.Is(err, secrets.ErrSealBroken) {
		p.log.Error("somebody changed the stored secrets in Redis; jobs that need a broken one become dead letters",
			slog.Any("broken", report.Broken), slog.Bool("whole", report.Whole))
		return nil
	}
	return err
}

// credentialChanged wakes the jobs that wait for the secret. When it cannot,
// the sweep of the workers does so soon.
func (p *process) credentialChanged(ctx context.Context, ref secrets.Ref) {
	jobs, err := p.jobs.CredentialChanged(ctx, ref.ID, ref.Version)
	server.Released(ctx, jobs)
	if err != nil {
		p.log.Warn("parked jobs wait for the next sweep", slog.String("secret", ref.Key), slog.Any("err", err))
	}
}

// newPool builds the workers.
func (p *process) newPool() (*queue.Pool, error) {
	o := p.opened.Load()
	pool, err := queue.NewPool(queue.PoolConfig{
		Redis: p.rdb, Partitions: p.cfg.Partitions, Name: p.name,
		Slots: p.cfg.Slots, LaneSlots: min(p.cfg.LaneSlots, p.cfg.Slots), Lease: p.cfg.Lease, Grace: p.cfg.Grace,
		MaxAttempts: p.cfg.MaxAttempts, LogRetention: p.cfg.LogRetention, LogMax: p.cfg.LogMax, Logger: p.log, Observer: p.observer,
		Credentials: func(ctx context.Context, id string) (int64, error) {
			ref, err := o.secrets.Lookup(ctx, id)
			return ref.Version, err
		},
		CredentialsOf: o.credentialsOf,
	}, p.actions)
	if err != nil {
		return nil, fmt.Errorf("start workers: %w", err)
	}
	return pool, nil
}

// refused says whether another process has had the login refused. When that
// cannot be known, the login is tried.
func (p *process) refused(ctx context.Context, ref secrets.Ref) string {
	r, ok, err := p.jobs.Refused(ctx, ref.ID, ref.Version)
	if err != nil || !ok {
		return ""
	}
	return r.Text
}

// credentialsOf looks up the versions of the secrets that a job will use. A
// secret that is not there is for the sender to say.
func (o *opened) credentialsOf(ctx context.Context, w queue.Work) ([]queue.Credential, error) {
	reach, ok := w.(actions.Reach)
	if !ok {
		return nil, nil
	}
	var list []queue.Credential
	for _, name := range reach.SecretRefs() {
		ref, err := o.secrets.Lookup(ctx, name)
		if errors.Is(err, secrets.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, queue.Credential{Secret: ref.ID, Version: ref.Version})
	}
	return list, nil
}

// pause waits for d, or returns the cause when ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errDraining is why a process that was told to stop is not ready.
var errDraining = errors.New("draining: this process was told to stop")

// checks are the conditions of /readyz.
func (p *process) checks() []server.Check {
	return []server.Check{
		{Name: "redis", Run: p.onceMet(func(ctx context.Context) (string, error) {
			start := time.Now()
			if err := p.rdb.Ping(ctx).Err(); err != nil {
				return "", fmt.Errorf("no answer from %s", p.cfg.Redis)
			}
			return "answered in " + time.Since(start).Round(100*time.Microsecond).String(), nil
		})},
		{Name: "keyring", Run: func(context.Context) (string, error) {
			if _, err := p.vault(); err != nil {
				return "", err
			}
			return "open", nil
		}},
		{Name: "worker", Run: func(context.Context) (string, error) {
			switch {
			case p.draining.Load():
				return "", errDraining
			case !p.cfg.Roles.Worker:
				return "not a role of this process", nil
			}
			return p.name, nil
		}},
		{Name: "durability", Run: p.onceMet(p.durability)},
		{Name: "audit", Run: p.onceMet(func(ctx context.Context) (string, error) {
			a, err := p.jobs.LastAudit(ctx)
			if err != nil {
				return "", fmt.Errorf("no answer from %s", p.cfg.Redis)
			}
			return a.String(), nil // what was found is for a person, and no reason to take no work
		})},
	}
}
