package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is one line of "go test -json"; see "go doc test2json".
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events, instead of Package
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string
}

// key names a test, or with an empty test a whole package.
type key struct{ pkg, test string }

// report gathers events.
type report struct {
	out     io.Writer
	text    map[key]*strings.Builder // output of what has not ended yet
	build   map[string]*strings.Builder
	parents map[key]bool   // tests with subtests
	ended   map[key]string // pass, fail or skip
	skips   map[string][]string
	broken  int // packages that failed without a failed test
}

func newReport(out io.Writer) *report {
	return &report{
		out: out, text: map[key]*strings.Builder{}, build: map[string]*strings.Builder{},
		parents: map[key]bool{}, ended: map[key]string{}, skips: map[string][]string{},
	}
}

// add takes one event.
func (r *report) add(e event) {
	switch e.Action {
	case "build-output":
		write(r.build, e.ImportPath, e.Output)
	case "output":
		write(r.text, key{e.Package, e.Test}, e.Output)
	case "run":
		r.started(e)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageEnded(e)
		} else {
			r.testEnded(e)
		}
	}
}

// write adds text to the builder of a name.
func write[K comparable](to map[K]*strings.Builder, name K, text string) {
	if to[name] == nil {
		to[name] = &strings.Builder{}
	}
	to[name].WriteString(text)
}

// started notes which tests have subtests.
func (r *report) started(e event) {
	if i := strings.LastIndexByte(e.Test, '/'); i >= 0 && !strings.HasPrefix(e.Test, "Fuzz") {
		r.parents[key{e.Package, e.Test[:i]}] = true
	}
}

// testEnded prints a failed test at once and keeps the reason of a skipped one.
func (r *report) testEnded(e event) {
	k := key{e.Package, e.Test}
	r.ended[k] = e.Action
	text := ""
	if b := r.text[k]; b != nil {
		text = b.String()
	}
	delete(r.text, k)
	switch e.Action {
	case "fail":
		fmt.Fprintf(r.out, "--- FAIL %s %s\n%s", short(e.Package), e.Test, text)
	case "skip":
		why := reason(text)
		r.skips[why] = append(r.skips[why], short(e.Package)+" "+e.Test)
	}
}

// packageEnded prints the line of a package, and all of its output if it
// failed for another reason than a test: no build, a panic, the time limit.
func (r *report) packageEnded(e event) {
	switch {
	case e.FailedBuild != "":
		r.broken++
		text := ""
		if b := r.build[e.FailedBuild]; b != nil {
			text = b.String()
		}
		fmt.Fprintf(r.out, "FAIL %s does not build\n%s", short(e.Package), text)
		return
	case e.Action == "fail" && !r.anyFailed(e.Package):
		r.broken++
		fmt.Fprint(r.out, r.rest(e.Package))
	case e.Action == "skip":
		return // no test files
	}
	word := map[string]string{"pass": "ok  ", "fail": "FAIL"}[e.Action]
	fmt.Fprintf(r.out, "%s %-40s %6.1fs\n", word, short(e.Package), e.Elapsed)
}

// rest is the output of a package and of its tests that never ended.
func (r *report) rest(pkg string) string {
	var all strings.Builder
	for k, b := range r.text {
		if k.pkg == pkg {
			all.WriteString(b.String())
		}
	}
	return all.String()
}

// anyFailed says whether a test of the package has failed.
func (r *report) anyFailed(pkg string) bool {
	for k, how := range r.ended {
		if k.pkg == pkg && how == "fail" {
			return true
		}
	}
	return false
}

// finish prints the skips by reason and the counts, and says whether anything
// failed or nothing ran.
func (r *report) finish() bool {
	n := map[string]int{"fail": r.broken}
	for k, how := range r.ended {
		seed := strings.HasPrefix(k.test, "Fuzz") && strings.Contains(k.test, "/")
		// A parent can fail on its own, after all its subtests have passed.
		if !seed && (!r.parents[k] || how == "fail" && !r.childFailed(k)) {
			n[how]++
		}
	}
	for _, why := range slices.Sorted(maps.Keys(r.skips)) {
		fmt.Fprintf(r.out, "skip %s: %s\n", strings.Join(r.skips[why], ", "), why)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"])
	return n["fail"] > 0 || n["pass"] == 0
}

// childFailed says whether a subtest of the test has failed.
func (r *report) childFailed(parent key) bool {
	for k, how := range r.ended {
		if how == "fail" && k.pkg == parent.pkg && strings.HasPrefix(k.test, parent.test+"/") {
			return true
		}
	}
	return false
}

// sourceLine is the place that go test puts before each message of a test.
var sourceLine = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// reason is what a skipped test said last, without frames and places.
func reason(text string) string {
	why := "no reason given"
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		why = strings.TrimPrefix(sourceLine.ReplaceAllString(line, ""), "skipped: ")
	}
	return why
}

// short is the package's path within the module.
func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/sealpost/sealpost/")
}
