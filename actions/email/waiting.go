package email

import (
	"context"
	"slices"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// waiter is a mail that waits for a connection. What it is given is a slot, with
// which it takes a kept connection or makes one, or a connection on which its
// envelope has gone out behind the text of the mail before it (ride.go).
type waiter struct {
	letter *letter    // to ride; nil: it waits for a slot
	seat   chan *conn // gets one: nil for a slot
	aboard bool       // its envelope is going out
	gone   bool       // it left while it was aboard
}

// writer returns the letter of a mail that goes out by an account, nil if the mail
// had better wait for a connection of its own.
type writer func(ctx context.Context, a *account) (*letter, error)

// get returns a connection for one mail, kept or new. fresh asks for a new one
// because a kept one was dead. early is asked for the letter if the mail has to
// wait: its envelope may then go out before the connection is free.
func (a *account) get(ctx context.Context, ref secrets.Ref, use secrets.Use, fresh bool, early writer) (*conn, error) {
	if fresh {
		a.dropIdle()
	}
	if err := a.prove(ctx, ref, use); err != nil {
		return nil, err
	}
	if !a.slot() {
		w := &waiter{seat: make(chan *conn, 1)}
		if !fresh && a.rides() {
			var err error
			if w.letter, err = early(ctx, a); err != nil {
				return nil, err
			}
		}
		if c, err := a.wait(ctx, w); c != nil || err != nil {
			return c, err
		}
	}
	c, err := a.take(ctx, use)
	if err != nil {
		a.mu.Lock()
		a.pass()
		a.mu.Unlock()
		return nil, err
	}
	return c, nil
}

// slot takes a slot if one is free. Then nobody waits.
func (a *account) slot() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.free == 0 {
		return false
	}
	a.free--
	return true
}

// pass gives a slot to who has waited longest. The caller holds mu, and the slot.
func (a *account) pass() {
	if len(a.line) == 0 {
		a.free++
		return
	}
	w := a.line[0]
	a.line = slices.Delete(a.line, 0, 1)
	w.seat <- nil
}

// wait queues for a slot or a ride. With neither error nor connection the caller
// holds a slot.
func (a *account) wait(ctx context.Context, w *waiter) (*conn, error) {
	a.mu.Lock()
	if a.free > 0 { // since slot was asked for
		a.free--
		a.mu.Unlock()
		return nil, nil
	}
	a.line = append(a.line, w)
	a.mu.Unlock()
	late := time.NewTimer(slotWait)
	defer late.Stop()
	for {
		select {
		case c := <-w.seat:
			return c, nil
		case <-ctx.Done():
			a.leave(w)
			return nil, errBusy
		case <-late.C:
			if a.quitLine(w) {
				return nil, errBusy
			}
			late.Reset(time.Second) // it is aboard, or has just got its seat
		}
	}
}

// quitLine takes w out of the line and reports whether it stood there.
func (a *account) quitLine(w *waiter) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.line, w)
	if i < 0 {
		return false
	}
	a.line = slices.Delete(a.line, i, i+1)
	return true
}

// leave ends the wait of w, wherever it stands.
func (a *account) leave(w *waiter) {
	if a.quitLine(w) {
		return
	}
	a.mu.Lock()
	select {
	case c := <-w.seat:
		if c == nil {
			a.pass()
		}
		a.mu.Unlock()
		switch {
		case c != nil && w.letter.berth != nil:
			a.stepBack(c, w.letter, false)
		case c != nil:
			a.put(c, true)
		}
	default:
		w.gone = true // who has it aboard cuts the line
		a.mu.Unlock()
	}
}
