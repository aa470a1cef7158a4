package actions

import (
	"maps"
	"regexp"
	"slices"
)

// typeCondition is the type of triggers that look at data, and the default.
const typeCondition = "condition"

// Types of triggers by time, which Sealpost runs itself.
const (
	TypeInterval = "interval"
	TypeSchedule = "schedule"
)

// triggerTypes are the types of triggers.
func triggerTypes() []string { return sortedKeys(triggerRules()) }

// Forms of texts in triggers. What they mean is in cron.go and interval.go.
var (
	intervalText = regexp.MustCompile(`^[1-9][0-9]{0,5} (second|minute|hour|day|week|month|quarter|year)s?$`)
	cronText     = regexp.MustCompile(`^[0-9A-Za-z*/,?#\-]{1,100}( [0-9A-Za-z*/,?#\-]{1,100}){4,5}$`)
	zoneText     = regexp.MustCompile(`^[A-Za-z0-9_+\-/]{1,64}$`)
)

// triggerRules are the fields of the triggers of each type. The shapes of the
// two types without rules are not public: their triggers are kept as they are.
func triggerRules() map[string][]Field {
	line := func(name string) Field { return Field{Name: name, Form: LineForm} }
	return map[string][]Field{
		typeCondition: {line("device"), line("tag_key"), line("tag_value"), {Name: "variable", Form: LineForm, Need: true},
			{Name: "is", Form: LineForm, Need: true, OneOf: []string{"<", ">", "=", "!", "><", "*"}},
			{Name: "value", Form: ScalarForm}, {Name: "second_value", Form: ScalarForm},
			{Name: "value_type", Form: LineForm, OneOf: []string{"string", "number", "boolean", "*"}}, {Name: "unlock", Form: FlagForm}},
		"condition_geofence": nil,
		"usage_alert":        nil,
		TypeInterval:         {{Name: "interval", Form: LineForm, Need: true, Match: intervalText}},
		TypeSchedule:         {{Name: "cron", Form: LineForm, Need: true, Match: cronText}, {Name: "timezone", Form: LineForm, Match: zoneText}},
		"resource": {
			{Name: "resource", Form: LineForm, Need: true, OneOf: []string{"device", "bucket", "file", "analysis", "action", "am", "user", "financial", "profile", "dashboard", "secrets"}},
			{Name: "when", Form: LineForm, Need: true, OneOf: []string{"create", "update", "delete"}}, line("tag_key"), line("tag_value")},
		"mqtt_topic": {{Name: "topic", Form: LineForm, Need: true}, line("device"), line("tag_key"), line("tag_value")},
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
