package email

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/textproto"

	"github.com/sealpost/sealpost/crashpoint"
)

// chunk is how much of a text is written at once. The last of it goes out with
// the dot, so a mail of usual size is one write.
const chunk = 16 << 10

// text sends the mail and its dot. An error up to the dot leaves the mail unsent for
// sure, because the line is cut before a dot can follow; from the dot on only a
// reply tells.
func (c *conn) text(ctx context.Context, begin func(context.Context) error, raw []byte) (string, *failure) {
	crashpoint.Point("data-after")
	if err := begin(ctx); err != nil {
		return "", c.cut(ctx, stageData, fmt.Errorf("%w: %w", errClaim, err))
	}
	if err := c.body(raw); err != nil {
		return "", c.cut(ctx, stageData, err)
	}
	crashpoint.Point("dot-before")
	c.out = append(c.out, ".\r\n"...)
	if c.account != nil {
		c.account.board(c)
	}
	if err := c.flush(); err != nil {
		return "", c.cut(ctx, stageDot, err)
	}
	c.raw.grant(replyBudget)
	_, msg, err := c.sc.Text.ReadResponse(codeOK)
	if err != nil && !taken(err) {
		f := c.fail(ctx, stageDot, err)
		if f.broken {
			_ = c.raw.Close()
		}
		return "", f
	}
	crashpoint.Point("dot-after")
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		msg = reply.Msg
	}
	_, words := splitStatus(msg)
	return c.clean(words), nil
}

// body writes a text, all but the last chunk of it to the server. Between its
// halves the server can have a part of it, and no dot yet.
func (c *conn) body(raw []byte) error {
	half := len(raw) / 2
	var s stuffer
	for from := 0; from < len(raw); {
		to := min(from+chunk, len(raw))
		if from < half && to > half {
			to = half
		}
		c.out = s.add(c.out, raw[from:to])
		if from = to; from == half {
			crashpoint.Point("text-between")
		}
		if from < len(raw) && len(c.out) >= chunk {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	c.out = s.end(c.out)
	return nil
}

// stuffer writes a text as SMTP wants it: CRLF at the end of each line, and one
// more dot before each that begins with one (RFC 5321, section 4.5.2). A line end
// that is none to the next server, but one to the server after it, would
// let a text end early there; so there are no others but CRLF.
type stuffer struct {
	inLine bool // the last byte was not the end of a line
	cr     bool // the last byte was a CR that has not been written
}

// add appends a piece of the text.
func (s *stuffer) add(out, piece []byte) []byte {
	for len(piece) > 0 {
		if s.cr {
			s.cr = false
			if piece[0] != '\n' { // a CR alone is a line end too
				out = append(out, '\r', '\n')
				s.inLine = false
			}
		}
		if !s.inLine && piece[0] == '.' {
			out = append(out, '.')
		}
		n := lineEnd(piece)
		if n < 0 {
			s.inLine = true
			return append(out, piece...)
		}
		out = append(out, piece[:n]...)
		if piece[n] == '\r' {
			s.cr, s.inLine = true, true
		} else {
			out = append(out, '\r', '\n')
			s.inLine = false
		}
		piece = piece[n+1:]
	}
	return out
}

// lineEnd returns the place of the first CR or LF, -1 if there is none. Two searches by
// vector take a third of the time of bytes.IndexAny.
func lineEnd(text []byte) int {
	n := bytes.IndexByte(text, '\n')
	line := text
	if n >= 0 {
		line = text[:n] // no further: a text without any CR is gone through once
	}
	if cr := bytes.IndexByte(line, '\r'); cr >= 0 {
		return cr
	}
	return n
}

// uniform reports whether all lines of a text end with CRLF, the last one too.
func uniform(text []byte) bool {
	for len(text) > 0 {
		n := lineEnd(text)
		if n < 0 || !bytes.HasPrefix(text[n:], []byte("\r\n")) {
			return false
		}
		text = text[n+2:]
	}
	return true
}

// end ends the last line.
func (s *stuffer) end(out []byte) []byte {
	if s.inLine {
		out = append(out, '\r', '\n')
	}
	*s = stuffer{}
	return out
}

// taken reports whether the reply to a text is a yes other than 250, which
// textproto takes for an error (RFC 5321, section 4.3.2: the first digit
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
