package actions

import (
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// Answer is what came of an exchange, in the terms that all tables share.
type Answer struct {
	Stage  string // how far it came, as in [queue.Reply]
	Code   int    // SMTP or HTTP code, 0 when there was none
	Status string // a code in words: "5.7.8", "RequestThrottled", "net.refused"; "" when there was none
	Text   string // the words of the other side, not scrubbed: for matching only
}

// Rule is one row of a sender's table of replies. A zero field matches all.
type Rule struct {
	Name   string         // unique in its table; shown with the attempt and in metrics
	Stages []string       // one of these
	Min    int            // Code is from Min...
	Max    int            // ...to Max; 0 means Min
	Status string         // glob over Answer.Status as in package path, such as "4.7.*"
	Text   *regexp.Regexp // somewhere in Answer.Text

	Reason Reason
	Lesson queue.Lesson  // for Throttled: which limit of the other side it shows, if one
	After  time.Duration // not before this; 0 leaves it to the queue
	Advice string        // what a person can do
}

// Table is an ordered list of rules. The first that matches wins.
type Table []Rule

// Classify returns the verdict of the first rule that matches, and whether one
// did. A sender's table ends with rows that match everything.
func (t Table) Classify(a Answer) (Verdict, bool) {
	for i := range t {
		if t[i].matches(&a) {
			r := &t[i]
			return Verdict{Reason: r.Reason, Rule: r.Name, Lesson: r.Lesson, After: r.After, Advice: r.Advice}, true
		}
	}
	return Verdict{}, false
}

// matches reports whether every field that the rule sets agrees.
func (r *Rule) matches(a *Answer) bool {
	if r.Min != 0 && (a.Code < r.Min || a.Code > max(r.Max, r.Min)) {
		return false
	}
	if len(r.Stages) > 0 && !slices.Contains(r.Stages, a.Stage) {
		return false
	}
	if r.Status != "" {
		if ok, err := path.Match(r.Status, a.Status); err != nil || !ok {
			return false
		}
	}
	return r.Text == nil || r.Text.MatchString(a.Text)
}
