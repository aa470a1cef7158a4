package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/access"
)

func TestEveryRouteIsDescribed(t *testing.T) {
	if got := undescribed(routes()); len(got) > 0 {
		t.Errorf("rows of routes() and operations() that have no twin: %v", got)
	}
	twice := append(routes(), route{method: "GET", pattern: "/new"})
	if got := undescribed(twice); len(got) != 1 || got[0] != "GET /new" {
		t.Errorf("a new route: got %v, want it named", got)
	}
	if got := undescribed(routes()[1:]); len(got) != 1 {
		t.Errorf("a route that went: got %v, want it named", got)
	}
}

// drive is one request of the test below, in the order of a small story. Names
// in braces stand for what earlier answers said.
type drive struct {
	op, path, body string
	twice          bool        // one more form of an operation that was driven
	kind           access.Kind // "" is admin
	keep           string      // name for the id in the result
	status         int         // 0 is 200
}

// story drives every operation once.
func story() []drive {
	const value = `{"value":"another-value"}`
	return []drive{
		{op: "GET /info"}, {op: "GET /account"}, {op: "GET /openapi.json"},
		{op: "POST /secrets", body: `{"key":"A","value":"first-value","tags":[{"key":"team","value":"ops"}]}`, keep: "secret"},
		{op: "GET /secrets"}, {op: "GET /secrets/{id}", path: "/secrets/{secret}"}, {op: "PUT /secrets/{id}", path: "/secrets/{secret}", body: value},
		{op: "GET /secrets/{id}/usage", path: "/secrets/{secret}/usage"},
		{op: "POST /secrets/{id}/test", path: "/secrets/{secret}/test", status: 409},
		{op: "GET /secrets/{id}/versions", path: "/secrets/{secret}/versions"},
		{op: "POST /secrets/{id}/rollback", path: "/secrets/{secret}/rollback"},
		{op: "POST /secrets/{id}/promote", path: "/secrets/{secret}/promote?force=true", status: 404},
		{op: "POST /secrets/{id}/discard", path: "/secrets/{secret}/discard", status: 404},
		{op: "GET /tags/keys/{type}", path: "/tags/keys/secrets"},

		{op: "POST /analysis", body: `{"name":"a","run_on":"external","tags":[],"variables":[{"key":"OWN","value":"v"}]}`, keep: "analysis"},
		{op: "GET /analysis"}, {op: "GET /analysis/{id}", path: "/analysis/{analysis}"},
		{op: "PUT /analysis/{id}", path: "/analysis/{analysis}", body: `{"name":"b"}`},
		{op: "GET /analysis/{id}/token", path: "/analysis/{analysis}/token"},
		{op: "POST /am", body: onePolicy, keep: "policy"}, {op: "GET /am"}, {op: "GET /am/settings"},
		{op: "GET /am/{id}", path: "/am/{policy}"}, {op: "PUT /am/{id}", path: "/am/{policy}", body: `{"name":"b"}`},
		{op: "GET /am/explain", path: "/am/explain?analysis={analysis}&secret={secret}"},
		{op: "GET /environment", kind: analysisKind}, {op: "GET /analysis/{id}/environment", path: "/analysis/{analysis}/environment?explain=true"},
		{op: "POST /analysis/{id}/run", path: "/analysis/{analysis}/run", body: `{"scope":[]}`},
		{op: "POST /analysis/{id}/upload", path: "/analysis/{analysis}/upload", status: 409},
		{op: "GET /analysis/{id}/download", path: "/analysis/{analysis}/download", status: 409},
		{op: "POST /analysis/services/console/send", kind: analysisKind, body: `{"message":"hello","timestamp":1}`},
		{op: "POST /analysis/services/email-smtp/send", kind: analysisKind, body: `{"to":"a@b.test","smtp_secret":"{}"}`, status: 404},
		{op: "POST /analysis/services/queue-sqs/send", kind: analysisKind, body: `{"sqs_secret":"{}"}`, status: 404},
		{op: "POST /analysis/services/email-sendgrid/send", kind: analysisKind, body: `{"to":"a@b.test","from":"b@b.test","subject":"s","sendgrid_api_key":"k"}`, status: 404},
		{op: "POST /analysis/services/sms-twilio/send", kind: analysisKind, body: `{"to":"+1","from":"+1","message":"m","twilio_sid":"s","twilio_token":"t"}`, status: 404},
		{op: "POST /analysis/services/whatsapp-twilio/send", kind: analysisKind, body: `{"to":"+1","from":"+1","message":"m","twilio_sid":"s","twilio_token":"t"}`, status: 404},
		{op: "GET /events", path: "/events?channels=analysis_trigger", kind: analysisKind},

		{op: "POST /action", body: `{"name":"a","type":"interval","trigger":[{"interval":"3 minutes"}],"action":{"type":"script","script":["{analysis}"]}}`, keep: "action"},
		{op: "GET /action"}, {op: "GET /action/{id}", path: "/action/{action}"}, {op: "PUT /action/{id}", path: "/action/{action}", body: `{"name":"b"}`},
		{op: "POST /action/{id}/trigger", path: "/action/{action}/trigger", body: `{"data":[]}`},
		{op: "DELETE /action/{id}", path: "/action/{action}"},

		{op: "POST /jobs", body: goodJob, keep: "job"}, {op: "GET /jobs"}, {op: "GET /jobs/{id}", path: "/jobs/{job}"}, {op: "DELETE /jobs/{id}", path: "/jobs/{job}"},
		{op: "POST /queue/pause", body: `{"kind":"email-smtp"}`}, {op: "POST /queue/resume", body: `{"kind":"email-smtp"}`},
		{op: "GET /deliveries"}, {op: "GET /deliveries", path: "/deliveries?secret=A&kind=email-smtp&outcome=cancelled&reason=x&destination=post/https://a.test&certainty=unknown&from=1h&to=2099-01-01T00:00:00Z&limit=5", twice: true},
		{op: "GET /queue"}, {op: "GET /parked"}, {op: "POST /parked/release", body: `{"secret":"{secret}"}`},
		{op: "GET /dead"}, {op: "POST /dead/retry", body: `{"ids":["x"]}`}, {op: "DELETE /dead", body: `{"ids":["x"]}`},
		{op: "GET /dead", path: "/dead?group=cause", twice: true}, {op: "GET /parked", path: "/parked?group=cause", twice: true},
		{op: "POST /dead/retry", body: `{"cause":"x/y","secret":"A","older":"1h","dry_run":true}`, twice: true},
		{op: "GET /tokens"}, {op: "GET /audit"},

		{op: "DELETE /secrets/{id}", path: "/secrets/{secret}"}, {op: "DELETE /am/{id}", path: "/am/{policy}"},
		{op: "DELETE /analysis/{id}", path: "/analysis/{analysis}"},
	}
}

