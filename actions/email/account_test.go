package email

import (
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// kept returns an account with n idle connections.
func kept(t *testing.T, n int) *account {
	t.Helper()
	_, v := startSink(t, nil)
	a := action(t, v, 0)
	var list []*conn
	for range n {
		c, err := a.pool.get(t.Context(), v.login.Ref, secrets.Use{Actor: "test", Why: "test"}, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	for _, c := range list {
		c.release(nil)
	}
	acc := a.pool.account(v.login.Ref)
	if got := len(acc.idle); got != n {
		t.Fatalf("%d connections are idle, want %d", got, n)
	}
	return acc
}

func TestAnAccountLetsGoOfItsConnections(t *testing.T) {
	for name, take := range map[string]func(*account){
		"used": func(a *account) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.popIdle(time.Now())
		},
		"expired": func(a *account) {
			a.mu.Lock()
			a.idle[0].used = time.Now().Add(-idleMax)
			a.mu.Unlock()
			a.expire()
		},
		"over the limit": func(a *account) { a.obey(queue.Limit{Connections: 2}) },
	} {
		t.Run(name, func(t *testing.T) {
			a := kept(t, 3)
			places := a.idle[:cap(a.idle)]
			take(a)
			if got := len(a.idle); got != 2 {
				t.Fatalf("%d connections are idle, want 2", got)
			}
			held := 0
			for _, c := range places {
				if c != nil {
					held++
				}
			}
			if held != 2 {
				t.Errorf("the account holds on to %d connections, want 2: those that are idle", held)
			}
		})
	}
}

func TestAnAccountWithoutAConnectionIsGivenUp(t *testing.T) {
	_, v := startSink(t, func(c *sink.SMTPConfig) { c.Password = "another one" })
	a := action(t, v, 0)
	if _, err := do(t, a, job(t, "1", nil)); err == nil {
		t.Fatal("the login works")
	}
	acc := a.pool.accounts[v.login.Ref.ID]
	if acc == nil {
		t.Fatal("there is no account")
	}
	acc.mu.Lock()
	if acc.sweep == nil {
		acc.mu.Unlock()
		t.Fatal("nobody will look at it again")
	}
	acc.sweep.Stop() // the test is the timer
	acc.mu.Unlock()
	if acc.expire(); len(a.pool.accounts) != 1 {
		t.Fatal("it was given up while its refusal counts")
	}
	acc.mu.Lock()
	if acc.sweep == nil {
		acc.mu.Unlock()
		t.Fatal("nobody will look at it again after that")
	}
	acc.sweep.Stop()
	acc.refusedUntil = time.Now().Add(-time.Second)
	acc.mu.Unlock()
	if acc.expire(); len(a.pool.accounts) != 0 {
		t.Error("an account that never had a connection is kept")
	}
}
