package email

import (
	"slices"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// A mail that waits for a connection can ride: who is about to send the last of a
// text writes the envelope of the next mail behind the dot, MAIL, RCPT and DATA,
// so that a mail costs one round trip and one write. DATA is the last command
// of a group again, as RFC 2920, section 3.1, wants it. Each reads the replies to
// what is its own: the reply to the dot is over when the connection is handed
// on. Of the mail that rides no text has left until its own goroutine sends it,
// so whatever goes wrong before is taken back by cutting the line.
const (
	// rideMax is the size of texts up to which mails ride: their letters are built
	// while they wait, all at once. Of a large mail the text takes the time.
	rideMax = 64 << 10 // bytes

	// ridePause is how long no mail rides after one that came to nothing. Some
	// servers close a connection after each mail.
	ridePause = 10 * time.Second
)

// rides reports whether mails of this account may ride. Those with a pace of
// their own go one by one.
func (a *account) rides() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pace == nil && time.Now().After(a.solo)
}

// board writes the envelope of the next mail behind what c is about to send, if
// one waits that can ride. Who has waited longest goes first, by this connection
// or the next slot.
func (a *account) board(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if !a.boards(c, now) {
		return
	}
	w := a.line[0]
	if w.letter == nil || !c.carries(w.letter) || a.chunks(now) && c.fit(w.letter) {
		return
	}
	before := len(c.out)
	if err := c.write(c.lines(w.letter)...); err != nil {
		c.out = c.out[:before] // its own goroutine will say what is wrong
		return
	}
	a.line = slices.Delete(a.line, 0, 1)
	w.aboard = true
	c.rider = w
}

// boards reports whether another mail may come behind the one that c is busy with. The
// caller holds mu.
func (a *account) boards(c *conn, now time.Time) bool {
	return len(a.line) > 0 && !a.retired && c.sent+1 < a.mails() && now.Sub(c.born) < ageMax && !now.Before(a.solo)
}

// carries reports whether the envelope of l can go out on c unasked.
func (c *conn) carries(l *letter) bool {
	return c.grouped(l) && (c.limit == 0 || int64(wireSize(l.raw)) <= c.limit) && (c.utf8 || !l.utf8)
}

// handOn gives c to the mail that rides on it, with its slot, and reports whether
// it did. If the line is broken the mail is the first to get a slot, and goes
// by another one. The caller holds mu.
func (a *account) handOn(c *conn, broken bool) bool {
	w := c.rider
	c.rider, w.aboard = nil, false
	switch {
	case w.gone:
		return false
	case broken:
		w.letter = nil
		a.line = slices.Insert(a.line, 0, w)
		a.solo = time.Now().Add(ridePause)
		return false
	}
	c.reused = true
	c.ahead = w.letter
	w.seat <- c
	return true
}

// ridden judges the failure of an envelope that had gone out behind the mail
// before. Where the server has not refused it in so many words, it goes out
// anew by a connection of its own, and has used no attempt.
func (e *offering) ridden(f *failure) *failure {
	if f == nil || !f.broken {
		return f
	}
	e.account.mu.Lock()
	e.account.solo = time.Now().Add(ridePause)
	e.account.mu.Unlock()
	ended := f.answer.Status == statusTimeout || f.answer.Status == statusCancelled
	lesson := f.verdict.Lesson == queue.SessionLimit // such a line says how many mails it takes
	if code := f.answer.Code; !ended && !lesson && (code < 400 || code > 599) {
		f.stale = true
	}
	return f
}