func TestEveryOperationOfTheDocumentWorks(t *testing.T) {
	s := newSite(t)
	doc := s.document()
	left := map[string]bool{}
	for pattern, methods := range doc["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			left[strings.ToUpper(method)+" "+pattern] = true
		}
	}
	for _, row := range routes() {
		if !left[row.method+" "+row.pattern] {
			t.Errorf("%s %s is not in the document", row.method, row.pattern)
		}
	}
	known := map[string]string{}
	for _, d := range story() {
		t.Run(d.op, func(t *testing.T) {
			if !left[d.op] && !d.twice {
				t.Fatalf("the document has no %s, or the story drives it twice", d.op)
			}
			delete(left, d.op)
			s.drive(t, doc, d, known)
		})
	}
	for op := range left {
		t.Errorf("story() does not drive %s", op)
	}
}

// document reads the document as a client does.
func (s *site) document() map[string]any {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.url+"/openapi.json", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("token", s.token[access.Reader])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("GET /openapi.json: %v", err)
	}
	defer resp.Body.Close()
	var doc map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("GET /openapi.json: got %d, %v", resp.StatusCode, err)
	}
	return doc
}

// drive sends one request and checks its answer against the document.
func (s *site) drive(t *testing.T, doc map[string]any, d drive, known map[string]string) {
	method, pattern, _ := strings.Cut(d.op, " ")
	path, body := d.path, d.body
	if path == "" {
		path = pattern
	}
	for name, id := range known {
		path, body = strings.ReplaceAll(path, "{"+name+"}", id), strings.ReplaceAll(body, "{"+name+"}", id)
	}
	kind := d.kind
	if kind == "" {
		kind = access.Admin
	}
	op := doc["paths"].(map[string]any)[pattern].(map[string]any)[strings.ToLower(method)].(map[string]any)
	if op["summary"] == "" || op["operationId"] == "" {
		t.Errorf("%s has no summary or id", d.op)
	}
	checkBody(t, doc, op, body)
	content := look(doc, op, "responses", "200", "content")
	for media := range content {
		if media == "text/event-stream" || d.op == "GET /openapi.json" {
			s.checkRaw(t, kind, path, media)
			return
		}
	}
	got := s.do(kind, method, path, body)
	form := look(doc, content, "application/json", "schema")
	if want := max(d.status, 200); got.status != want {
		t.Fatalf("got %d %s, want %d", got.status, got.body, want)
	} else if want != 200 {
		form = look(doc, op, "responses", "default", "content", "application/json", "schema")
	}
	var answer any
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
		t.Fatal(err)
	}
	if err := conforms(doc, form, answer, "answer"); err != nil {
		t.Errorf("%s is not of the document's form: %v", got.body, err)
	}
	if d.keep != "" {
		var made map[string]string
		if err := json.Unmarshal(got.result, &made); err != nil {
			t.Fatalf("result %s: %v", got.result, err)
		}
		known[d.keep] = made["id"] + made["am_id"] + made["action"]
	}
}

