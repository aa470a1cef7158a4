package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
)

// put stores a secret and returns its id.
func (s *site) put(key, value string) string {
	s.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	var made struct {
		ID string `json:"id"`
	}
	s.mustDo(http.MethodPost, "/secrets", fmt.Sprintf(`{"key":%q,"value":%s}`, key, text), &made)
	return made.ID
}

// action stores an action and returns its id.
func (s *site) action(body string) string {
	s.t.Helper()
	var made struct {
		Action string `json:"action"`
	}
	s.mustDo(http.MethodPost, "/action", body, &made)
	if len(made.Action) != 24 {
		s.t.Fatalf("POST /action: got %+v, want an id", made)
	}
	return made.Action
}

const (
	smtpValue = `{"smtp_server":"mail.test","smtp_port":587,"username":"u","password":"canary-4711"}`
	sqsValue  = `{"aws_region":"eu-west-1","queue_url":"https://sqs.eu-west-1.amazonaws.com/123456789012/q","access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"canary-4711"}`
)

func TestActionLifecycle(t *testing.T) {
	s := newSite(t)
	mail := s.put("MAIL", smtpValue)
	id := s.action(`{"name":"warn","type":"condition","trigger":[{"device":"d","variable":"t","is":">","value":"70","value_type":"number"}],
		"tags":[{"key":"team","value":"ops"}],
		"action":{"type":"email-smtp","from":"Plant","to":"a@x.test","subject":"hot","message":"$VALUE$","smtp_secret":"` + mail + `"}}`)

	var got map[string]any
	s.mustDo(http.MethodGet, "/action/"+id, "", &got)
	for _, volatile := range []string{"created_at", "updated_at"} {
		if text, _ := got[volatile].(string); !strings.HasSuffix(text, "Z") {
			t.Errorf("%s: got %v, want a time", volatile, got[volatile])
		}
		delete(got, volatile)
	}
	want := map[string]any{"id": id, "profile": profileID, "name": "warn", "description": nil, "active": true, "type": "condition",
		"trigger": []any{map[string]any{"device": "d", "variable": "t", "is": ">", "value": "70", "value_type": "number"}},
		"action":  map[string]any{"type": "email-smtp", "from": "Plant", "to": "a@x.test", "subject": "hot", "message": "$VALUE$", "smtp_secret": mail},
		"tags":    []any{map[string]any{"key": "team", "value": "ops"}}, "lock": false, "trigger_when_unlock": false, "last_triggered": "never"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("info, -got +want:\n%s", diff)
	}

	var text string
	s.mustDo(http.MethodPut, "/action/"+id, `{"active":false,"action":{"type":"sms","to":"+1","message":"m"}}`, &text)
	if text != "Successfully Updated" {
		t.Errorf("edit: got %q", text)
	}
	s.mustDo(http.MethodGet, "/action/"+id, "", &got)
	if diff := cmp.Diff(got["action"], any(map[string]any{"type": "sms", "to": "+1", "message": "m"})); diff != "" || got["active"] != false {
		t.Errorf("after an edit the action is replaced whole, -got +want:\n%s", diff)
	}

	s.mustDo(http.MethodDelete, "/action/"+id, "", &text)
	if text != "Successfully Removed" {
		t.Errorf("delete: got %q", text)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		body := ""
		if method == http.MethodPut {
			body = `{"name":"x"}`
		}
		if a := s.do(access.Admin, method, "/action/"+id, body); a.status != http.StatusNotFound || a.message != "Action Not Found" {
			t.Errorf("%s of a removed action: got %d %q", method, a.status, a.message)
		}
	}
}

