package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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
}

// NewRegistry returns a registry of the given actions. Two actions of the same
// kind, or two testers for one type of secret, are a programmer's error and
// panic.
func NewRegistry(list ...Action) *Registry {
	r := &Registry{byKind: map[string]Action{}, testers: map[secrets.Type]Tester{}}
	for _, a := range list {
		kind := a.Kind()
		if kind == "" || r.byKind[kind] != nil {
			panic(fmt.Sprintf("actions: kind %q is empty or registered twice", kind))
		}
		r.byKind[kind] = a
		r.kinds = append(r.kinds, kind)
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
	return r
}

// Kinds returns the kinds of all actions, sorted.
func (r *Registry) Kinds() []string { return slices.Clone(r.kinds) }

// Tester returns the action that can try secrets of this type.
func (r *Registry) Tester(typ secrets.Type) (Tester, bool) {
	t, ok := r.testers[typ]
	return t, ok
}

// Prepare finds the action by the job's type and lets it decode the job. A job
// that names none or an unknown one is dead at once.
func (r *Registry) Prepare(job *queue.Job) (queue.Work, error) {
	if job.ActionID != "" {
		return nil, queue.Permanent(errors.New("action_id: stored actions come with a later release; send the action itself as \"action\""))
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
	var head struct {
		Type any `json:"type"`
	}
	if err := json.Unmarshal(action, &head); err != nil {
		return "", errors.New("want a JSON object") // err could quote the action
	}
	kind, ok := head.Type.(string)
	if !ok || kind == "" {
		return "", errors.New("the field \"type\" is missing or not a text")
	}
	return kind, nil
}
