package email

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/crashpoint"
	"github.com/sealpost/sealpost/queue"
)

// ahead is how many recipients are named in one group of commands at most. Their
// replies must fit the buffers between the server and us while we still write
// (RFC 2920, section 3.1): a hundred of the longest are 51 KB.
const ahead = 100

// grouped reports whether the whole envelope of l goes out at once, DATA with
// it. What was taken by then is sent, so mails that all must get or nobody are
// not grouped unless they have one recipient.
func (c *conn) grouped(l *letter) bool {
	return c.pipelining && len(l.to) <= ahead && (!l.whole || len(l.to) == 1)
}

// lines returns the commands of the envelope of l.
func (c *conn) lines(l *letter) []string { return append(c.envelope(l), "DATA") }

// envelope returns MAIL and RCPT.
func (c *conn) envelope(l *letter) []string {
	list := make([]string, 0, len(l.to)+2)
	list = append(list, c.mailLine(l))
	for _, r := range l.to {
		list = append(list, "RCPT TO:<"+r.address+">")
	}
	return list
}

// mailLine returns MAIL with what the server takes beside it. SMTPUTF8 is asked
// for only where it is needed: a server further on may lack it.
func (c *conn) mailLine(l *letter) string {
	line := "MAIL FROM:" + c.path(l.from, wireSize(l.raw))
	if c.eightBit {
		line += " BODY=8BITMIME"
	}
	if l.utf8 {
		line += " SMTPUTF8"
	}
	return line
}

// errLine says that a command would have been more than one line. The addresses
// were checked when the job was, so this is a bug if it ever shows.
var errLine = errors.New("an address has a line end in it")

// write adds commands to what the next flush sends.
func (c *conn) write(lines ...string) error {
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n") {
			return errLine
		}
		c.out = append(append(c.out, line...), '\r', '\n')
	}
	return nil
}

// flush sends what was written.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.sc.Text.W.Write(c.out)
	if err == nil {
		err = c.sc.Text.W.Flush()
	}
	if c.out = c.out[:0]; cap(c.out) > outMax {
		c.out = nil
	}
	return err
}

// outMax is the largest buffer that a connection keeps between mails.
const outMax = 64 << 10

// hear reads the reply to a command that has been sent. want is its code, or the
// beginning of it.
func (c *conn) hear(ctx context.Context, stage string, want int) *failure {
	c.raw.grant(replyBudget)
	if _, _, err := c.sc.Text.ReadResponse(want); err != nil {
		return c.fail(ctx, stage, err)
	}
	return nil
}

// Codes of good replies; 25 stands for 250 and 251 (RFC 5321, section 4.3.2).
const (
	codeOK   = 250
	codeRcpt = 25
	codeText = 354
)

// offer sends the envelope of a letter and reads what the server says to it. When
// the failure is nil the server waits for the text, which taken will get. When
// it is not, the connection is ready for the next mail or broken.
func (c *conn) offer(ctx context.Context, l *letter) (delivery, *failure) {
	e := &offering{conn: c, letter: l, whole: c.grouped(l), sent: c.ahead == l}
	c.ahead = nil
	if e.sent {
		d, f := e.talk(ctx)
		return d, e.ridden(f)
	}
	if e.whole {
		if f := c.send(ctx, stageMail, c.lines(l)...); f != nil {
			return delivery{}, e.spent(f)
		}
		e.sent, e.began = true, time.Now()
	}
	return e.talk(ctx)
}

// send writes commands and flushes. Nothing that cannot be taken back is among
// them.
func (c *conn) send(ctx context.Context, stage string, lines ...string) *failure {
	err := c.write(lines...)
	if err == nil {
		err = c.flush()
	}
	if err != nil {
		return c.fail(ctx, stage, err)
	}
	return nil
}

// offering is the state of one offer.
type offering struct {
	*conn
	letter *letter
	whole  bool      // all commands go out at once
	sent   bool      // and have gone
	flown  bool      // the text with them
	began  time.Time // when they went, if none was before
}

// ask returns the reply to a command, which it sends unless that was done.
func (e *offering) ask(ctx context.Context, stage, line string, want int) *failure {
	if !e.sent {
		if f := e.send(ctx, stage, line); f != nil {
			return f
		}
	}
	if e.flown {
		_, f := e.answered(ctx, stage, want)
		return f
	}
	return e.hear(ctx, stage, want)
}

