package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

const onePolicy = `{"name":"Read mail","tags":[{"key":"team","value":"ops"}],
	"targets":[["analysis","tag_match","team"],["analysis","id","0123456789abcdef01234567"]],
	"permissions":[{"effect":"deny","action":["access"],"resource":["secrets","id","0123456789abcdef01234567"]},
		{"effect":"allow","action":["access","edit"],"resource":["secret","tag.key","team","tag.value","ops","over"]}]}`

func TestPolicyLifeAsClientsKnowIt(t *testing.T) {
	s := newSite(t)
	var made struct {
		ID string `json:"am_id"`
	}
	s.mustDo("POST", "/am", onePolicy, &made)
	if !isID(made.ID) {
		t.Fatalf("am_id: got %q, want 24 hex digits", made.ID)
	}
	var view policyView
	s.mustDo("GET", "/am/"+made.ID, "", &view)
	for _, at := range []string{view.CreatedAt, view.UpdatedAt} {
		if len(at) != len(timeLayout) || !strings.HasSuffix(at, "Z") {
			t.Errorf("time: got %q, want ISO 8601 with milliseconds", at)
		}
	}
	view.CreatedAt, view.UpdatedAt = "", ""
	want := policyView{ID: made.ID, Profile: profileID, Name: "Read mail", Active: true, Tags: view.Tags,
		Permissions: []access.Permission{ // allows first; tuples of five at most; the alias as it was sent
			{Effect: "allow", Action: []string{"access", "edit"}, Resource: access.Tuple{"secret", "tag.key", "team", "tag.value", "ops"}},
			{Effect: "deny", Action: []string{"access"}, Resource: access.Tuple{"secrets", "id", "0123456789abcdef01234567"}},
		},
		Targets: []access.Tuple{{"analysis", "tag_match", "team"}, {"analysis", "id", "0123456789abcdef01234567"}},
	}
	if diff := cmp.Diff(want, view); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	var text string
	s.mustDo("PUT", "/am/"+made.ID, `{"active":false,"colour":"ignored"}`, &text)
	if text != "Access Management Successfully Updated" {
		t.Errorf("edit: got %q, want the text that clients know", text)
	}
	s.mustDo("GET", "/am/"+made.ID, "", &view)
	if view.Active || len(view.Permissions) != 2 || len(view.Targets) != 2 {
		t.Errorf("after the edit: got %+v, want inactive and the lists as they were", view)
	}
	s.mustDo("DELETE", "/am/"+made.ID, "", &text)
	if text != "Successfully Removed" {
		t.Errorf("delete: got %q, want the text that clients know", text)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		body := map[string]string{"PUT": `{"active":true}`}[method]
		if got := s.do(access.Admin, method, "/am/"+made.ID, body); got.status != 404 || got.message != "Access Management Not Found" {
			t.Errorf("%s after it: got %d %s, want 404", method, got.status, got.body)
		}
	}
}

