package email

import (
	"context"
	"errors"
	"fmt"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// Test opens the secret, connects, checks the certificate, logs in and leaves,
// by the code that sends mail and through the same guard. It sends nothing and
// touches no kept connection. When the login works, a refusal that is
// remembered for this version is forgotten.
func (a *Action) Test(ctx context.Context, ref secrets.Ref) []actions.Step {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	login, err := a.cfg.Vault.OpenSMTP(ctx, ref, secrets.Use{Actor: "worker " + a.cfg.Worker, Why: "test"})
	if err != nil {
		_, err = actions.SecretError(ref.Key, secrets.TypeSMTP, err)
		return []actions.Step{{Name: "secret", Text: err.Error()}}
	}
	steps := []actions.Step{{Name: "secret", OK: true, Text: fmt.Sprintf("version %d", login.Ref.Version)}}
	seen := func(name string, f *failure) {
		s := actions.Step{Name: name, OK: f == nil}
		if f != nil {
			s.Text = f.Error()
			if f.verdict.Advice != "" {
				s.Text += ": " + f.verdict.Advice
			}
		}
		steps = append(steps, s)
	}
	c, err := a.pool.dialer.dial(ctx, login, nil, seen)
	if err != nil {
		if f, ok := errors.AsType[*failure](err); ok && len(steps) > 0 && steps[len(steps)-1].OK {
			seen(f.answer.Stage, f) // it failed before the first step
		}
		return steps
	}
	a.pool.forgive(login.Ref)
	return append(steps, c.leave(ctx))
}

// leave says QUIT and waits for the reply.
func (c *conn) leave(ctx context.Context) actions.Step {
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	defer stop()
	f := c.command(ctx, stageDone, c.sc.Quit)
	_ = c.raw.Close()
	if f != nil { // the login works all the same
		return actions.Step{Name: "quit", OK: true, Text: "no proper goodbye: " + f.text}
	}
	return actions.Step{Name: "quit", OK: true}
}

// forgive forgets the refusal of this version, if one is remembered.
func (p *pool) forgive(ref secrets.Ref) {
	p.mu.Lock()
	a := p.accounts[ref.ID]
	p.mu.Unlock()
	if a != nil && a.version() == ref.Version {
		a.forgive()
	}
}
