package access

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// RunOn says where an analysis runs.
type RunOn string

// The places where an analysis runs. Changing it makes a new token.
const (
	RunOnTago     RunOn = "tago"     // started by the server, as `sealpost run` does; the default
	RunOnExternal RunOn = "external" // runs anywhere and listens for events
)

// DefaultRuntime is the runtime of an analysis that names none. Sealpost keeps
// the name and does nothing with it.
const DefaultRuntime = "node-legacy"

var runtimes = []string{
	"node", "python", "node-legacy", "python-legacy", "deno-rt2025", "node-rt2025", "python-rt2025", "other",
}

// Limits of an analysis. Variables and tags as public clients know them; the
// lengths are ours: a value may be as long as the longest secret in a variable.
const (
	maxVariables     = 20
	maxVariableKey   = 128     // characters
	maxVariableValue = 8 << 10 // bytes
	maxDescription   = 1000    // characters
	maxShort         = 255     // characters of interval and file_name
)

// Variable is a pair of an analysis' own environment. Values are sealed at rest.
type Variable struct {
	Key   string        `json:"key"`
	Value redact.String `json:"value"`
}

// Analysis is a program that asks for its environment.
type Analysis struct {
	ID          string     // 24 lower-case hex
	Version     int64      // from 1, grows with each change
	Name        string     // 1 to 100 characters; names may repeat
	Description string     // "" for none
	Active      bool       // an inactive analysis gets no environment
	RunOn       RunOn      //
	Runtime     string     // one of a closed list; fixed when it is created
	Interval    string     // kept for clients
	FileName    string     // kept for clients
	Variables   []Variable // at most 20; nil in lists, which open nothing
	Tags        []secrets.Tag
	Created     time.Time
	Updated     time.Time
}

// subject is the analysis as policies see it.
func (a Analysis) subject() Subject { return Subject{Kind: KindAnalysis, ID: a.ID, Tags: a.Tags} }

// AnalysisChange is what a request wants an analysis to be. nil leaves a field
// as it is, or as the default says on a create; lists replace the ones before
// whole.
type AnalysisChange struct {
	Name        *string // needed on a create
	Description *string
	Active      *bool   // default true
	RunOn       *string // default RunOnTago
	Runtime     *string // default DefaultRuntime; ignored by an edit, as clients expect
	Interval    *string
	FileName    *string
	Variables   []Variable // of a key that is there twice the last counts
	Tags        []secrets.Tag
}

// DecodeAnalysis reads the body of a create or edit as clients send it. Unknown
// fields are ignored. The error is an *InvalidError and quotes no value.
func DecodeAnalysis(body []byte) (AnalysisChange, error) {
	var f faults
	o := readObject(body, "", &f)
	c := AnalysisChange{
		Name: o.text("name"), Description: o.textOrNull("description"), Active: o.flag("active"),
		RunOn: o.text("run_on"), Runtime: o.text("runtime"),
		Interval: o.textOrNull("interval"), FileName: o.textOrNull("file_name"),
		Tags: o.tags("tags"),
	}
	if list := o.list("variables", maxVariables); list != nil {
		c.Variables = make([]Variable, 0, len(list))
		for i, item := range list {
			v := readObject(item, at("variables", i), &f)
			if v.raw != nil {
				c.Variables = append(c.Variables, Variable{Key: v.need("key"), Value: redact.New(v.need("value"))})
			}
		}
	}
	return c, f.err()
}

// apply returns a with the change made.
func (c AnalysisChange) apply(a Analysis) Analysis {
	for _, f := range []struct {
		to   *string
		from *string
	}{{&a.Name, c.Name}, {&a.Description, c.Description}, {&a.Interval, c.Interval}, {&a.FileName, c.FileName}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if c.Active != nil {
		a.Active = *c.Active
	}
	if c.RunOn != nil {
		a.RunOn = RunOn(*c.RunOn)
	}
	if c.Variables != nil {
		a.Variables = slices.Clone(c.Variables)
	}
	if c.Tags != nil {
		a.Tags = slices.Clone(c.Tags)
	}
	return a
}

// check adds a fault for each rule that a sent field breaks.
func (c AnalysisChange) check(f *faults) {
	for _, t := range []struct {
		name     string
		text     *string
		min, max int
	}{
		{"name", c.Name, 1, maxName}, {"interval", c.Interval, 0, maxShort}, {"file_name", c.FileName, 0, maxShort},
	} {
		if t.text != nil {
			f.checkText(t.name, *t.text, t.min, t.max)
		}
	}
	if d := c.Description; d != nil {
		// A description may have line breaks; it is shown as text only.
		f.checkText("description", strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(*d), 0, maxDescription)
	}
	if c.RunOn != nil && *c.RunOn != string(RunOnTago) && *c.RunOn != string(RunOnExternal) {
		f.add("run_on", "Invalid enum value. Expected 'tago' | 'external'")
	}
	if c.Runtime != nil && !slices.Contains(runtimes, *c.Runtime) {
		f.add("runtime", "Invalid enum value. Expected '%s'", strings.Join(runtimes, "' | '"))
	}
	c.checkVariables(f)
	f.checkTags(c.Tags)
}

func (c AnalysisChange) checkVariables(f *faults) {
	if len(c.Variables) > maxVariables {
		f.add("variables", "Array must contain at most %d element(s)", maxVariables)
		return
	}
	for i, v := range c.Variables {
		f.checkText(at("variables", i)+".key", v.Key, 1, maxVariableKey)
		switch s := v.Value.Reveal(); {
		case len(s) > maxVariableValue:
			f.add(at("variables", i)+".value", "String must contain at most %d bytes", maxVariableValue)
		case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
			f.add(at("variables", i)+".value", "String must be UTF-8 without NUL")
		}
	}
}
