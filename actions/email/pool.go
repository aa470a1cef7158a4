package email

import (
	"context"
	"sync"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// pool has an account for each secret in use, of its newest version.
type pool struct {
	vault   Vault
	dialer  *dialer
	refused actions.Refused
	far     time.Duration // see account

	mu       sync.Mutex
	accounts map[string]*account // by secret id
	closed   bool
}

func newPool(vault Vault, d *dialer, refused actions.Refused) *pool {
	if refused == nil {
		refused = func(context.Context, secrets.Ref) string { return "" }
	}
	return &pool{vault: vault, dialer: d, refused: refused, far: farTrip, accounts: map[string]*account{}}
}

// get returns a connection of this secret's version.
func (p *pool) get(ctx context.Context, ref secrets.Ref, use secrets.Use, fresh bool, early writer) (*conn, error) {
	return p.account(ref).get(ctx, ref, use, fresh, early)
}

// account returns the account of ref and retires that of another version.
func (p *pool) account(ref secrets.Ref) *account {
	p.mu.Lock()
	a := p.accounts[ref.ID]
	if a != nil && a.version() == ref.Version {
		p.mu.Unlock()
		return a
	}
	old := a
	a = newAccount(p, ref)
	a.retired = p.closed
	p.accounts[ref.ID] = a
	p.mu.Unlock()
	if old != nil {
		old.retire()
	}
	return a
}

// version returns the version that the account logs in with.
func (a *account) version() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ref.Version
}

// open unseals the secret and makes a connection with it.
func (p *pool) open(ctx context.Context, a *account, ref secrets.Ref, use secrets.Use) (*conn, error) {
	if why := p.refused(ctx, ref); why != "" {
		return nil, notTried(ref, why)
	}
	login, err := p.vault.OpenSMTP(ctx, ref, use)
	if err != nil {
		return nil, err
	}
	a.learn(login)
	c, err := p.dialer.dial(ctx, login, a.cache, nil)
	if err != nil {
		return nil, err
	}
	c.account = a
	return c, nil
}

// notTried is the failure of a login that another process has had refused.
func notTried(ref secrets.Ref, why string) *failure {
	return &failure{
		ref: ref, answer: actions.Answer{Stage: stageAuth, Status: "gate"},
		verdict: actions.Verdict{Reason: actions.Credential, Rule: "credential-refused", Advice: adviseLogin},
		text:    "not tried, as it was refused elsewhere: " + why,
	}
}

// forget drops an account that has no connection, unless it was replaced.
func (p *pool) forget(a *account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, other := range p.accounts {
		if other == a {
			delete(p.accounts, id)
			return
		}
	}
}

// stats counts the connections of all accounts.
func (p *pool) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	var s Stats
	for _, a := range p.accounts {
		a.mu.Lock()
		s.Idle += len(a.idle)
		s.Busy += a.busy
		s.Dialing += a.dialing
		a.mu.Unlock()
	}
	return s
}

// close retires all accounts and takes no new connections.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	accounts := p.accounts
	p.accounts = map[string]*account{}
	p.mu.Unlock()
	for _, a := range accounts {
		a.retire()
	}
}
