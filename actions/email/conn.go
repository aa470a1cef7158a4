package email

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// conn is one connection that is logged in. One goroutine uses it at a time.
type conn struct {
	account *account
	ref     secrets.Ref
	raw     *budgetConn
	sc      *smtp.Client
	hide    []redact.String // what the server knows and may repeat
	born    time.Time
	used    time.Time // end of the last use
	sent    int       // mails
	reused  bool      // it was kept since an earlier mail
}

// fail judges err, which ended the exchange at stage.
func (c *conn) fail(ctx context.Context, stage string, err error) *failure {
	return newFailure(ctx, c.ref, stage, err, c.hide)
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
	utf8  bool // an address has letters outside ASCII
	whole bool // all recipients or nobody
}

// transact hands one mail over and says what became of its recipients. begin is
// called before MAIL and before the text: no step after it can be taken back. On
// a failure nobody got the mail, and the connection is left ready for the next
// one unless it is broken. A failure with a delivery is that of recipients.
func (c *conn) transact(ctx context.Context, begin func(context.Context) error, l *letter) (delivery, *failure) {
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
	defer stop()
	if f := c.fits(ctx, l); f != nil {
		return delivery{}, f
	}
	if err := begin(ctx); err != nil {
		return delivery{}, c.fail(ctx, stageMail, fmt.Errorf("%w: %w", errClaim, err))
	}
	crashpoint.Point("mail-before")
	c.sc.SkipSMTPUTF8(!l.utf8) // a server further on may lack it
	f := c.command(ctx, stageMail, func() error { return c.sc.Mail(c.path(l.from, wireSize(l.raw))) })
	if f != nil {
		f.stale = c.reused && f.broken && (f.answer.Code == 421 || f.answer.Status == statusClosed)
		return delivery{}, c.ready(f)
	}
	d, f := c.recipients(ctx, l)
	if f != nil {
		return delivery{}, c.ready(f)
	}
	crashpoint.Point("rcpt-after")
	if worst := d.worst(l.whole); worst != nil && (l.whole || len(d.taken) == 0) {
		return d, c.ready(worst)
	}
	d.text, f = c.text(ctx, begin, l.raw)
	if f != nil {
		// After the text nothing is left to take back; before it, RSET.
		if f.answer.Stage == stageData {
			f = c.ready(f)
		}
		return delivery{}, f
	}
	c.sent++
	return d, nil
}

// fits refuses what the server has said it does not take. Nothing was sent then,
// and the connection stays good.
func (c *conn) fits(ctx context.Context, l *letter) *failure {
	size := int64(wireSize(l.raw))
	if limit := c.sizeLimit(); limit > 0 && size > limit {
		f := c.fail(ctx, stageMail, errTooLarge)
		f.text = fmt.Sprintf("%s: %d bytes, limit %d", errTooLarge, size, limit)
		f.broken = false
		return f
	}
	if offered, _ := c.sc.Extension("SMTPUTF8"); l.utf8 && !offered {
		f := c.fail(ctx, stageMail, errNoUTF8)
		f.broken = false
		return f
	}
	return nil
}

// sizeLimit returns the largest mail that the server said it takes, 0 if it
// said nothing (RFC 1870).
func (c *conn) sizeLimit() int64 {
	_, param := c.sc.Extension("SIZE")
	n, err := strconv.ParseInt(param, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// wireSize is the size of a mail as SMTP counts it (RFC 1870, section 5): the
// line end that must stand before the dot is part of it.
func wireSize(raw []byte) int {
	if bytes.HasSuffix(raw, []byte("\r\n")) {
		return len(raw)
	}
	return len(raw) + 2
}

// path is the sender for MAIL, with the size of the mail where the server takes
// it: a server without room then says so before the text (RFC 1870, section 4).
func (c *conn) path(from string, size int) string {
	if ok, _ := c.sc.Extension("SIZE"); !ok {
		return "<" + from + ">"
	}
	return fmt.Sprintf("<%s> SIZE=%d", from, size)
}

// text sends DATA, the mail and its dot. An error up to the dot leaves the mail
// unsent for sure, because the line is cut before a dot can follow; from the
// dot on only a reply tells.
func (c *conn) text(ctx context.Context, begin func(context.Context) error, raw []byte) (string, *failure) {
	var w io.WriteCloser
	f := c.command(ctx, stageData, func() (err error) {
		w, err = c.sc.Data()
		return err
	})
	if f != nil {
		return "", f
	}
	crashpoint.Point("data-after")
	if err := begin(ctx); err != nil {
		return "", c.cut(ctx, stageData, fmt.Errorf("%w: %w", errClaim, err))
	}
	if err := inHalves(w, raw); err != nil {
		return "", c.cut(ctx, stageData, err)
	}
	crashpoint.Point("dot-before")
	c.raw.grant(replyBudget)
	if err := w.Close(); err != nil && !taken(err) {
		f := c.fail(ctx, stageDot, err)
		if f.broken {
			_ = c.raw.Close()
		}
		return "", f
	}
	crashpoint.Point("dot-after")
	if closer, ok := w.(*smtp.DataCloser); ok {
		_, words := splitStatus(closer.ServerResponse())
		return redact.Clean(words, c.hide...), nil
	}
	return "", nil
}

// inHalves writes a text. Between its halves the server has a part of it, and
// no dot yet.
func inHalves(w io.Writer, raw []byte) error {
	half := len(raw) / 2
	if _, err := w.Write(raw[:half]); err != nil {
		return err
	}
	crashpoint.Point("text-between")
	_, err := w.Write(raw[half:])
	return err
}

// taken reports whether the reply to a text is a yes other than 250, which
// smtp.Client takes for an error (RFC 5321, section 4.3.2: the first digit
// decides).
func taken(err error) bool {
	reply, ok := errors.AsType[*textproto.Error](err)
	return ok && reply.Code/100 == 2
}

// cut closes the socket in the middle of a text. Any command now, even QUIT,
// would end the text with a dot, and half a mail would be delivered.
func (c *conn) cut(ctx context.Context, stage string, err error) *failure {
	f := c.fail(ctx, stage, err)
	_ = c.raw.Close()
	f.broken = true
	return f
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
