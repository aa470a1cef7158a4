package email

import (
	"errors"
	"net"
	"sync/atomic"
)

// errBudget says that a server sent more than any honest one does.
var errBudget = errors.New("the server's reply is too long")

// How much a server may send, encryption included. textproto reads a reply of
// any length into memory: a server that never ends its EHLO reply filled
// 937 MiB in 3 s.
const (
	replyBudget     = 64 << 10  // bytes, for one step of the exchange
	handshakeBudget = 512 << 10 // bytes, for a TLS handshake: crypto/tls takes certificates up to 256 KiB
)

// budgetConn is a connection that stops reading once its budget is used up.
type budgetConn struct {
	net.Conn
	left atomic.Int64
}

// grant sets the budget for the next step.
func (c *budgetConn) grant(n int64) { c.left.Store(n) }

// Read reads within the budget.
func (c *budgetConn) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		return 0, errBudget
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	n, err := c.Conn.Read(p)
	c.left.Add(-int64(n))
	return n, err
}
