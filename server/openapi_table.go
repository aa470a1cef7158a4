package server

import (
	"maps"
	"reflect"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// operations describes the rows of the route table, by method and pattern. A
// test fails for a row that is not here. The schemas of their types go to types.
func operations(types schemas) map[string]operation {
	all := map[string]operation{}
	for _, part := range []func(schemas) map[string]operation{
		profileOperations, secretOperations, policyOperations, analysisOperations, actionOperations, serviceOperations, jobOperations, operateOperations,
	} {
		maps.Copy(all, part(types))
	}
	return all
}

// Schemas of what has no type of its own.
func textSchema() schema { return schema{"type": "string"} }

// hiddenSchema is of text that no answer holds.
func hiddenSchema() schema { return schema{"type": "string", "writeOnly": true} }

func listSchema(item schema) schema { return schema{"type": "array", "items": item} }

// objectSchema has these fields, in pairs of a name and a schema. A name with a
// question mark is of a field that may be left out.
func objectSchema(pairs ...any) schema {
	properties, required := schema{}, []string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, optional := strings.CutSuffix(pairs[i].(string), "?")
		properties[name] = pairs[i+1]
		if !optional {
			required = append(required, name)
		}
	}
	return schema{"type": "object", "properties": properties, "required": required}
}

func countSchema(name string) schema { return objectSchema(name, schema{"type": "integer"}) }

// rowsOf is the schema of a list whose rows have some of the fields of view.
func rowsOf(types schemas, view any) schema {
	properties := types.object(reflect.TypeOf(view))["properties"]
	return listSchema(schema{"type": "object", "required": []string{"id"}, "properties": properties})
}

// listParameters are of all lists that listSpec makes.
func listParameters(more ...parameter) []parameter {
	return append([]parameter{
		{"page", "From 1; beyond the last one the list is empty"},
		{"amount", "Rows of a page, at most 10000; 20 unless given"},
		{"fields", "Repeated, or as fields[0], fields[1]: the fields of each row; all unless given"},
		{"orderBy", "FIELD,asc or FIELD,desc"},
		{"filter[FIELD]", "Text of the field, whatever the letter case; * stands for any text"},
		{"filter[tags][0][key]", "A tag that rows must have; with filter[tags][0][value] a pair"},
	}, more...)
}

func profileOperations(types schemas) map[string]operation {
	return map[string]operation{
		"GET /info":             {summary: "Whose token this is", result: schema{"anyOf": []schema{types.of(analysisInfo{}), types.of(whoView{})}}},
		"GET /account":          {summary: "The account, of which there is one", result: accountView{}},
		"GET /openapi.json":     {summary: "This document", result: schema{"type": "object"}, raw: "application/json"},
		"GET /tags/keys/{type}": {summary: "The tag keys in use on secrets, analysis or am", result: []string{}},
	}
}

func secretOperations(types schemas) map[string]operation {
	tags := types.of([]secrets.Tag{})
	force := []parameter{{"force", "false: refuse, with 409, to remove what analyses or actions use; true unless given"}}
	stage := schema{"type": "boolean", "description": "true: the value waits beside the current one of this key, until it is promoted"}
	edit := objectSchema("type?", textSchema(), "value?", hiddenSchema(), "tags?", tags, "stage?", stage)
	create := objectSchema("key", textSchema(), "type?", textSchema(), "value", hiddenSchema(), "tags?", tags, "stage?", stage)
	tested := []parameter{{"staged", "true: the staged version"}, {"version", "The current or the staged version; the current one unless given"},
		{"kind", "Of a text: the kind of jobs whose key it is, email-sendgrid"}}
	anyway := []parameter{{"force", "true: also if its last test failed, if it was never tested, or if another version became current since"}}
	return map[string]operation{
		"GET /secrets":            {summary: "List secrets, without their values", query: listParameters(), result: rowsOf(types, secretView{})},
		"POST /secrets":           {summary: "Store a secret", body: create, result: idView{}},
		"GET /secrets/{id}":       {summary: "Show a secret by id or key, without its value", result: secretView{}},
		"PUT /secrets/{id}":       {summary: "Store a new value or new tags; the key never changes", query: force, body: edit, result: textSchema()},
		"GET /secrets/{id}/usage": {summary: "What uses the secret: actions, analyses, jobs that are not done", result: usageView{}},
		"DELETE /secrets/{id}":    {summary: "Remove a secret; the message warns when analyses or actions had it", query: force, result: textSchema()},
		"POST /secrets/{id}/test": {summary: "Log in with the secret at its server, say which step failed, and note it with the version", query: tested, result: testView{}},

		"GET /secrets/{id}/versions":  {summary: "The staged, the current and the previous version, with their last tests", result: []versionView{}},
		"POST /secrets/{id}/promote":  {summary: "Make the staged version current; parked jobs go on", query: anyway, result: changedView{}},
		"POST /secrets/{id}/rollback": {summary: "Make the value of the version before current again, as a new version", result: changedView{}},
		"POST /secrets/{id}/discard":  {summary: "Remove the staged version", result: textSchema()},
	}
}