func TestActionList(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"b", "a", "C"} {
		s.action(`{"name":"` + name + `","tags":[{"key":"n","value":"` + name + `"}],"action":{"type":"post","url":"https://x.test/canary-4711"}}`)
	}
	tests := []struct{ name, query, want string }{
		{"by name", "?fields[0]=name", "a b C"},
		{"as the other client asks, descending", "?fields=id&fields=name&orderBy=name,desc", "C b a"},
		{"a filter with a wildcard", "?fields=name&filter[name]=*c*", "C"},
		{"a filter by tag", "?fields=name&filter[tags][0][key]=n&filter[tags][0][value]=b", "b"},
		{"the second page", "?fields=name&page=2&amount=2", "C"},
		{"beyond the last page", "?fields=name&page=9&amount=2", ""},
		{"by the last trigger, never is last", "?fields=name&orderBy=last_triggered,desc", "any"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rows []map[string]any
			s.mustDo(http.MethodGet, "/action"+tt.query, "", &rows)
			var names []string
			for _, row := range rows {
				names = append(names, row["name"].(string))
			}
			if got := strings.Join(names, " "); got != tt.want && tt.want != "any" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if a := s.do(access.Admin, http.MethodGet, "/action?orderBy=type,asc", ""); a.status != http.StatusBadRequest || !strings.HasPrefix(a.message, "Invalid orderBy parameter") {
		t.Errorf("an order that clients do not know: got %d %q", a.status, a.message)
	}
	if a := s.do(access.Admin, http.MethodGet, "/action/", ""); a.status != http.StatusOK || strings.Contains(a.body, "canary") {
		t.Errorf("a list shows what an action does: %d %s", a.status, a.body)
	}
}

func TestActionReferencesAreChecked(t *testing.T) {
	s := newSite(t)
	text, mail, queue := s.put("API_KEY", "a-long-text"), s.put("MAIL", smtpValue), s.put("QUEUE", sqsValue)
	const missing = "ffffffffffffffffffffffff"
	tests := []struct{ name, action, want string }{
		{"no such secret", `{"type":"queue-sqs","sqs_secret":"` + missing + `"}`, "action.sqs_secret: no such secret"},
		{"a secret of another type", `{"type":"queue-sqs","sqs_secret":"` + mail + `"}`, "action.sqs_secret: want a secret of type sqs; this one is of type smtp"},
		{"a structured secret where a text is wanted", `{"type":"sms-twilio","from":"1","to":"2","message":"m","twilio_sid":"` + text + `","twilio_token":"` + queue + `"}`,
			"action.twilio_token: want a secret of type text"},
		{"no such analysis", `{"type":"script","script":["` + missing + `"]}`, "action.script[0]: no analysis has this id"},
		{"the right types", `{"type":"queue-sqs","sqs_secret":"` + queue + `","batch_enabled":true}`, ""},
		{"a secret by its key", `{"type":"sms-twilio","from":"1","to":"2","message":"m","twilio_sid":"API_KEY","twilio_token":"` + text + `"}`, ""},
	}
	id := s.action(`{"name":"n","action":{"type":"sms","to":"1","message":"m"}}`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, a := range []answer{
				s.do(access.Admin, http.MethodPost, "/action", `{"name":"n","action":`+tt.action+`}`),
				s.do(access.Admin, http.MethodPut, "/action/"+id, `{"action":`+tt.action+`}`),
			} {
				if a.ok != (tt.want == "") || !strings.HasPrefix(a.message, tt.want) || (!a.ok && a.status != http.StatusBadRequest) {
					t.Errorf("got %d %s, want 400 %q", a.status, a.body, tt.want)
				}
			}
		})
	}
}

func TestActionRefusals(t *testing.T) {
	s := newSite(t)
	id := s.action(`{"name":"n","action":{"type":"post","url":"https://x.test/canary-4711","headers":{"X-Key":"canary-4712"}}}`)
	for _, kind := range []access.Kind{access.Reader, access.Producer, analysisKind, ""} {
		for method, path := range map[string]string{http.MethodPost: "/action", http.MethodPut: "/action/" + id, http.MethodDelete: "/action/" + id} {
			if a := s.do(kind, method, path, `{"name":"x"}`); a.status != http.StatusForbidden && a.status != http.StatusUnauthorized {
				t.Errorf("%s %s as %q: got %d, want it refused", method, path, kind, a.status)
			}
		}
	}
	if a := s.do(access.Reader, http.MethodGet, "/action/"+id, ""); !a.ok || strings.Contains(a.body, "canary") {
		t.Errorf("info for a reader: got %s, want it without the URL and the headers", a.body)
	}
	if a := s.do(access.Admin, http.MethodGet, "/action/"+id, ""); !strings.Contains(a.body, "canary-4712") {
		t.Errorf("info for an admin: got %s, want what was sent", a.body)
	}
	for _, body := range []string{``, `[]`, `{`, `{"name":"n"}`, `{"name":"n","action":{"type":"post"}}`, `{"name":"n","action":{"type":"post","url":"canary-4713"}}`} {
		if a := s.do(access.Admin, http.MethodPost, "/action", body); a.status != http.StatusBadRequest || strings.Contains(a.body, "canary") {
			t.Errorf("POST %s: got %d %s, want 400 without a value", body, a.status, a.body)
		}
	}
	protected := s.action(`{"name":"p","tags":[{"key":"_delete_protection_","value":"keep me"}],"action":{"type":"sms","to":"1","message":"m"}}`)
	if a := s.do(access.Admin, http.MethodDelete, "/action/"+protected, ""); a.status != http.StatusConflict || !strings.Contains(a.message, "keep me") {
		t.Errorf("a protected action: got %d %q", a.status, a.message)
	}
}