// checkBody checks that what the story sends is what the document asks for.
func checkBody(t *testing.T, doc, op map[string]any, body string) {
	t.Helper()
	if op["requestBody"] == nil || body == "" {
		return // uploads are refused whatever they send
	}
	var sent any
	if err := json.Unmarshal([]byte(body), &sent); err != nil {
		t.Fatal(err)
	}
	form := look(doc, op, "requestBody", "content", "application/json", "schema")
	if strings.Contains(op["operationId"].(string), "Services") {
		return // those bodies are cut short on purpose
	}
	if err := conforms(doc, form, sent, "body"); err != nil {
		t.Errorf("body %s: %v", body, err)
	}
}

// checkRaw checks an answer that comes without the envelope.
func (s *site) checkRaw(t *testing.T, kind access.Kind, path, media string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("token", s.token[kind])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(got, media) {
		t.Errorf("GET %s: got %d %s, want 200 %s", path, resp.StatusCode, got, media)
	}
}

// look walks down from v by names, and through references.
func look(doc map[string]any, v map[string]any, names ...string) map[string]any {
	for _, name := range names {
		v, _ = v[name].(map[string]any)
		for ref, ok := v["$ref"].(string); ok; ref, ok = v["$ref"].(string) {
			v = look(doc, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return v
}

// conforms checks a value against the parts of JSON Schema that the document
// uses.
func conforms(doc, form map[string]any, v any, at string) error {
	if ref, ok := form["$ref"].(string); ok {
		form = look(doc, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		if form == nil {
			return fmt.Errorf("%s: %s leads nowhere", at, ref)
		}
	}
	for _, word := range []string{"anyOf", "oneOf"} {
		if choices, ok := form[word].([]any); ok && !slices.ContainsFunc(choices, func(c any) bool {
			return conforms(doc, c.(map[string]any), v, at) == nil
		}) {
			return fmt.Errorf("%s: none of the choices fits", at)
		}
	}
	if want, ok := form["const"]; ok && want != v {
		return fmt.Errorf("%s: got %v, want %v", at, v, want)
	}
	if want, ok := form["type"].(string); ok && typeOfJSON(v, want) != want {
		return fmt.Errorf("%s: got %v, want %s", at, v, want)
	}
	switch v := v.(type) {
	case []any:
		items, _ := form["items"].(map[string]any)
		for i, item := range v {
			if err := conforms(doc, items, item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		return conformsObject(doc, form, v, at)
	}
	return nil
}

// conformsObject also refuses fields that the document does not tell of.
func conformsObject(doc, form, v map[string]any, at string) error {
	required, _ := form["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s: %s is missing", at, name)
		}
	}
	properties, closed := form["properties"].(map[string]any)
	others, _ := form["additionalProperties"].(map[string]any)
	for name, item := range v {
		field, ok := properties[name].(map[string]any)
		if !ok && others == nil && closed {
			return fmt.Errorf("%s: %s is not in the document", at, name)
		}
		if !ok {
			field = others
		}
		if err := conforms(doc, field, item, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// typeOfJSON is the JSON type of v; want tells integers from numbers.
func typeOfJSON(v any, want string) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if want == "integer" && v == float64(int64(v)) {
			return "integer"
		}
	}
	return "number"
}

func TestTheDocumentTellsNoValue(t *testing.T) {
	s := newSite(t)
	doc := s.document()
	schemas := look(doc, doc, "components", "schemas")
	if schemas["Secret"] == nil {
		t.Fatalf("schemas: got %v, want Secret", schemas)
	}
	if look(doc, schemas, "Secret", "properties")["value"] != nil {
		t.Error("a secret in answers has a value")
	}
	w := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/openapi.json", nil)
	New(Config{Vault: s.vault}).ServeHTTP(w, req)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a token: got %d, want 401", w.Code)
	}
}
