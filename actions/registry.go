package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/jsonscan"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Registry finds the action that a job asks for. It implements
// [queue.Handler]. It does not change after NewRegistry and may be used by
// several goroutines.
type Registry struct {
	byKind  map[string]Action
	kinds   []string
	testers map[secrets.Type]Tester
	catalog *Catalog
	stored  Stored // nil: jobs that name a stored action are dead letters
}

// NewRegistry returns a registry of the given actions. Two actions of the same
// kind, two testers for one type of secret, or an action that does not say what
// it takes ([Described]), are a programmer's error and panic.
func NewRegistry(list ...Action) *Registry {
	r := &Registry{byKind: map[string]Action{}, testers: map[secrets.Type]Tester{}}
	var specs []Spec
	for _, a := range list {
		kind := a.Kind()
		if kind == "" || r.byKind[kind] != nil {
			panic(fmt.Sprintf("actions: kind %q is empty or registered twice", kind))
		}
		r.byKind[kind] = a
		r.kinds = append(r.kinds, kind)
		d, ok := a.(Described)
		if !ok || d.Spec().Kind != kind {
			panic(fmt.Sprintf("actions: %q has no spec of its kind", kind))
		}
		specs = append(specs, d.Spec())
		t, ok := a.(Tester)
		if !ok {
			continue
		}
		if r.testers[t.SecretType()] != nil {
			panic(fmt.Sprintf("actions: two testers for secrets of type %q", t.SecretType()))
		}
		r.testers[t.SecretType()] = t
	}
	slices.Sort(r.kinds)
	r.catalog = NewCatalog(specs...)
	return r
}

// Catalog returns what the actions take.
func (r *Registry) Catalog() *Catalog { return r.catalog }

// Specs returns the descriptions of all actions, by kind.
func (r *Registry) Specs() []Spec {
	list := make([]Spec, len(r.kinds))
	for i, kind := range r.kinds {
		list[i] = r.catalog.specs[kind]
	}
	return list
}

// Kinds returns the kinds of all actions, sorted.
func (r *Registry) Kinds() []string { return slices.Clone(r.kinds) }

// Tester returns the action that can try secrets of this type.
func (r *Registry) Tester(typ secrets.Type) (Tester, bool) {
	t, ok := r.testers[typ]
	return t, ok
}

// Prober returns the action of this kind if it can try a text secret. known is
// false if there is no such kind.
func (r *Registry) Prober(kind string) (p Prober, known bool) {
	a, known := r.byKind[kind]
	p, _ = a.(Prober)
	return p, known
}

// VerdictOf is what the steps of a test come to.
func VerdictOf(steps []Step) secrets.Verdict {
	for _, s := range steps {
		if !s.OK {
			return secrets.Verdict{Step: s.Name, Text: s.Text}
		}
	}
	return secrets.Verdict{OK: len(steps) > 0}
}

// Prepare finds the action by the job's type and lets it decode the job. A job
// that names none or an unknown one is dead at once.
func (r *Registry) Prepare(job *queue.Job) (queue.Work, error) {
	if job.ActionID != "" {
		return r.prepareStored(job)
	}
	kind, err := kindOf(job.Action)
	if err != nil {
		return nil, queue.Permanent(fmt.Errorf("action: %w (%s)", err, r.known()))
	}
	a := r.byKind[kind]
	if a == nil {
		return nil, queue.Permanent(fmt.Errorf("action: no type %s (%s)", quoteName(kind), r.known()))
	}
	return a.Prepare(job)
}

// Close closes all actions and returns all their errors.
func (r *Registry) Close() error {
	var errs []error
	for _, kind := range r.kinds {
		if err := r.byKind[kind].Close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", kind, err))
		}
	}
	return errors.Join(errs...)
}

// known lists the types for error messages.
func (r *Registry) known() string { return "known types: " + strings.Join(r.kinds, ", ") }

// kindOf reads the field "type" and nothing else of the action.
func kindOf(action json.RawMessage) (string, error) {
	if len(action) == 0 {
		return "", errors.New("the job has neither \"action\" nor \"action_id\"")
	}
	var kind string
	err := jsonscan.Object(action, queue.MaxJobDepth, func(name, value []byte) error {
		if string(name) == "type" {
			text, _ := jsonscan.Text(value) // none if it is no text
			kind = string(text)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", errors.New("want a JSON object") // err could quote the action
	case kind == "":
		return "", errors.New("the field \"type\" is missing or not a text")
	}
	return kind, nil
}

// sampleData is what a stored action is tried with when it is saved.
var sampleData = json.RawMessage(`[{"variable":"temperature","value":73,"unit":"F","time":"2026-01-02T03:04:05.000Z"}]`)

// DecodeDefinition is that of the catalog, and has the action itself prepare
// what it would do: what would make every job a dead letter is refused while
// somebody reads the answer.
func (r *Registry) DecodeDefinition(body []byte) (DefinitionChange, error) {
	c, err := r.catalog.DecodeDefinition(body)
	if err != nil || c.Action == nil || r.byKind[c.kind] == nil {
		return c, err
	}
	job := &queue.Job{JID: "0-0", ID: "check", Action: c.Action, Data: sampleData}
	if _, err := r.byKind[c.kind].Prepare(job); err != nil {
		var f faults
		f.add("action", "%s", strings.TrimPrefix(err.Error(), c.kind+": "))
		return c, f.err()
	}
	return c, nil
}
