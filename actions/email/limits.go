package email

import (
	"errors"

	"github.com/sealpost/sealpost/queue"
)

// obey takes over what the queue has learnt of the server: how many mails one
// connection takes, and how many connections this process may have. Idle ones
// over that are closed, as they count at the server.
func (a *account) obey(l queue.Limit) {
	a.mu.Lock()
	a.limit = l
	var over []*conn
	for l.Connections > 0 && len(a.idle) > 0 && len(a.idle)+a.busy+a.dialing > l.Connections {
		over = append(over, a.oldest())
	}
	a.mu.Unlock()
	for _, c := range over {
		c.quit()
	}
}

// mails is how many mails one connection is used for. The caller holds mu.
func (a *account) mails() int {
	if n := a.limit.PerConnection; n > 0 {
		return min(n, mailsMax)
	}
	return mailsMax
}

// room reports whether c may be kept beside the others. The caller holds mu.
func (a *account) room(c *conn) bool {
	most := a.limit.Connections
	return c.sent < a.mails() && (most == 0 || len(a.idle)+a.busy+a.dialing < most)
}

// counted tells the queue how many of what the server limits there were when it
// refused one more.
func (p *pool) counted(f *failure, err error) error {
	t, ok := errors.AsType[*queue.ThrottledError](err)
	if !ok {
		return err
	}
	switch t.Lesson {
	case queue.SessionLimit:
		t.Count = f.count
	case queue.ConnectionLimit:
		t.Count = p.connections(f.ref.ID)
	}
	return err
}

// connections is how many there are with the login of a secret.
func (p *pool) connections(secret string) int {
	p.mu.Lock()
	a := p.accounts[secret]
	p.mu.Unlock()
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.idle) + a.busy
}
