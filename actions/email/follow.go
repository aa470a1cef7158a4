package email

import (
	"context"
	"net"
	"slices"
	"time"
)

// A second flight goes out before the first is answered:
// who has begun to read its replies lets the next mail that waits write. That
// one's own goroutine asks for its claim, writes, and waits for its turn to
// read, so no reply is read by another than the one whose it is. There are two
// mails on a line at most.

// berth is the place of a mail whose flight goes out behind another.
type berth struct {
	turn  chan bool // says whether the line is good, when the mail before has read its replies
	wrote bool      // it has begun to write
	gone  bool      // it left after that; under the account's mu
}

// follow lets the next mail write, if one waits that can go out now, and reports
// whether it did.
func (a *account) follow(c *conn) bool {
	if !c.flown { // it may not know BDAT
		return false
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.boards(c, now) || c.ending || !a.chunks(now) {
		return false
	}
	w := a.line[0]
	if w.letter == nil || !c.carries(w.letter) || !c.fit(w.letter) {
		return false
	}
	a.line = slices.Delete(a.line, 0, 1)
	c.behind = &berth{turn: make(chan bool, 1)}
	w.letter.berth = c.behind
	w.seat <- c
	return true
}

// takeTurn waits until the mail before has read its replies.
func (c *conn) takeTurn(ctx context.Context, l *letter) *failure {
	select {
	case good := <-l.berth.turn:
		l.berth = nil
		c.reused = true
		if !good {
			return c.fail(ctx, stageDot, net.ErrClosed)
		}
		return nil
	case <-ctx.Done():
		return c.fail(ctx, stageDot, ctx.Err())
	}
}

// passOn gives c to the mail behind the one that has ended, with its slot, and
// reports whether there was one. The caller holds mu.
func (a *account) passOn(c *conn, broken bool) bool {
	b := c.behind
	c.behind = nil
	if b.gone {
		return false
	}
	c.ending = c.ending || broken
	lost := broken && c.lost
	if lost {
		_ = c.raw.Close()
	}
	b.turn <- !lost
	return true
}

// finish gives the connection back after l, which may not have had its turn.
func (c *conn) finish(l *letter, failed *failure) {
	if l.berth == nil {
		c.release(failed)
		return
	}
	c.account.stepBack(c, l, failed != nil && failed.broken)
}

// stepBack ends the place of l behind another mail. If it wrote, the line is cut
// once that one has its replies.
func (a *account) stepBack(c *conn, l *letter, broken bool) {
	a.mu.Lock()
	b := l.berth
	l.berth = nil
	select {
	case good := <-b.turn:
		a.mu.Unlock()
		a.put(c, broken || b.wrote || !good)
		return
	default:
	}
	if b.wrote {
		b.gone = true
	} else {
		c.behind = nil
	}
	a.mu.Unlock()
}

// unfit takes note of a flight that broke its line: none goes out behind another for a
// while, and none at all where the server closed.
func (a *account) unfit(f *failure) {
	a.mu.Lock()
	a.solo = time.Now().Add(ridePause)
	a.mu.Unlock()
	if f.answer.Status == statusClosed {
		a.avoid(closedPause)
	}
}
