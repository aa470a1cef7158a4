package email

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/crashpoint"
)

// To a server far away that offers CHUNKING (RFC 3030) and PIPELINING a whole mail is
// one flight: MAIL, RCPT, BDAT and the text, whose length is said before it, so that
// nothing is waited for. The claim is asked for before the first byte. From the
// last byte on only the replies tell: a mail whose line breaks then may have been
// taken. So what needs to know better goes by DATA, and all does on a short way, where a
// flight costs as much as a ride.
const (
	// farTrip is the time of a reply from which on the way counts as long: a ride by ten
	// connections then makes 2,000 mails/s at most. Servers in one place answer
	// within 1 ms.
	farTrip = 5 * time.Millisecond

	// flightMax is the largest text that goes out before its recipients are known to
	// be taken.
	flightMax = 64 << 10 // bytes

	// restMax is how long a connection may have rested. The server may have closed
	// an older one, which an envelope with DATA finds out at no risk.
	restMax = time.Second

	// plainPause is how long mails go by DATA after a server broke the rules of
	// BDAT, closedPause after it closed a line with a flight on it, as those do
	// that end after each mail.
	plainPause  = 24 * time.Hour
	closedPause = 10 * time.Minute
)

// flies reports whether l goes out as one flight. The first mail of a connection goes
// by DATA: it takes the time, and some servers end after one.
func (c *conn) flies(l *letter, now time.Time) bool {
	return c.sent > 0 && c.account != nil && c.account.chunks(now) && c.fit(l) && now.Sub(c.used) <= restMax
}

// fit reports whether l can be a flight at all. A job that must be parked when it is
// not known whether it was sent is better off with DATA, where that hardly
// ever happens.
func (c *conn) fit(l *letter) bool {
	return c.chunking && c.grouped(l) && !l.sure && len(l.raw) <= flightMax
}

// chunks reports whether mails of the account may go by BDAT.
func (a *account) chunks(now time.Time) bool {
	trip := a.trip.Load()
	return trip > 0 && trip >= int64(a.far) && now.UnixNano() >= a.plain.Load()
}

// timed takes note of how long a reply took that needed no work. The shortest counts:
// others wait for our own processor too.
func (a *account) timed(trip time.Duration) {
	for old := a.trip.Load(); (old == 0 || int64(trip) < old) && !a.trip.CompareAndSwap(old, int64(trip)); old = a.trip.Load() {
	}
}

// avoid makes the mails of the account go by DATA for d.
func (a *account) avoid(d time.Duration) {
	until := time.Now().Add(d).UnixNano()
	for old := a.plain.Load(); old < until && !a.plain.CompareAndSwap(old, until); old = a.plain.Load() {
	}
}

// flight hands a mail over in one piece. It says what transact says.
func (c *conn) flight(ctx context.Context, begin func(context.Context) error, l *letter) (delivery, *failure) {
	b := l.berth
	if b == nil {
		stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
		defer stop()
	}
	if f := c.fits(ctx, l); f != nil {
		return delivery{}, f
	}
	crashpoint.Point("mail-before")
	if err := begin(ctx); err != nil {
		return delivery{}, c.fail(ctx, stageMail, fmt.Errorf("%w: %w", errClaim, err))
	}
	reset := b != nil || c.dirty
	if f := c.launch(ctx, l, reset); f != nil {
		return delivery{}, f
	}
	if b != nil {
		if f := c.takeTurn(ctx, l); f != nil {
			return delivery{}, f
		}
		stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() })
		defer stop()
	}
	c.dirty = false
	followed := c.account.follow(c)
	d, f := c.verdict(ctx, l, reset)
	if !followed && (f == nil || !f.broken) {
		if more := c.surplus(ctx); more != nil {
			d, f = delivery{}, more
		}
	}
	if f != nil && f.broken {
		code := f.answer.Code
		c.lost = c.lost || code < 400 || code > 599
		c.account.unfit(f)
	}
	crashpoint.Point("dot-after")
	return d, f
}

// launch writes the flight of l. On an error the last of it has not left, so that
// nobody has the mail.
func (c *conn) launch(ctx context.Context, l *letter, reset bool) *failure {
	if reset { // whatever the mail before came to, its envelope is gone
		c.out = append(c.out, "RSET\r\n"...)
	}
	err := c.write(c.envelope(l)...)
	if err != nil {
		c.out = nil
		return c.fail(ctx, stageMail, err)
	}
	raw := wholeLines(l.raw)
	c.out = append(c.out, "BDAT "...)
	c.out = strconv.AppendInt(c.out, int64(len(raw)), 10)
	c.out = append(append(c.out, " LAST\r\n"...), raw...)
	crashpoint.Point("dot-before")
	stop := func() bool { return true }
	if b := l.berth; b != nil { // the line is another's: only our writing may end
		b.wrote = true
		stop = context.AfterFunc(ctx, func() { _ = c.raw.SetWriteDeadline(time.Unix(1, 0)) })
	}
	err = c.flush()
	stop()
	if err == nil {
		return nil
	}
	f := c.fail(ctx, stageMail, err)
	f.broken = true
	f.stale = f.answer.Status == statusClosed && (l.berth != nil || c.reused)
	return f
}