func policyOperations(types schemas) map[string]operation {
	permissions, targets := types.of([]access.Permission{}), types.of([]access.Tuple{})
	tags := types.of([]secrets.Tag{})
	flag := schema{"type": "boolean"}
	create := objectSchema("name", textSchema(), "active?", flag, "permissions", permissions, "targets", targets, "tags?", tags)
	edit := objectSchema("name?", textSchema(), "active?", flag, "permissions?", permissions, "targets?", targets, "tags?", tags)
	question := []parameter{{"analysis", "Its id"}, {"secret", "Its id or key"}, {"action", "access (unless given), create, edit or delete"}}
	return map[string]operation{
		"GET /am":          {summary: "List policies, without permissions and targets", query: listParameters(), result: rowsOf(types, policyView{})},
		"POST /am":         {summary: "Store a policy", body: create, result: madePolicy{}},
		"GET /am/settings": {summary: "The permissions that a policy can hold", result: settingsView{}},
		"GET /am/explain":  {summary: "May this analysis do this with that secret, and by which rule", query: question, result: explainView{}},
		"GET /am/{id}":     {summary: "Show a policy", result: policyView{}},
		"PUT /am/{id}":     {summary: "Change a policy; lists are replaced whole", body: edit, result: textSchema()},
		"DELETE /am/{id}":  {summary: "Remove a policy", result: textSchema()},
	}
}

func analysisOperations(types schemas) map[string]operation {
	flag, tags := schema{"type": "boolean"}, types.of([]secrets.Tag{})
	variables := listSchema(objectSchema("key", textSchema(), "value", textSchema()))
	edit := []any{"active?", flag, "description?", textSchema(), "run_on?", schema{"enum": []string{"tago", "external"}}, "runtime?", textSchema(),
		"interval?", textSchema(), "file_name?", textSchema(), "variables?", variables, "tags?", tags}
	environment := schema{"anyOf": []schema{types.of([]entryView{}), types.of(explainedView{})}}
	asked := []parameter{{"format", "json, dotenv or shell: without the envelope"}, {"explain", "true: where each key comes from, without values"},
		{"wait", "Such as 30s, with If-None-Match: answer when it has changed, at the latest then"}}
	token := objectSchema("analysis_token", textSchema())
	return map[string]operation{
		"GET /environment":               {summary: "The environment of the analysis whose token asks", query: asked, result: environment},
		"GET /analysis/{id}/environment": {summary: "The environment of an analysis", query: asked, result: environment},
		"GET /analysis":                  {summary: "List analyses", query: listParameters(), result: rowsOf(types, analysisView{})},
		"POST /analysis":                 {summary: "Make an analysis", body: objectSchema(append(edit, "name", textSchema())...), result: objectSchema("id", textSchema(), "token", textSchema())},
		"GET /analysis/{id}":             {summary: "Show an analysis", result: analysisView{}},
		"PUT /analysis/{id}":             {summary: "Change an analysis; another run_on makes a new token", body: objectSchema(append(edit, "name?", textSchema())...), result: textSchema()},
		"DELETE /analysis/{id}":          {summary: "Remove an analysis and its token", result: textSchema()},
		"POST /analysis/{id}/run":        {summary: "Start the analysis where it listens", body: schema{"type": "object"}, result: token},
		"GET /analysis/{id}/token":       {summary: "The token of an analysis that runs on external", result: token},
		"POST /analysis/{id}/upload":     {summary: "Always refused: scripts are not kept here", result: textSchema()},
		"GET /analysis/{id}/download":    {summary: "Always refused: scripts are not kept here", result: textSchema()},
		"GET /events": {summary: "A stream of events: runs for an analysis, console lines", raw: "text/event-stream", result: textSchema(),
			query: []parameter{{"channels", "analysis_trigger, or analysis_console. and an id; several with commas"}, {"token", "Instead of the header"}}},
	}
}

