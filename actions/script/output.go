package script

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/sealpost/sealpost/access/child"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Limits of the output of a script. Numbers: ours; a console keeps 100 lines.
const (
	maxOutput   = 64 << 10 // bytes that go to the console; the rest is counted
	maxLines    = 1000     // lines that go to the console
	maxLine     = 4 << 10  // bytes; a longer line goes on as the next one, as a console would cut it
	consoleWait = 2 * time.Second
)

// output takes what a script prints: masked, line by line, to the console of
// its analysis. It remembers the last line of each stream.
type output struct {
	hidden  []redact.String
	streams [2]*stream

	mu      sync.Mutex
	room    int   // bytes that may still go to the console
	count   int   // lines that went there
	dropped int64 // bytes that did not
	lines   chan consoleLine

	written chan struct{} // closed when all lines are in the console
	stop    context.CancelFunc
}

type consoleLine struct {
	at   time.Time
	text string
}

// newOutput returns the output of an analysis. The context's end does not keep
// its last lines from the console.
func newOutput(ctx context.Context, a *Action, id string, hidden []redact.String) *output {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	o := &output{hidden: hidden, room: maxOutput, lines: make(chan consoleLine, maxLines+1), written: make(chan struct{}), stop: stop}
	forms := child.NewSpellings(hidden)
	for i := range o.streams {
		s := &stream{output: o}
		s.masker = child.NewMasker(lineWriter{s}, forms)
		o.streams[i] = s
	}
	go o.write(writing, a, id)
	return o
}

// write puts lines into the console until there are no more. A console that
// takes none is no failure of the script.
func (o *output) write(ctx context.Context, a *Action, id string) {
	defer close(o.written)
	said := false
	for line := range o.lines {
		if ctx.Err() != nil {
			continue
		}
		err := a.config.Console.WriteConsole(ctx, id, line.at, line.text)
		if err != nil && !said {
			said = true
			a.config.Logger.WarnContext(ctx, "a script's output is not in its console", slog.String("analysis", id), slog.Any("err", err))
		}
	}
}

// close ends the output and returns its last line, scrubbed: of stderr when the
// script failed, else of stdout, and of the other one if that is blank. The two
// come by two pipes, as what a value is cut into must not be mixed with other
// text, so nobody knows which line came last of all. Nothing is written to it
// any more.
func (o *output) close(wait time.Duration, failed bool) string {
	for _, s := range o.streams {
		_ = s.masker.Close() // lineWriter takes everything
		s.flush()
	}
	o.mu.Lock()
	if o.dropped > 0 {
		o.put(fmt.Sprintf("... and %d bytes more, which are not kept", o.dropped))
	}
	first, second := o.streams[0], o.streams[1]
	if failed {
		first, second = second, first
	}
	last := cmp.Or(first.last, second.last)
	o.mu.Unlock()
	close(o.lines)
	timer := time.AfterFunc(wait, o.stop)
	<-o.written
	timer.Stop()
	o.stop()
	return redact.Scrub(last, o.hidden...)
}

// add takes a line without its end.
func (s *stream) add(raw []byte) {
	text := printable(raw)
	o := s.output
	o.mu.Lock()
	defer o.mu.Unlock()
	if strings.TrimSpace(text) != "" {
		s.last = text
	}
	if size := len(raw) + 1; size <= o.room && o.count < maxLines {
		o.room -= size
		o.count++
		o.put(text)
	} else {
		o.room = 0 // no holes: what comes after is not kept either
		o.dropped += int64(size)
	}
}

// put never blocks: lines has room for maxLines and the last one.
func (o *output) put(text string) { o.lines <- consoleLine{time.Now(), text} }

// printable makes bytes of any kind one line of text.
func printable(raw []byte) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(raw), "\uFFFD"))
}

// stream is stdout or stderr. What is written goes through the masker first:
// a value may be cut by lines, and must be found before it is.
type stream struct {
	output *output
	masker *child.Masker
	held   []byte // a line without its end
	last   string // line that is not blank; guarded by output.mu
}

// Write masks.
func (s *stream) Write(p []byte) (int, error) { return s.masker.Write(p) }

var _ io.Writer = (*stream)(nil)

// lineWriter cuts what the masker lets through into lines.
type lineWriter struct{ s *stream }

// Write always takes all of p.
func (w lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			i = len(rest)
		}
		n := min(i, maxLine-len(w.s.held))
		w.s.held = append(w.s.held, rest[:n]...)
		rest = rest[n:]
		switch {
		case len(rest) > 0 && rest[0] == '\n':
			w.s.add(bytes.TrimSuffix(w.s.held, []byte("\r")))
			w.s.held, rest = w.s.held[:0], rest[1:]
		case len(w.s.held) == maxLine:
			w.s.flush()
		}
	}
	return len(p), nil
}

// flush adds the line that has no end.
func (s *stream) flush() {
	if len(s.held) > 0 {
		s.add(s.held)
		s.held = s.held[:0]
	}
}
