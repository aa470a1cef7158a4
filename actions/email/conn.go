package email

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// conn is one connection that is logged in. One goroutine uses it at a time.
type conn struct {
	account *account
	ref     secrets.Ref
	raw     *budgetConn
	sc      *smtp.Client
	hide    []redact.String          // what the server knows and may repeat
	clean   func(text string) string // takes it out of words
	born    time.Time
	used    time.Time // end of the last use
	sent    int       // mails
	reused  bool      // it was kept since an earlier mail

	pipelining bool    // the server takes commands in groups (RFC 2920)
	sizes      bool    // it wants to be told the size of a mail (RFC 1870)
	limit      int64   // the largest mail that it said it takes, 0 if it said nothing
	eightBit   bool    // 8BITMIME
	utf8       bool    // SMTPUTF8
	chunking   bool    // CHUNKING (RFC 3030), see bdat.go
	out        []byte  // written and not flushed
	rider      *waiter // its envelope goes out behind the text, see ride.go
	ahead      *letter // its envelope has gone out, and was not answered yet

	// Of flights, by who reads; behind is under the account's mu.
	behind *berth // who goes out behind the mail that reads, see follow.go
	dirty  bool   // a refused mail's envelope may be there still
	flown  bool   // it has taken a mail by BDAT
	lost   bool   // no more replies can be read
	ending bool   // no more mails
}

// fail judges err, which ended the exchange at stage.
func (c *conn) fail(ctx context.Context, stage string, err error) *failure {
	f := newFailure(ctx, c.ref, stage, err, c.hide)
	if f.verdict.Lesson == queue.SessionLimit {
		f.count, f.broken = c.sent, true // another mail would be refused too
	}
	return f
}

// command runs one SMTP command within its budget.
func (c *conn) command(ctx context.Context, stage string, do func() error) *failure {
	c.raw.grant(replyBudget)
	if err := do(); err != nil {
		return c.fail(ctx, stage, err)
	}
	return nil
}

// letter is one mail and who is to get it.
type letter struct {
	from  string
	to    []recipient
	raw   []byte
	utf8  bool   // an address has letters outside ASCII
	whole bool   // all recipients or nobody
	sure  bool   // what became of it must be known
	berth *berth // it goes out behind another mail, see follow.go
}

// transact hands one mail over and says what became of its recipients. begin is
// called before MAIL, unless that went out behind the mail before, and before the
// text: no step after it can be taken back. On a failure nobody got the mail, and the connection is left ready for the next
// one unless it is broken. A failure with a delivery is that of recipients.
func (c *conn) transact(ctx context.Context, begin func(context.Context) error, l *letter) (delivery, *failure) {
	if l.berth != nil || c.ahead != l && c.flies(l, time.Now()) {
		return c.flight(ctx, begin, l)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	defer stop()
	if c.dirty {
		if f := c.command(ctx, stageMail, c.sc.Reset); f != nil {
			f.broken, f.stale = true, c.reused
			return delivery{}, f
		}
		c.dirty = false
	}
	if c.ahead != l {
		if f := c.fits(ctx, l); f != nil {
			return delivery{}, f
		}
		if err := begin(ctx); err != nil {
			return delivery{}, c.fail(ctx, stageMail, fmt.Errorf("%w: %w", errClaim, err))
		}
	}
	crashpoint.Point("mail-before")
	d, f := c.offer(ctx, l)
	if f != nil {
		return d, f
	}
	if d.text, f = c.text(ctx, begin, l.raw); f != nil {
		return delivery{}, f // after the text nothing is left to take back
	}
	c.sent++
	return d, nil
}

// fits refuses what the server has said it does not take. Nothing was sent then,
// and the connection stays good.
func (c *conn) fits(ctx context.Context, l *letter) *failure {
	size := int64(wireSize(l.raw))
	if c.limit > 0 && size > c.limit {
		f := c.fail(ctx, stageMail, errTooLarge)
		f.text = fmt.Sprintf("%s: %d bytes, limit %d", errTooLarge, size, c.limit)
		f.broken = false
		return f
	}
	if l.utf8 && !c.utf8 {
		f := c.fail(ctx, stageMail, errNoUTF8)
		f.broken = false
		return f
	}
	return nil
}

// learn notes what the server offers. The answer to EHLO does not change in a
// connection.
func (c *conn) learn() {
	c.pipelining, _ = c.sc.Extension("PIPELINING")
	c.chunking, _ = c.sc.Extension("CHUNKING")
	c.eightBit, _ = c.sc.Extension("8BITMIME")
	c.utf8, _ = c.sc.Extension("SMTPUTF8")
	sizes, most := c.sc.Extension("SIZE")
	c.sizes = sizes
	if n, err := strconv.ParseInt(most, 10, 64); err == nil {
		c.limit = n
	}
}

// wireSize is the size of a mail as SMTP counts it (RFC 1870, section 5): the
// line end that must stand before the dot is part of it.
func wireSize(raw []byte) int {
	if bytes.HasSuffix(raw, []byte("\r\n")) {
		return len(raw)
	}
	return len(raw) + 2
}

// ready makes the connection ready for the next mail after a refusal.
func (c *conn) ready(f *failure) *failure {
	if f.broken {
		return f
	}
	c.raw.grant(replyBudget)
	if err := c.sc.Reset(); err != nil {
		f.broken = true
	}
	return f
}

// release gives the connection back. failed is how its mail ended, nil when it
// was delivered.
func (c *conn) release(failed *failure) {
	c.account.put(c, failed != nil && failed.broken)
}

// quit ends the connection politely as far as that costs nothing: it does not
// wait for the reply. No text may have begun.
func (c *conn) quit() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.sc.Text.Cmd("QUIT")
	_ = c.raw.Close()
}