// wholeLines returns a text whose line ends are all CRLF, the last one too. A line end that is
// none to this server may be one to the next.
func wholeLines(raw []byte) []byte {
	if len(raw) > 0 && uniform(raw) {
		return raw
	}
	out := make([]byte, 0, len(raw)+64)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
		case c == '\r' || c == '\n':
			out = append(out, '\r', '\n')
		default:
			out = append(out, c)
		}
	}
	if !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, '\r', '\n')
	}
	return out
}

// answered reads one reply of a flight. What is no refusal, and no reply at all, leaves open
// what became of the mail.
func (c *conn) answered(ctx context.Context, stage string, want int) (string, *failure) {
	c.raw.grant(replyBudget)
	_, msg, err := c.sc.Text.ReadResponse(want)
	if err == nil {
		return msg, nil
	}
	reply, ok := errors.AsType[*textproto.Error](err)
	if ok && reply.Code/100 == 2 {
		return reply.Msg, nil
	}
	if !ok || reply.Code < 400 || reply.Code > 599 {
		stage = stageDot
	}
	return "", c.fail(ctx, stage, err)
}

// unsure makes f the failure of a mail that may have been taken, on a line that is of
// no more use.
func (c *conn) unsure(ctx context.Context, f *failure) *failure {
	if f.verdict.Reason == actions.Ambiguous {
		return f
	}
	u := c.fail(ctx, stageDot, net.ErrClosed)
	u.text, c.lost = f.text, true
	return u
}

// verdict reads the replies to a flight, each of which is there whatever the others say.
func (c *conn) verdict(ctx context.Context, l *letter, reset bool) (delivery, *failure) {
	e := &offering{conn: c, letter: l, whole: true, sent: true, flown: true}
	if reset {
		if _, f := c.answered(ctx, stageMail, codeOK); f != nil && f.broken {
			return delivery{}, e.spent(f)
		}
	}
	_, sender := c.answered(ctx, stageMail, codeOK)
	if sender != nil && sender.broken {
		return delivery{}, e.spent(sender)
	}
	d, ends := e.name(ctx)
	switch broken := ends != nil && ends.broken; {
	case broken && sender != nil:
		return delivery{}, sender.also(ends)
	case broken && len(l.to) > 1:
		return delivery{}, c.unsure(ctx, ends)
	case broken:
		return delivery{}, ends
	}
	text, f := c.answered(ctx, stageDot, codeOK)
	if sender == nil && len(d.taken) > 0 {
		return c.taken(ctx, d, text, f)
	}
	if f == nil && len(d.taken) > 0 { // it took a mail from nobody
		return delivery{}, c.unsure(ctx, sender)
	}
	c.dirty = true
	why := sender
	switch {
	case why != nil:
		d = delivery{}
	case ends != nil:
		d, why = delivery{}, ends
	default:
		why = d.worst(l.whole)
	}
	if f == nil || f.broken { // a yes to nobody's mail: it does not follow
		why.broken, c.lost = true, true
	}
	return d, why
}

// taken says what a mail came to whose recipients were taken, some at least.
func (c *conn) taken(ctx context.Context, d delivery, text string, f *failure) (delivery, *failure) {
	if f == nil {
		status, words := splitStatus(text)
		if strings.HasPrefix(status, "2.1.") { // that is a reply to MAIL or RCPT: there was one too many
			c.account.avoid(plainPause)
			f = &failure{text: "the server's replies do not follow its commands"}
			return delivery{}, c.unsure(ctx, f)
		}
		c.sent++
		c.flown = true
		d.text = c.clean(words)
		return d, nil
	}
	c.dirty = true
	if code := f.answer.Code; !c.flown && code >= 500 && code <= 504 {
		// It offers what it does not know. The lines of the text may have been
		// commands to it, so this line is of no more use.
		c.account.avoid(plainPause)
		f.stale, f.broken, c.lost = true, true, true
	}
	return delivery{}, f
}

// surplus looks for replies that nobody asked for. Which was ours is not known then.
// Only what has arrived with the last reply is seen.
func (c *conn) surplus(ctx context.Context) *failure {
	if c.sc.Text.R.Buffered() == 0 {
		_ = c.raw.SetReadDeadline(time.Unix(1, 0))
		_, err := c.sc.Text.R.Peek(1)
		_ = c.raw.SetReadDeadline(time.Time{})
		if err != nil {
			if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
				c.ending = true // it has closed
			}
			return nil
		}
	}
	if next, _ := c.sc.Text.R.Peek(3); string(next) == "421" {
		c.ending = true // it says goodbye
		return nil
	}
	c.account.avoid(plainPause)
	return c.unsure(ctx, &failure{text: "the server gave more replies than there were commands"})
}