func actionOperations(types schemas) map[string]operation {
	flag, object, tags := schema{"type": "boolean"}, schema{"type": "object"}, types.of([]secrets.Tag{})
	edit := []any{"description?", textSchema(), "active?", flag, "tags?", tags, "lock?", flag, "trigger_when_unlock?", flag}
	create := objectSchema(append(edit, "name", textSchema(), "type", textSchema(), "trigger?", listSchema(object), "action", object)...)
	change := objectSchema(append(edit, "name?", textSchema(), "type?", textSchema(), "trigger?", listSchema(object), "action?", object)...)
	data := objectSchema("data?", listSchema(schema{}))
	return map[string]operation{
		"GET /action":               {summary: "List actions, without what they do but its type", query: listParameters(), result: rowsOf(types, actionView{})},
		"POST /action":              {summary: "Store an action", body: create, result: madeAction{}},
		"GET /action/{id}":          {summary: "Show an action", result: actionView{}},
		"PUT /action/{id}":          {summary: "Change an action; trigger and action are replaced whole", body: change, result: textSchema()},
		"DELETE /action/{id}":       {summary: "Remove an action", result: textSchema()},
		"POST /action/{id}/trigger": {summary: "Send a job of a stored action, with data or without", body: data, result: receiptView{}},
	}
}

func serviceOperations(schemas) map[string]operation {
	credential := schema{"description": "The value of a secret, as JSON text or as an object", "writeOnly": true}
	text := schema{"description": "The value of a secret", "type": "string", "writeOnly": true}
	file := schema{"type": "object"}
	message := []any{"to", textSchema(), "from", textSchema(), "twilio_sid", text, "twilio_token", text}
	mail := objectSchema("to", textSchema(), "from?", textSchema(), "subject", textSchema(), "message?", textSchema(), "html?", textSchema(),
		"attachment?", schema{"type": "object"}, "smtp_secret", credential)
	return map[string]operation{
		"POST /analysis/services/email-smtp/send": {summary: "Send a mail with a credential of the caller's", body: mail, result: textSchema()},
		"POST /analysis/services/queue-sqs/send": {summary: "Send messages with a credential of the caller's",
			body: objectSchema("sqs_secret", credential, "dataList", listSchema(schema{}), "batch_enabled?", schema{"type": "boolean"}), result: textSchema()},
		"POST /analysis/services/email-sendgrid/send": {summary: "Send a mail by SendGrid with a key of the caller's", result: textSchema(),
			body: objectSchema("to", textSchema(), "from", textSchema(), "subject", textSchema(), "message?", textSchema(), "html?", textSchema(),
				"attachment?", file, "attachments?", file, "sendgrid_api_key", text)},
		"POST /analysis/services/sms-twilio/send": {summary: "Send an SMS by Twilio with a login of the caller's", result: textSchema(),
			body: objectSchema(append(message, "message", textSchema())...)},
		"POST /analysis/services/whatsapp-twilio/send": {summary: "Send a WhatsApp message by Twilio with a login of the caller's", result: textSchema(),
			body: objectSchema(append(message, "message?", textSchema(), "content_sid?", textSchema(), "content_variables?", schema{}, "media_url?", textSchema())...)},
		"POST /analysis/services/console/send": {summary: "Add a line to the console of the analysis",
			body: objectSchema("message", textSchema(), "timestamp?", schema{}), result: textSchema()},
	}
}