// talk goes through the envelope.
func (e *offering) talk(ctx context.Context) (delivery, *failure) {
	l := e.letter
	if f := e.ask(ctx, stageMail, e.mailLine(l), codeOK); f != nil {
		return delivery{}, e.abandon(ctx, e.spent(f), len(l.to))
	}
	if !e.began.IsZero() && e.account != nil {
		e.account.timed(time.Since(e.began))
	}
	d, ends := e.name(ctx)
	if ends != nil && ends.broken {
		return delivery{}, ends
	}
	worst := d.worst(l.whole)
	switch {
	case ends != nil && !e.whole, ends != nil && len(d.taken) == 0:
		return delivery{}, e.abandon(ctx, ends, 0)
	case worst != nil && (l.whole || len(d.taken) == 0):
		return d, e.abandon(ctx, worst, 0)
	}
	crashpoint.Point("rcpt-after")
	if f := e.ask(ctx, stageData, "DATA", codeText); f != nil {
		if ends != nil { // it says why better than DATA does
			f = ends.also(f)
		}
		return delivery{}, e.ready(f)
	}
	return d, nil
}

// spent marks the failure of the first command of a kept connection that the
// server has closed meanwhile: it says nothing of the mail. A server that counts
// the mails of a connection says how many it takes, which is to be learnt.
func (e *offering) spent(f *failure) *failure {
	closed := f.answer.Code == 421 || f.answer.Status == statusClosed
	open := f.verdict.Reason == actions.Ambiguous // it may have been taken
	f.stale = e.reused && f.broken && closed && !open && f.verdict.Lesson != queue.SessionLimit
	return f
}

// also returns f, broken if other is.
func (f *failure) also(other *failure) *failure {
	f.broken = f.broken || other.broken
	return f
}

// name names the recipients. What is refused for a reason of its own is noted
// and the others go on. A refusal that is about the sender, the login or the
// pace ends the mail for all, unless the commands after it have gone out: then
// those that were taken get the mail, and the others wait. After too many,
// those that were taken get the mail and the rest another one (RFC 5321, section
// 4.5.3.1.10).
func (e *offering) name(ctx context.Context) (d delivery, ends *failure) {
	for i, r := range e.letter.to {
		f := e.ask(ctx, stageRcpt, "RCPT TO:<"+r.address+">", codeRcpt)
		if f == nil {
			d.taken = append(d.taken, r)
			continue
		}
		if f.broken {
			return delivery{}, f
		}
		reason := f.verdict.Reason
		switch {
		case f.verdict.Rule == ruleTooMany && len(d.taken) > 0 && !e.letter.whole:
			if d.rest = append(d.rest, r); !e.whole {
				d.rest = slices.Clone(e.letter.to[i:])
				return d, nil
			}
		case reason == actions.Throttled, reason == actions.Credential:
			if ends == nil {
				ends = f
			}
			if !e.whole {
				return d, ends
			}
			d.later = append(d.later, refusal{r, f})
		case reason == actions.Transient, reason == actions.Greylisted:
			d.later = append(d.later, refusal{r, f})
		default:
			d.refused = append(d.refused, refusal{r, f})
		}
	}
	return d, ends
}

// abandon makes the connection ready for the next mail after a refusal. left is
// how many recipients have no reply yet. When the commands have gone out, a
// server that refused everybody may still ask for a text: it gets an empty one
// (RFC 2920, section 3.1). If it took somebody after it refused the sender, that
// one would get an empty mail, so the line is cut instead.
func (e *offering) abandon(ctx context.Context, f *failure, left int) *failure {
	if f.broken || !e.sent {
		return e.ready(f)
	}
	somebody := false
	for range left {
		r := e.hear(ctx, stageRcpt, codeRcpt)
		if r != nil && r.broken {
			return f.also(r)
		}
		somebody = somebody || r == nil
	}
	r := e.hear(ctx, stageData, codeText)
	switch {
	case r != nil:
		return e.ready(f.also(r))
	case somebody:
		_ = e.raw.Close()
		f.broken = true
		return f
	}
	if r := e.send(ctx, stageData, "."); r != nil {
		return f.also(r)
	}
	if r := e.hear(ctx, stageData, codeOK); r != nil {
		return e.ready(f.also(r))
	}
	return e.ready(f)
}

// path is the sender for MAIL, with the size of the mail where the server takes
// it: a server without room then says so before the text (RFC 1870, section 4).
func (c *conn) path(from string, size int) string {
	if !c.sizes {
		return "<" + from + ">"
	}
	return fmt.Sprintf("<%s> SIZE=%d", from, size)
}
