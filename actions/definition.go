package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/secrets"
)

// Errors of the store of definitions. A body that breaks a rule is an
// *InvalidError, which is a secrets.ErrInvalid; a record that was changed in
// Redis is a secrets.ErrSealBroken; everything else is the network's.
var (
	// ErrNotFound says that no action has this id.
	ErrNotFound = errors.New("actions: no such action")
	// ErrLimit says that there are as many actions as there may be.
	ErrLimit = errors.New("actions: limit reached")
	// ErrProtected says that a tag forbids the deletion; its value says why.
	ErrProtected = errors.New("actions: protected from deletion by a tag")
)

// Definition is a stored action: what to do, and when. What it does may hold
// tokens in headers and addresses, so it is sealed at rest.
type Definition struct {
	ID                string // 24 lower-case hex
	Version           int64  // from 1, grows with each change
	Name              string // 1 to 100 characters; names may repeat
	Description       string // "" for none
	Active            bool
	Type              string            // of its triggers, such as "condition"
	Trigger           []json.RawMessage // objects; empty for an action that is triggered by hand
	Kind              string            // of the action, such as "email-smtp"
	Action            json.RawMessage   // an object, with its type; nil in lists, which open nothing
	Tags              []secrets.Tag
	Lock              bool // kept for clients
	TriggerWhenUnlock bool // kept for clients
	Created           time.Time
	Updated           time.Time
	Anchor            time.Time // from when its intervals and schedules count, see anchored
}

// Scripts returns the ids of the analyses that an action of the kind "script"
// starts; none for other kinds.
func (d Definition) Scripts() []string {
	if d.Kind != KindScript {
		return nil
	}
	var body struct {
		Script []string `json:"script"`
	}
	_ = json.Unmarshal(d.Action, &body) // it was checked when it was stored
	return body.Script
}

// DefinitionChange is what a request wants an action to be. nil leaves a field
// as it is, or as the default says on a create; Trigger, Action and Tags replace
// the ones before whole.
type DefinitionChange struct {
	Name              *string // needed on a create
	Description       *string
	Active            *bool   // default true
	Type              *string // default "condition"; another type needs a Trigger with it
	Trigger           []json.RawMessage
	Action            json.RawMessage // needed on a create
	Tags              []secrets.Tag
	Lock              *bool
	TriggerWhenUnlock *bool

	kind string      // of Action
	refs []Reference // of Action
}

// Reference is a field of an action that names a secret, an analysis or another
// action.
type Reference struct {
	Field  string       // such as "action.smtp_secret"
	To     string       // ToSecret, ToAnalysis or ToAction
	ID     string       // of an analysis or action; the id or key of a secret
	Secret secrets.Type // the type that the secret must have
}

// What a Reference names.
const (
	ToSecret   = "secret"
	ToAnalysis = "analysis"
	ToAction   = "action"
)

// References returns what the action names, for the caller to look up.
func (c DefinitionChange) References() []Reference { return c.refs }

// DecodeDefinition reads the body of a create or edit as clients send it.
// Unknown fields are ignored, also those of the action and the triggers. The
// error is an *InvalidError and quotes no value.
func (cat *Catalog) DecodeDefinition(body []byte) (DefinitionChange, error) {
	var f faults
	o := readObject(body, "", &f)
	c := DefinitionChange{
		Name: o.text("name"), Description: o.description(), Active: o.flag("active"), Type: o.text("type"),
		Tags: o.tags(), Lock: o.flag("lock"), TriggerWhenUnlock: o.flag("trigger_when_unlock"),
	}
	if raw, ok := o.raw["trigger"]; ok {
		c.Trigger = readList(raw, "trigger", maxTriggers, &f)
	}
	if raw, ok := o.raw["action"]; ok {
		c.readAction(cat, raw, &f)
	}
	c.check(&f)
	return c, f.err()
}

// Limits of a definition. The number of tags and of analyses is what clients
// know; the others are ours.
const (
	maxTriggers    = 50
	maxTags        = 30
	maxTagKey      = 100  // characters
	maxTagValue    = 200  // characters
	maxNameChars   = 100  // characters
	maxDescription = 1000 // characters
	maxScripts     = 10   // analyses of one action
)