func jobOperations(types schemas) map[string]operation {
	job := objectSchema("id?", textSchema(), "action", schema{"type": "object"}, "data?", listSchema(schema{}))
	job["description"] = "A job, as docs/jobs.md says"
	some := schema{"oneOf": []schema{job, listSchema(job)}}
	receipt := types.of(receiptView{})
	pageOf := func(list any) schema { return objectSchema("jobs", types.of(list), "cursor", textSchema()) }
	page := []parameter{{"limit", "At most 1000; 100 unless given"}, {"cursor", "Of the page before"}}
	byCause := parameter{"group", "cause: how many there are of each cause, page by page until the cursor is empty"}
	wait := parameter{"wait", "Such as 30s: answer when the job has ended, at the latest then"}
	return map[string]operation{
		"POST /jobs":        {summary: "Send one job, or an array of them: all are accepted or none", body: some, result: schema{"anyOf": []schema{receipt, listSchema(receipt)}}},
		"GET /jobs":         {summary: "List the jobs of one state", query: append(page, parameter{"state", "ready unless given"}, parameter{"kind", "Of the action; a page may then be short and have a next one"}), result: pageOf([]queue.Status{})},
		"GET /jobs/{id}":    {summary: "Show a job and its attempts", query: []parameter{wait}, result: queue.Status{}},
		"DELETE /jobs/{id}": {summary: "Cancel a job", result: textSchema()},
		"GET /queue":        {summary: "Count the jobs of each state", result: queue.Stats{}},
		"GET /parked": {summary: "List the secrets that jobs wait for", query: []parameter{byCause, page[1]},
			result: schema{"anyOf": []schema{types.of([]parkedView{}), types.of(queue.Causes{})}}},
		"GET /dead": {summary: "List the jobs that were given up", query: append(page, byCause),
			result: schema{"anyOf": []schema{pageOf([]queue.DeadLetter{}), types.of(queue.Causes{})}}},
		"POST /dead/retry": {summary: "Send dead jobs again: those of some ids, or all that a cause, a secret or an age means",
			body: retryBody{}, result: schema{"anyOf": []schema{countSchema("retried"), types.of(queue.Retried{})}}},
		"DELETE /dead": {summary: "Remove dead jobs for good", body: idsView{}, result: countSchema("removed")},
		"GET /deliveries": {summary: "List attempts, those of the youngest jobs first, and how long they are kept", result: queue.Deliveries{},
			query: append(page, parameter{"job", "Any id of one job"}, parameter{"secret", "Id or key"}, parameter{"kind", "Of the action"},
				parameter{"outcome", "Where the job went: done, delayed, parked, dead, ready, cancelled, expired"}, parameter{"reason", "Such as transient"},
				parameter{"destination", "Lane: kind, slash, and the secret as the job names it, or the origin of a URL"}, parameter{"certainty", "accepted, rejected or unknown"},
				parameter{"from", "Began then or later: RFC 3339, or a duration before now"}, parameter{"to", "Began before: as from"})},
		"POST /queue/pause":  {summary: "Hold back all jobs, those of a kind, or those of a lane; running ones finish", body: pauseBody{}, result: pausedView{}},
		"POST /queue/resume": {summary: "End a pause; others stay", body: pauseBody{}, result: pausedView{}},
		"POST /parked/release": {summary: "Try the jobs again that wait for a secret",
			body: objectSchema("secret", textSchema(), "version?", schema{"type": "integer"}), result: countSchema("released")},
	}
}

func operateOperations(schemas) map[string]operation {
	return map[string]operation{
		"GET /tokens": {summary: "List tokens, which are shown once only when they are made", result: []tokenView{}},
		"GET /audit":  {summary: "The newest entries of the audit trail", query: []parameter{{"limit", "At most 1000; 100 unless given"}}, result: []secrets.AuditEntry{}},
	}
}
