package queue

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/redis/go-redis/v9"
)

// replyKept is how large a buffer a reader keeps for the next reply: some 2,000
// usual jobs. Its size is that of one read otherwise.
const replyKept = 1 << 20 // bytes

var (
	// errReplyForm means that jobs may have been read whose entries are not known:
	// they come back when their lease has run out.
	errReplyForm = errors.New("queue: XREADGROUP answered in another form")
	// errRefused is an error that Redis answered.
	errRefused = errors.New("queue: Redis refused the read")
)

// readMany asks for up to n entries and does not wait for them. It takes the
// reply apart itself: go-redis makes a map of each entry, which was a third of
// what a read cost (integration/bench -only drain).
//
// A read that waits is left to go-redis, which alone can wait for its answer longer
// than for others. So are errors: it follows MOVED and ASK of a cluster. Nothing
// was read by a command that was refused, so it may be asked again.
func (p *partition) readMany(ctx context.Context, n int) ([]entry, error) {
	p.reply.buf = p.reply.buf[:0]
	cmd := redis.NewRawWriteToCmd(ctx, &p.reply, "xreadgroup", "group", group, p.pool.consumer, "count", n, "streams", p.keys.jobs(), ">")
	cmd.SetFirstKeyPos(readKeyPos)
	if err := p.pool.rdb.Process(ctx, cmd); err != nil {
		return nil, err
	}
	entries, err := entriesOf(p.reply.buf)
	if len(entries) < startAlone || cap(p.reply.buf) > replyKept {
		p.reply.buf = nil
	}
	if err == errRefused {
		return p.readSome(ctx, n, -1)
	}
	return entries, err
}

// readKeyPos is the place of the stream among the words of that command.
const readKeyPos = 7

// reply is a reply of Redis as it came.
type reply struct{ buf []byte }

// Write takes a line, or its end.
func (r *reply) Write(b []byte) (int, error) {
	r.buf = append(r.buf, b...)
	return len(b), nil
}

// ReadFrom takes a text, without the buffer that io.Copy would make for each.
func (r *reply) ReadFrom(from io.Reader) (int64, error) {
	limit, ok := from.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{r}, from)
	}
	had, n := len(r.buf), int(limit.N)
	r.buf = append(r.buf, make([]byte, n)...)
	got, err := io.ReadFull(from, r.buf[had:])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil // io.CopyN says so
	}
	r.buf = r.buf[:had+got]
	return int64(got), err
}

// entriesOf are the entries of a reply to XREADGROUP for one stream, in either
// protocol. They are copies: a job that takes long would else keep the whole reply.
func entriesOf(raw []byte) ([]entry, error) {
	s := replyScan{rest: raw}
	kind, n := s.head()
	switch {
	case kind == '-' || kind == '!':
		return nil, errRefused
	case s.bad || n < 0: // Redis has none
		return nil, s.end()
	case kind == '*' && n == 1: // RESP2: a list of streams, each a name and entries
		s.list(2)
	case kind != '%' || n != 1: // RESP3: by the names of the streams
		return nil, errReplyForm
	}
	s.text()
	kind, n = s.head()
	const shortest = len("*2\r\n") // of an entry
	if kind != '*' || n < 0 || n > len(s.rest)/shortest {
		return nil, errReplyForm
	}
	entries := make([]entry, 0, n)
	for ; n > 0 && !s.bad; n-- {
		entries = append(entries, s.entry())
	}
	return entries, s.end()
}

// replyScan reads a reply from its front. What it returns after a mistake means
// nothing.
type replyScan struct {
	rest []byte
	bad  bool
}

// end says whether the whole reply was understood.
func (s *replyScan) end() error {
	if s.bad || len(s.rest) > 0 {
		return errReplyForm
	}
	return nil
}

// head reads a line: a kind and a number of bytes, elements or pairs, which is -1
// for what is not there. The line of an error has no number.
func (s *replyScan) head() (kind byte, n int) {
	line, rest, found := bytes.Cut(s.rest, []byte("\r\n"))
	if !found || len(line) == 0 {
		s.bad = true
		return 0, 0
	}
	s.rest = rest
	kind, line = line[0], line[1:]
	switch {
	case kind == '-' || kind == '!':
		return kind, 0
	case kind == '_' && len(line) == 0, string(line) == "-1":
		return kind, -1
	}
	const digits = 9 // no reply has more bytes
	s.bad = s.bad || len(line) == 0 || len(line) > digits
	for _, c := range line {
		if c < '0' || c > '9' {
			s.bad = true
		}
		n = n*10 + int(c-'0')
	}
	if s.bad {
		return 0, 0
	}
	return kind, n
}

// list reads the head of a list of n elements.
func (s *replyScan) list(n int) {
	if kind, has := s.head(); kind != '*' || has != n {
		s.bad = true
	}
}

// text reads a text. It is a part of the reply.
func (s *replyScan) text() []byte {
	kind, n := s.head()
	const end = len("\r\n")
	if s.bad || kind != '$' || n < 0 || n > len(s.rest)-end || string(s.rest[n:n+end]) != "\r\n" {
		s.bad = true
		return nil
	}
	text := s.rest[:n]
	s.rest = s.rest[n+end:]
	return text
}

// entry reads an entry: its id and its fields. One that was deleted has none.
func (s *replyScan) entry() entry {
	s.list(2)
	e := entry{id: string(s.text())}
	kind, n := s.head()
	switch kind {
	case '*':
		s.bad = s.bad || n%2 != 0 && n > 0
		n /= 2
	case '%', '_':
	default:
		s.bad = true
	}
	for ; n > 0 && !s.bad; n-- {
		switch name, value := s.text(), s.text(); string(name) {
		case "job":
			e.job = bytes.Clone(value)
		case "meta":
			e.meta = string(value)
		}
	}
	return e
}