// check adds a fault for each rule that a sent field breaks. The triggers are
// checked when their type is known.
func (c *DefinitionChange) check(f *faults) {
	if c.Name != nil {
		f.checkText("name", *c.Name, 1, maxNameChars)
	}
	if c.Description != nil {
		// A description may have line breaks; it is shown as text only.
		f.checkText("description", strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(*c.Description), 0, maxDescription)
	}
	if c.Type != nil && !slices.Contains(triggerTypes(), *c.Type) {
		f.add("type", "Invalid enum value. Expected '%s'", strings.Join(triggerTypes(), "' | '"))
	}
	for i, t := range c.Tags {
		f.checkText(at("tags", i)+".key", t.Key, 1, maxTagKey)
		f.checkText(at("tags", i)+".value", t.Value, 0, maxTagValue)
	}
}

// readAction checks the action by the rules of its type and keeps the fields
// that the type has.
func (c *DefinitionChange) readAction(cat *Catalog, raw json.RawMessage, f *faults) {
	o := readObject(raw, "action", f)
	if o.raw == nil {
		return
	}
	c.kind = o.need("type")
	spec, ok := cat.specs[c.kind]
	if !ok {
		if _, sent := o.raw["type"]; sent {
			f.add("action.type", "Invalid enum value. Expected '%s'", strings.Join(cat.Kinds(), "' | '"))
		}
		return
	}
	c.Action, c.refs = o.take(spec.Fields, c.kind)
	if spec.Either != nil && !slices.ContainsFunc(spec.Either, o.has) {
		f.add("action."+spec.Either[0], "Required, or %s", strings.Join(spec.Either[1:], " or "))
	}
}

// required adds a fault for each field that a create lacks.
func (c *DefinitionChange) required(f *faults) {
	if c.Name == nil {
		f.add("name", "Required")
	}
	if c.Action == nil {
		f.add("action", "Required")
	}
}

// apply returns d with the change made.
func (c *DefinitionChange) apply(d Definition) (Definition, error) {
	for _, t := range []struct{ to, from *string }{{&d.Name, c.Name}, {&d.Description, c.Description}} {
		if t.from != nil {
			*t.to = *t.from
		}
	}
	for _, t := range []struct{ to, from *bool }{{&d.Active, c.Active}, {&d.Lock, c.Lock}, {&d.TriggerWhenUnlock, c.TriggerWhenUnlock}} {
		if t.from != nil {
			*t.to = *t.from
		}
	}
	if c.Tags != nil {
		d.Tags = slices.Clone(c.Tags)
	}
	if c.Action != nil {
		d.Action, d.Kind = c.Action, c.kind
	}
	return c.applyTrigger(d)
}

// applyTrigger checks the triggers by the rules of their type, which may be the
// stored one. Triggers of one type mean nothing under another.
func (c *DefinitionChange) applyTrigger(d Definition) (Definition, error) {
	var f faults
	if c.Type != nil && *c.Type != d.Type {
		if c.Trigger == nil {
			f.add("trigger", "Required with another type")
			return d, f.err()
		}
		d.Type = *c.Type
	}
	if c.Trigger == nil {
		return d, nil
	}
	d.Trigger = make([]json.RawMessage, 0, len(c.Trigger))
	for i, raw := range c.Trigger {
		o := readObject(raw, at("trigger", i), &f)
		if o.raw == nil {
			continue
		}
		clean, _ := o.take(triggerRules()[d.Type], "")
		switch d.Type {
		case typeCondition:
			o.checkCondition()
		case TypeSchedule:
			o.checkSchedule()
		}
		d.Trigger = append(d.Trigger, clean)
	}
	return d, f.err()
}

// FieldError says which field of a body breaks which rule. It never holds the
// field's value.
type FieldError struct {
	Field   string `json:"field"` // such as "action.smtp_secret"; "" is the body itself
	Message string `json:"message"`
}

// InvalidError lists what is wrong with a body. It is a secrets.ErrInvalid.
type InvalidError struct{ Fields []FieldError }

// Error joins the fields and their messages.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = strings.TrimPrefix(f.Field+": "+f.Message, ": ")
	}
	return strings.Join(parts, "; ")
}

// Is makes the error a secrets.ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == secrets.ErrInvalid }

// faults gathers what is wrong with a body.
type faults struct{ list []FieldError }

// maxFaults bounds how many faults of one body are told.
const maxFaults = 20

func (f *faults) add(field, format string, args ...any) {
	if len(f.list) < maxFaults {
		f.list = append(f.list, FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

// err returns an *InvalidError, or nil if nothing is wrong.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Fields: f.list}
}
