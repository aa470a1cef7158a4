package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
)

// asJSON reports whether -o json was given.
func (a *app) asJSON() bool { return a.format == "json" }

// printJSON writes v with an indent of two, as a script or a person reads it.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printTable writes rows below their titles, in columns.
func (a *app) printTable(titles []string, rows [][]string) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(titles, "\t"))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	head, rest, _ := strings.Cut(b.String(), "\n")
	if a.colour() {
		head = "\x1b[1m" + head + "\x1b[0m"
	}
	_, err := fmt.Fprint(a.stdout, trimLines(head+"\n"+rest))
	return err
}

// printPairs writes one thing as name and value, line by line.
func (a *app) printPairs(pairs ...[2]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	for _, pair := range pairs {
		if pair[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", pair[0], clean(pair[1]))
		}
	}
	return w.Flush()
}

// clean makes text of others harmless on a terminal: what is not printable
// becomes a question mark. An empty cell is a dash, so that columns can be cut.
func clean(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// trimLines takes the padding off the ends of lines.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// colour reports whether stdout is a terminal whose user wants colour
// (no-color.org).
func (a *app) colour() bool { return isTerminal(a.stdout) && a.getenv("NO_COLOR") == "" }

// isTerminal reports whether stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress tells on stderr how far long work is: a bar with the time left on a
// terminal, a line each ten seconds otherwise, nothing for short work.
type progress struct {
	out      io.Writer
	terminal bool
	verb     string
	total    int64 // 0: not known
	start    time.Time
	last     time.Time
}

// Pauses between what progress shows: a person follows four changes a second,
// and a log one line in ten seconds.
const (
	barPause  = 250 * time.Millisecond
	linePause = 10 * time.Second
)

func (a *app) progress(verb string, total int64) *progress {
	now := time.Now()
	return &progress{out: a.stderr, terminal: isTerminal(a.stderr), verb: verb, total: total, start: now, last: now}
}

// at shows that done of the total is reached; things is what was counted.
func (p *progress) at(done int64, things string) {
	now := time.Now()
	pause := linePause
	if p.terminal {
		pause = barPause
	}
	if now.Sub(p.last) < pause {
		return
	}
	p.last = now
	if !p.terminal {
		fmt.Fprintf(p.out, "%s: %s%s\n", p.verb, things, p.left(done, now))
		return
	}
	bar := ""
	if p.total > 0 {
		const width = 30
		full := int(min(done, p.total) * width / p.total)
		bar = " [" + strings.Repeat("#", full) + strings.Repeat(" ", width-full) + "]"
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s%s %s%s", p.verb, bar, things, p.left(done, now))
}

// left is the percentage and the time that the rest will take at this pace.
func (p *progress) left(done int64, now time.Time) string {
	if p.total <= 0 || done <= 0 {
		return ""
	}
	rest := time.Duration(float64(now.Sub(p.start)) * float64(p.total-done) / float64(done))
	return fmt.Sprintf(", %d %%, %s left", min(done, p.total)*100/p.total, max(rest, 0).Round(time.Second))
}

// end takes the bar off the screen.
func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// ago is the age of a time in a table.
func ago(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}
