package sqs

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// account is one version of a secret, opened: its client, and the accumulator
// for its queue.
type account struct {
	version int64         // that was asked for
	opened  chan struct{} // closed when what follows is there
	err     error         // why it could not be opened
	ref     secrets.Ref   // of the version that was opened
	client  *client
	*accumulator
	expiry *time.Timer
}

// idleTime is how long an opened secret without work is kept in memory.
const idleTime = 90 * time.Second

// account returns the opened secret. Jobs that come at once share one opening.
// A newer version than the one that is open replaces it.
func (a *Action) account(ctx context.Context, ref secrets.Ref, use secrets.Use) (*account, error) {
	a.mu.Lock()
	acc := a.accounts[ref.ID]
	if acc == nil || acc.version < ref.Version {
		old := acc
		acc = &account{version: ref.Version, opened: make(chan struct{})}
		a.accounts[ref.ID] = acc
		a.mu.Unlock()
		a.open(ctx, acc, ref, use)
		if old != nil {
			<-old.opened
			old.retire()
		}
	} else {
		a.mu.Unlock()
	}
	select {
	case <-acc.opened:
		return acc, acc.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open opens the secret for acc. Its context does not end with the job's, since
// others wait for it too.
func (a *Action) open(ctx context.Context, acc *account, ref secrets.Ref, use secrets.Use) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.Timeout)
	defer cancel()
	defer close(acc.opened)
	acc.err = a.fillAccount(ctx, acc, ref, use)
	a.mu.Lock()
	defer a.mu.Unlock()
	if acc.err != nil {
		if a.accounts[ref.ID] == acc {
			delete(a.accounts, ref.ID) // the next job tries again
		}
		return
	}
	acc.version = max(acc.version, acc.ref.Version)
	acc.expiry = time.AfterFunc(idleTime, func() { a.expire(acc) })
}

func (a *Action) fillAccount(ctx context.Context, acc *account, ref secrets.Ref, use secrets.Use) error {
	opened, err := a.config.Vault.OpenSQS(ctx, ref, use)
	if err != nil {
		return err
	}
	acc.ref = opened.Ref
	acc.client, err = newClient(opened, a.config.Guard)
	if err != nil {
		return err
	}
	acc.accumulator = newAccumulator(opened, acc.client, a.config.Timeout)
	return nil
}

// newAccumulator returns the accumulator for the queue of an opened secret.
func newAccumulator(opened secrets.SQS, c *client, limit time.Duration) *accumulator {
	return &accumulator{
		fifo: isFIFO(opened.QueueURL), fly: c.send, limit: limit,
		flights: map[*flight]bool{}, busy: map[string]bool{},
	}
}

// expire forgets an account that has had no work for a while, and with it the
// credential.
func (a *Action) expire(acc *account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.accounts[acc.ref.ID] != acc {
		return // replaced or closed
	}
	if !acc.idle(time.Now().Add(-idleTime)) {
		acc.expiry.Reset(idleTime)
		return
	}
	delete(a.accounts, acc.ref.ID)
	acc.dismiss()
	acc.client.close()
}

// retire lets go of a version that a newer one replaced. What it has in flight
// ends by itself.
func (acc *account) retire() {
	if acc.err == nil {
		acc.expiry.Stop()
		acc.dismiss()
		acc.client.close()
	}
}

// close retires the account and waits for its requests.
func (acc *account) close() {
	<-acc.opened
	acc.retire()
	if acc.err == nil {
		acc.wait.Wait()
		acc.client.close()
	}
}

// forgive forgets that this version was refused, if it was.
func (a *Action) forgive(ref secrets.Ref) {
	a.mu.Lock()
	acc := a.accounts[ref.ID]
	a.mu.Unlock()
	if acc == nil {
		return
	}
	select {
	case <-acc.opened:
		if acc.err == nil && acc.ref.Version == ref.Version {
			acc.forgive()
		}
	default: // nothing was refused yet
	}
}

func refuseEndpoint(text string) error {
	answer := actions.Answer{Stage: stageParams, Status: "endpoint", Text: text}
	return newFailure(answer, text)
}