func TestPoliciesAreListed(t *testing.T) {
	s := newSite(t)
	for i, name := range []string{"b mail", "a mail", "c queue"} {
		s.mustDo("POST", "/am", fmt.Sprintf(`{"name":%q,"active":%v,"targets":[["analysis"]],"permissions":[],"tags":[{"key":"n","value":"%d"}]}`, name, i != 1, i), nil)
	}
	tests := []struct{ name, query, want string }{
		{"as a client asks", "page=1&fields%5B0%5D=id&fields%5B1%5D=name&fields%5B2%5D=tags&amount=20&orderBy=name%2Casc", "a mail, b mail, c queue"},
		{"by wildcard", "filter[name]=*MAIL", "a mail, b mail"},
		{"active, as JavaScript says it", "filter[active]=true", "b mail, c queue"},
		{"inactive, as Python says it", "filter[active]=False", "a mail"},
		{"by tag", "filter[tags][0][key]=n&filter[tags][0][value]=2", "c queue"},
		{"newest first", "orderBy=created_at,desc&amount=3", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rows []map[string]any
			s.mustDo("GET", "/am?"+tt.query, "", &rows)
			var names []string
			for _, row := range rows {
				names = append(names, fmt.Sprint(row["name"]))
				if row["id"] == nil || row["profile"] == nil || row["tags"] == nil {
					t.Errorf("row %v: want id, profile and tags always", row)
				}
			}
			if got := strings.Join(names, ", "); got != tt.want && tt.want != "" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	var rows []map[string]any
	s.mustDo("GET", "/am?fields=permissions&fields=targets", "", &rows)
	if rows[0]["permissions"] != nil || rows[0]["targets"] != nil {
		t.Errorf("row: got %v, want no permissions and targets in lists", rows[0])
	}
}

func TestBadPoliciesAreRefused(t *testing.T) {
	s := newSite(t)
	with := func(field, value string) string {
		var body map[string]json.RawMessage
		if err := json.Unmarshal([]byte(onePolicy), &body); err != nil {
			t.Fatal(err)
		}
		body[field] = json.RawMessage(value)
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	many := func(n int, item string) string { return "[" + strings.Repeat(item+",", n) + item + "]" }
	tests := []struct {
		name, body string
		status     int
		message    string
	}{
		{"nothing", "", 400, "required"},
		{"empty object", "{}", 400, "name: Required; permissions: Required; targets: Required"},
		{"array", "[]", 400, ""},
		{"not JSON", "nonsense", 400, ""},
		{"name of a number", with("name", "1"), 400, "name: "},
		{"name without text", with("name", `""`), 400, "name: "},
		{"name that is too long", with("name", `"`+strings.Repeat("x", 101)+`"`), 400, "name: "},
		{"name with a line break", with("name", `"a\r\nX-Y: z"`), 400, "name: "},
		{"active of a text", with("active", `"true"`), 400, "active: "},
		{"targets of an object", with("targets", `{}`), 400, "targets: "},
		{"no target", with("targets", `[]`), 400, "targets: "},
		{"target of a text", with("targets", `["analysis"]`), 400, "targets[0]"},
		{"target of an unknown kind", with("targets", `[["device"]]`), 400, "targets[0]"},
		{"effect of MCP's slip", with("permissions", `[{"effect":"denied","action":["access"],"resource":["secrets"]}]`), 400, "permissions[0].effect: Invalid enum value"},
		{"action that secrets have not", with("permissions", `[{"effect":"deny","action":["read"],"resource":["secrets"]}]`), 400, "permissions[0].action[0]: Invalid enum value"},
		{"resource of an unknown name", with("permissions", `[{"effect":"deny","action":["access"],"resource":["sekrets"]}]`), 400, "permissions[0].resource[0]: Invalid enum value"},
		{"permission of null", with("permissions", `[null]`), 400, "permissions[0]"},
		{"ten thousand tags", with("tags", many(10_000, `{"key":"k","value":"v"}`)), 400, "tags: "},
		{"ten thousand permissions", with("permissions", many(10_000, `{"effect":"deny","action":["access"],"resource":["secrets"]}`)), 400, "permissions: "},
		{"ten megabytes", with("name", `"`+strings.Repeat("x", 10<<20)+`"`), 413, "limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(access.Admin, "POST", "/am", tt.body)
			if got.status != tt.status || !strings.Contains(got.message, tt.message) {
				t.Errorf("got %d %.300s, want %d %q", got.status, got.body, tt.status, tt.message)
			}
		})
	}
	var rows []json.RawMessage
	s.mustDo("GET", "/am", "", &rows)
	if len(rows) != 0 {
		t.Errorf("policies after all: got %d, want none", len(rows))
	}
}

func TestUnknownShapesAreStoredAndGrantNothing(t *testing.T) {
	s := newSite(t)
	s.fill("A=ops")
	id := s.grant("allow", `["secrets","tag.key","team","equals","ops"]`, "access")
	var view policyView
	s.mustDo("GET", "/am/"+id, "", &view)
	if got := strings.Join(view.Permissions[0].Resource, " "); got != "secrets tag.key team equals ops" {
		t.Errorf("resource: got %q, want it as it was sent", got)
	}
	if got := keys(t, s.do(analysisKind, "GET", "/secrets", "")); got != "" {
		t.Errorf("secrets: got %q, want none", got)
	}
}

func TestPolicySettings(t *testing.T) {
	s := newSite(t)
	var got settingsView
	s.mustDo("GET", "/am/settings", "", &got)
	if got.Resources["secrets"].Label == "" || got.Settings["run_user"] == nil {
		t.Errorf("got %+v, want secrets with a label, and run users", got)
	}
	for _, how := range got.Settings["analysis"]["secrets"] {
		for _, by := range how.MatchBy {
			resource := map[string]string{"id": `["secrets","id","x"]`, "tag": teamOps, "tag_match": `["secrets","tag_match","k"]`, "any": `["secrets"]`}[by]
			s.grant("allow", resource, how.Value) // what the settings offer must be accepted
		}
		if how.Value == "create" && len(how.MatchBy) != 3 {
			t.Errorf("create matches by %v, want no id", how.MatchBy)
		}
	}
	if n := len(got.Settings["analysis"]["secrets"]); n != 4 {
		t.Errorf("actions: got %d, want 4", n)
	}
}

func TestProfileRoutes(t *testing.T) {
	s := newSite(t)
	s.fill("A=ops", "B=dev")
	s.mustDo("POST", "/am", onePolicy, nil)
	if _, err := s.directory.EditAnalysis(t.Context(), "test", s.tokenID[analysisKind],
		access.AnalysisChange{Tags: policyTags("z", "y")}); err != nil {
		t.Fatalf("EditAnalysis: %v", err)
	}
	s.mustDo("POST", "/action", `{"name":"n","action":{"type":"post","url":"https://example.test/"},"tags":[{"key":"site","value":"v"}]}`, nil)
	tests := []struct {
		name string
		kind access.Kind
		path string
		want string
	}{
		{"tags of actions", access.Admin, "/tags/keys/action", `["site"]`},
		{"tags of secrets", access.Admin, "/tags/keys/secrets", `["team"]`},
		{"tags of analyses, sorted", access.Reader, "/tags/keys/analysis", `["y","z"]`},
		{"tags of policies", access.Admin, "/tags/keys/am", `["team"]`},
		{"tags of what is not here", access.Admin, "/tags/keys/dashboard", `[]`},
		{"info of an analysis", analysisKind, "/info?details=true",
			`{"id":"` + s.tokenID[analysisKind] + `","name":"test-analysis","type":"analysis","kind":"analysis","active":true,"run_on":"external"}`},
		{"info of a profile", access.Admin, "/info",
			`{"id":"` + s.tokenID[access.Admin] + `","name":"test-admin","type":"profile","kind":"admin"}`},
		{"account", access.Admin, "/account",
			`{"id":"` + profileID + `","name":"Sealpost","active":true,"timezone":"UTC","profiles":[{"id":"` + profileID + `","name":"Sealpost"}]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(tt.kind, "GET", tt.path, "")
			if got.status != 200 || string(got.result) != tt.want {
				t.Errorf("got %d %s, want %s", got.status, got.body, tt.want)
			}
		})
	}
}

func policyTags(keys ...string) []secrets.Tag {
	var tags []secrets.Tag
	for _, key := range keys {
		tags = append(tags, secrets.Tag{Key: key, Value: "v"})
	}
	return tags
}
