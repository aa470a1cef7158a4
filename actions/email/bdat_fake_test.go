package email

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

// offers are what EHLO says of groups of commands and of BDAT.
func (l *line) offers() (lines string) {
	if l.pipelining {
		lines = "250-PIPELINING\r\n"
	}
	if l.chunking {
		lines += "250-CHUNKING\r\n"
	}
	return lines
}

// chunk reads a text by BDAT and answers at step "bdat".
func (l *line) chunk(command string) bool {
	fields := strings.Fields(command)
	if len(fields) != 3 || fields[2] != "LAST" {
		return l.answer("other", "501 what")
	}
	n, err := strconv.Atoi(fields[1])
	if err != nil {
		return l.answer("other", "501 what")
	}
	text := make([]byte, n)
	got, err := io.ReadFull(l.r, text)
	l.mu.Lock()
	l.inner.Write(text[:got])
	l.mu.Unlock()
	return err == nil && l.answer("bdat", "250 2.0.0 queued as 2")
}

// upTo reads what the server may read of c.
func (f *fake) upTo(c io.Reader) io.Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most == 0 || len(f.conns) > 1 {
		return c
	}
	return io.LimitReader(c, int64(f.most))
}

// distant starts a server that takes flights, and a sender with one connection, for
// which every way is long.
func distant(t testing.TB, do map[string]string) (*fake, *Action) {
	t.Helper()
	f, a := pipelined(t, do)
	f.set(func(f *fake) { f.chunking = true })
	a.pool.far = 1
	return f, a
}

// warm sends n mails, so that the next finds a connection on which they went out.
// The first of them goes by DATA.
func warm(t testing.TB, a *Action, n int) {
	t.Helper()
	for i := range n {
		if _, err := do(t, a, job(t, fmt.Sprint("warm", i), fields{"message": "warm"})); err != nil {
			t.Fatal(err)
		}
	}
}

// flightsHeard counts the texts that came whole, by their word and how.
func flightsHeard(heard string) map[string]int {
	count := map[string]int{}
	rest := heard
	for {
		_, after, found := strings.Cut(rest, "\r\nBDAT ")
		if !found {
			break
		}
		size, text, _ := strings.Cut(after, " LAST\r\n")
		rest = after
		n, err := strconv.Atoi(size)
		if err != nil || n > len(text) {
			continue
		}
		for _, word := range []string{"first", "second", "third"} {
			if strings.Contains(text[:n], "\r\n"+word+" text") {
				count[word]++
			}
		}
		rest = text[n-2:]
	}
	for word, n := range textsHeard(heard) {
		if word != "empty" {
			count[word+" by DATA"] += n
		}
	}
	return count
}

// attempt does a job once, with a claim of its own. ctx may end.
func attempt(ctx context.Context, t testing.TB, a *Action, id string, begin func(context.Context) error, more fields) ended {
	all := fields{"message": id + " text"}
	for k, v := range more {
		all[k] = v
	}
	j := job(t, id, all)
	w, err := a.Prepare(j)
	if err != nil {
		t.Error(err)
		return ended{}
	}
	reply, err := w.Do(ctx, queue.NewClaim(j, 1, begin))
	return ended{reply, err}
}

// tandem sends two mails by one connection, the flight of the second behind that of the
// first. The server gets to "bdat@3", the text of the first, no sooner than the second
// is about to write, if that step waits.
func tandem(t testing.TB, f *fake, a *Action, ctx1, ctx2 context.Context) (first, second ended) {
	t.Helper()
	warm(t, a, 2)
	var side sync.WaitGroup
	asked := false
	first = attempt(ctx1, t, a, "first", func(context.Context) error {
		if asked { // it goes out anew
			return nil
		}
		asked = true
		side.Go(func() {
			second = attempt(ctx2, t, a, "second", func(context.Context) error {
				select {
				case <-f.open:
				default:
					close(f.open)
				}
				return nil
			}, nil)
		})
		eventually(t, "the second mail waits", func() bool { return waiting(a) == 1 })
		return nil
	}, nil)
	side.Wait()
	return first, second
}
