// Count reads the events of "go test -json" and prints what a person wants to
// know: the packages, the tests that were skipped and why, the full output of
// those that failed, and in the last line
//
//	812 passed, 0 failed, 3 skipped
//
// A test with subtests counts as its subtests; the seeds of a fuzz target
// count as one. A package that does not build counts as one failure. The exit
// code is 1 if anything failed or nothing ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// maxLine is the longest event: one line of output of a test, in JSON.
const maxLine = 16 << 20 // bytes

func main() {
	failed, err := run(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// run reads events until the end and writes the report; failed is also true
// when no test ran.
func run(in io.Reader, out io.Writer) (failed bool, err error) {
	r := newReport(out)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			fmt.Fprintln(out, lines.Text()) // not of go test: a message of make or the compiler
			continue
		}
		r.add(e)
	}
	if err := lines.Err(); err != nil {
		return true, fmt.Errorf("read the events: %w", err)
	}
	return r.finish(), nil
}
