package sink

import (
	"net"
	"sync"
	"time"
)

// countedConn tells of its end, once. What is written goes out when more is waited for:
// replies to a group of commands are sent as a unit, as RFC 2920, section 3.2,
// suggests and Postfix and Exim do.
type countedConn struct {
	net.Conn
	sink *SMTP
	once sync.Once

	mu  sync.Mutex
	out []byte
}

// Write keeps p until the next read, or until there is much of it.
func (c *countedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.out = append(c.out, p...)
	full := len(c.out) >= outMax
	c.mu.Unlock()
	if full {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// outMax is more than the replies to a group of 100 commands.
const outMax = 16 << 10

// flush sends what was written.
func (c *countedConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

// Read sends what was written and reads.
func (c *countedConn) Read(p []byte) (int, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Close sends what was written and ends the connection.
func (c *countedConn) Close() error {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(time.Second)) // crypto/tls ends with one that is over
	_ = c.flush()
	c.once.Do(func() {
		c.sink.open.Add(-1)
		if c.sink.cfg.OnEnd != nil {
			c.sink.cfg.OnEnd(c.RemoteAddr().String(), time.Now())
		}
	})
	return c.Conn.Close()
}
