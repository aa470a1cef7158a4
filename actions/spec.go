package actions

import (
	"regexp"
	"slices"

	"github.com/sealpost/sealpost/secrets"
)

// Spec describes a type of action: the one source for the checks of stored
// actions, for what uses a secret, and for docs/actions.md.
type Spec struct {
	Kind  string // the type's name in a job, such as "email-smtp"
	Title string // one sentence: what it does

	Fields []Field  // of the action object, besides "type"; in the order of the docs
	Either []string // fields of which one must be there; nil: none

	// Attempts is the limit of jobs that name none, as their work says it
	// ([queue.Limited]); 0 is the process'.
	Attempts int

	// Sentences for the docs; each is "" when there is nothing to say.
	Limits     string // how much at once
	Retries    string // what is tried again, and how often
	Duplicates string // when something can arrive twice
	Key        string // by what a receiver can tell a repetition
}

// Described is an [Action] that says what it takes. Every action of a Registry is.
type Described interface {
	// Spec returns the description. It does not change.
	Spec() Spec
}

// Form is what the value of a field looks like.
type Form int

// The forms.
const (
	TextForm    Form = iota + 1 // a text of any lines
	LineForm                    // a text of one line
	FlagForm                    // true or false
	ScalarForm                  // a text, a number, true or false
	HeadersForm                 // an object of texts of one line
	PairsForm                   // an array of {"name","value"}
	ScriptsForm                 // an array of ids of analyses
	SecretForm                  // the id or key of a secret
	SecretsForm                 // an object of ids or keys of secrets
	ActionForm                  // the id of a stored action
	ObjectForm                  // an object that the sender itself checks
	ArrayForm                   // an array that the sender itself checks
	LinesForm                   // a text of one line, or an array of them
)

// Field is what one field of an action or a trigger takes.
type Field struct {
	Name   string
	Form   Form
	Need   bool           // it must be there
	OneOf  []string       // closed list of texts; nil: any
	Match  *regexp.Regexp // nil: any
	Secret secrets.Type   // of a SecretForm, of each in a SecretsForm, or of the field "secret" in an ObjectForm
	Vars   bool           // message variables in it are filled
	Doc    string         // one or two sentences; for docs/actions.md
}

// KindScript is the kind of actions that start analyses.
const KindScript = "script"

// keptSpecs are the types that clients may store although nothing here does
// them: they are for services that their own platform has.
func keptSpecs() []Spec {
	text := func(name string) Field { return Field{Name: name, Form: TextForm, Vars: true} }
	line := func(name string) Field { return Field{Name: name, Form: LineForm, Vars: true} }
	need := func(f Field) Field { f.Need = true; return f }
	return []Spec{
		{Kind: "notification", Fields: []Field{line("subject"), need(text("message"))}},
		{Kind: "notification_run", Fields: []Field{line("subject"), need(text("message")), need(line("run_user"))}},
		{Kind: "email", Fields: []Field{need(line("to")), line("subject"), need(text("message"))}},
		{Kind: "sms", Fields: []Field{need(line("to")), need(text("message"))}},
		{Kind: "mqtt", Fields: []Field{need(line("topic")), need(text("payload")), line("bucket"), {Name: "qos", Form: ScalarForm},
			{Name: "retain", Form: FlagForm}}},
	}
}

// Catalog is what types of actions there are. It does not change.
type Catalog struct{ specs map[string]Spec }

// NewCatalog returns the catalog of these types and of those that are only kept.
func NewCatalog(specs ...Spec) *Catalog {
	c := &Catalog{specs: map[string]Spec{}}
	for _, s := range append(keptSpecs(), specs...) {
		c.specs[s.Kind] = s
	}
	return c
}

// Kinds returns the kinds of all types, sorted.
func (c *Catalog) Kinds() []string { return sortedKeys(c.specs) }

// Specs returns the descriptions of all types, those that are only kept
// included, by kind.
func (c *Catalog) Specs() []Spec {
	var list []Spec
	for _, kind := range c.Kinds() {
		list = append(list, c.specs[kind])
	}
	return list
}

// References returns the secrets, analyses and actions that an action object
// names. What breaks a rule names nothing.
func (c *Catalog) References(action []byte) []Reference {
	var change DefinitionChange
	change.readAction(c, action, &faults{})
	return slices.Clone(change.refs)
}
