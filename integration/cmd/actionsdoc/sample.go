package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// sampleID stands for the id of a secret, an analysis or an action.
const sampleID = "0123456789abcdef01234567"

// sampleData is the data of sample jobs.
var sampleData = json.RawMessage(`[{"variable":"temperature","value":73,"unit":"F"}]`)

// sampleLines are texts of one line, one of which a sender should take.
func sampleLines() []string {
	return []string{"a@example.com", "https://example.com/a", "+15551234567", "a"}
}

// attempts is how often a job of the type is tried that names no limit itself.
// The limit belongs to prepared work, so a sample job is prepared.
func attempts(r *actions.Registry, s actions.Spec) (int, error) {
	var last error
	for _, line := range sampleLines() {
		for _, more := range [][]string{nil, {"to"}, {"to", "from"}} {
			action, err := json.Marshal(sample(s, line, more))
			if err != nil {
				return 0, fmt.Errorf("encode a sample of %s: %w", s.Kind, err)
			}
			work, err := r.Prepare(&queue.Job{ID: "sample", JID: "0-0", Action: action, Data: sampleData})
			if err != nil {
				last = err
				continue
			}
			if l, ok := work.(queue.Limited); ok && l.MaxAttempts() > 0 {
				return l.MaxAttempts(), nil
			}
			return queue.DefaultMaxAttempts, nil
		}
	}
	return 0, fmt.Errorf("no sample job of %s could be made, see sampleLines: %w", s.Kind, last)
}

// sample is an action of the type with the fields that it needs, and with more
// of them if it has such: no field of a mail but one of its addresses is needed.
func sample(s actions.Spec, line string, more []string) map[string]any {
	object := map[string]any{"type": s.Kind}
	for _, f := range s.Fields {
		either := slices.Index(s.Either, f.Name) == 0
		if f.Need || either || slices.Contains(more, f.Name) {
			object[f.Name] = sampleValue(f, line)
		}
	}
	return object
}

// sampleValue is a value of the form.
func sampleValue(f actions.Field, line string) any {
	switch f.Form {
	case actions.FlagForm, actions.ScalarForm:
		return true
	case actions.HeadersForm:
		return map[string]string{"X-Sample": "a"}
	case actions.PairsForm:
		return []map[string]string{{"name": "1", "value": "a"}}
	case actions.ScriptsForm:
		return []string{sampleID}
	case actions.SecretForm, actions.ActionForm:
		return sampleID
	case actions.SecretsForm:
		return map[string]string{"X-Sample": sampleID}
	case actions.ObjectForm:
		return map[string]string{}
	case actions.ArrayForm:
		return []string{}
	}
	if len(f.OneOf) > 0 {
		return f.OneOf[0]
	}
	if f.Match != nil && !f.Match.MatchString(line) {
		for _, other := range sampleLines() {
			if f.Match.MatchString(other) {
				return other
			}
		}
	}
	return line
}