func TestATriggerIsAJobOfTheAction(t *testing.T) {
	s := newSite(t)
	id := s.action(`{"name":"n","action":{"type":"note","text":"x"}}`)
	a := s.do(access.Producer, http.MethodPost, "/action/"+id+"/trigger", `{"data":[{"variable":"t","value":1}]}`)
	var sent receiptView
	if err := json.Unmarshal(a.result, &sent); err != nil || sent.ID == "" {
		t.Fatalf("trigger: got %d %s, want the job's id", a.status, a.body)
	}
	if entries, err := s.rdb.XRange(t.Context(), queue.StreamKey("", 0), "-", "+").Result(); err != nil || len(entries) != 1 ||
		entries[0].Values["job"] != `{"action_id":"`+id+`","data":[{"variable":"t","value":1}]}` {
		t.Errorf("got entries %v, %v", entries, err)
	}
	var view actionView
	s.mustDo(http.MethodGet, "/action/"+id, "", &view)
	if view.LastTriggered == never {
		t.Errorf("last_triggered: got never")
	}
	for _, tt := range []struct{ name, id, want string }{
		{"an action that nothing here does", s.action(`{"name":"n","action":{"type":"sms","to":"1","message":"m"}}`), "kept for clients"},
		{"an inactive action", s.action(`{"name":"n","active":false,"action":{"type":"note","text":"x"}}`), "The action is not active"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.do(access.Admin, http.MethodPost, "/action/"+tt.id+"/trigger", `{}`)
			if a.status != http.StatusConflict || !strings.Contains(a.message, tt.want) {
				t.Errorf("got %d %q, want 409 %q", a.status, a.message, tt.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	s := newSite(t)
	id, secret := s.tokenID[analysisKind], s.put("ONE", "first value")
	ask := func() (view explainView) {
		s.mustDo(http.MethodGet, "/am/explain?analysis="+id+"&secret=ONE", "", &view)
		return view
	}
	if got := ask(); got.Allowed || got.Rule != nil || got.Secret.ID != secret || got.Action != access.ActionAccess {
		t.Errorf("without a policy: got %+v", got)
	}
	policy := func(name, effect string) {
		s.mustDo(http.MethodPost, "/am", `{"name":"`+name+`","targets":[["analysis"]],"permissions":[{"effect":"`+effect+`","action":["access"],"resource":["secrets"]}]}`, nil)
	}
	policy("grants", "allow")
	if got := ask(); !got.Allowed || got.Rule == nil || got.Rule.Name != "grants" {
		t.Errorf("with an allow: got %+v", got)
	}
	policy("forbids", "deny")
	got := ask()
	if got.Allowed || got.Rule == nil || got.Rule.Name != "forbids" || len(got.Findings) != 2 || got.Findings[1].Rule.Name != "grants" {
		t.Errorf("with a deny: got %+v", got)
	}
	for query, want := range map[string]int{"": 400, "?analysis=" + id: 400, "?analysis=" + id + "&secret=NO": 404,
		"?analysis=ffffffffffffffffffffffff&secret=ONE": 404, "?analysis=" + id + "&secret=ONE&action=eat": 400} {
		if a := s.do(access.Admin, http.MethodGet, "/am/explain"+query, ""); a.status != want {
			t.Errorf("explain%s: got %d, want %d", query, a.status, want)
		}
	}
}
