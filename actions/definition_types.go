package actions

import (
	"maps"
	"regexp"
	"slices"

	"github.com/sealpost/sealpost/secrets"
)

// KindScript is the kind of actions that start analyses.
const KindScript = "script"

// typeCondition is the type of triggers that look at data, and the default.
const typeCondition = "condition"

// form is what the value of a field looks like.
type form int

const (
	textForm    form = iota + 1 // a text of any lines
	lineForm                    // a text of one line
	flagForm                    // true or false
	scalarForm                  // a text, a number, true or false
	headersForm                 // an object of texts of one line
	pairsForm                   // an array of {name, value}
	scriptsForm                 // an array of ids of analyses
	secretForm                  // the id or key of a secret
	anyForm                     // any JSON
)

// rule is what one field of an action or a trigger takes.
type rule struct {
	name   string
	form   form
	need   bool
	oneOf  []string       // closed list of texts; nil: any
	match  *regexp.Regexp // nil: any
	secret secrets.Type   // of a secretForm
}

// actionTypes are the types of actions that clients know, with their fields.
// Fields of e-mails and queues beyond those are the ones that jobs take.
func actionTypes() map[string][]rule {
	text := func(name string) rule { return rule{name: name, form: textForm} }
	line := func(name string) rule { return rule{name: name, form: lineForm} }
	need := func(r rule) rule { r.need = true; return r }
	secret := func(name string, t secrets.Type) rule {
		return rule{name: name, form: secretForm, need: true, secret: t}
	}
	twilio := []rule{need(line("from")), need(line("to")), secret("twilio_sid", secrets.TypeText), secret("twilio_token", secrets.TypeText)}
	return map[string][]rule{
		"email-smtp": {line("from"), need(line("to")), line("cc"), line("bcc"), line("reply_to"), line("subject"), text("message"), text("html"),
			secret("smtp_secret", secrets.TypeSMTP)},
		"email-sendgrid": {need(line("from")), need(line("to")), line("subject"), need(text("message")), secret("sendgrid_api_key", secrets.TypeText)},
		"queue-sqs":      {secret("sqs_secret", secrets.TypeSQS), {name: "batch_enabled", form: flagForm}, text("message"), line("group")},
		"sms-twilio":     append(slices.Clone(twilio), need(text("message"))),
		"whatsapp-twilio": append(slices.Clone(twilio), text("message"),
			rule{name: "content_sid", form: secretForm, secret: secrets.TypeText}, rule{name: "content_variables", form: pairsForm}),
		"post": {{name: "url", form: lineForm, need: true, match: regexp.MustCompile(`^https?://[^/]`)}, {name: "headers", form: headersForm},
			{name: "http_post_fallback_enabled", form: flagForm}, line("fallback_token")},
		KindScript:         {{name: "script", form: scriptsForm, need: true}},
		"notification":     {line("subject"), need(text("message"))},
		"notification_run": {line("subject"), need(text("message")), need(line("run_user"))},
		"email":            {need(line("to")), line("subject"), need(text("message"))},
		"sms":              {need(line("to")), need(text("message"))},
		"mqtt": {need(line("topic")), need(text("payload")), line("bucket"), {name: "qos", form: scalarForm},
			{name: "retain", form: flagForm}},
	}
}

// eitherOf are the fields of a type of which one must be there.
func eitherOf() map[string][]string {
	return map[string][]string{"email-smtp": {"message", "html"}, "whatsapp-twilio": {"message", "content_sid"}}
}

// triggerTypes are the types of triggers.
func triggerTypes() []string { return sortedKeys(triggerRules()) }

// Forms of texts in triggers. What a schedule means is for the release that
// runs it; what cannot be one is refused now.
var (
	intervalText = regexp.MustCompile(`^[1-9][0-9]{0,5} (second|minute|hour|day|week|month|quarter|year)s?$`)
	cronText     = regexp.MustCompile(`^[0-9A-Za-z*/,?#\-]{1,100}( [0-9A-Za-z*/,?#\-]{1,100}){4,5}$`)
	zoneText     = regexp.MustCompile(`^[A-Za-z0-9_+\-/]{1,64}$`)
)

// triggerRules are the fields of the triggers of each type. The shapes of the
// two types without rules are not public: their triggers are kept as they are.
func triggerRules() map[string][]rule {
	line := func(name string) rule { return rule{name: name, form: lineForm} }
	return map[string][]rule{
		typeCondition: {line("device"), line("tag_key"), line("tag_value"), {name: "variable", form: lineForm, need: true},
			{name: "is", form: lineForm, need: true, oneOf: []string{"<", ">", "=", "!", "><", "*"}},
			{name: "value", form: scalarForm}, {name: "second_value", form: scalarForm},
			{name: "value_type", form: lineForm, oneOf: []string{"string", "number", "boolean", "*"}}, {name: "unlock", form: flagForm}},
		"condition_geofence": nil,
		"usage_alert":        nil,
		"interval":           {{name: "interval", form: lineForm, need: true, match: intervalText}},
		"schedule":           {{name: "cron", form: lineForm, need: true, match: cronText}, {name: "timezone", form: lineForm, match: zoneText}},
		"resource": {
			{name: "resource", form: lineForm, need: true, oneOf: []string{"device", "bucket", "file", "analysis", "action", "am", "user", "financial", "profile", "dashboard", "secrets"}},
			{name: "when", form: lineForm, need: true, oneOf: []string{"create", "update", "delete"}}, line("tag_key"), line("tag_value")},
		"mqtt_topic": {{name: "topic", form: lineForm, need: true}, line("device"), line("tag_key"), line("tag_value")},
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
