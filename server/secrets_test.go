package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
)

// grant makes a policy for the test analysis: the actions on the resource.
func (s *site) grant(effect, resource string, actions ...string) string {
	s.t.Helper()
	list, err := json.Marshal(actions)
	if err != nil {
		s.t.Fatal(err)
	}
	var made struct {
		ID string `json:"am_id"`
	}
	s.mustDo("POST", "/am", fmt.Sprintf(`{"name":"p","targets":[["analysis","id",%q]],"permissions":[{"effect":%q,"action":%s,"resource":%s}]}`,
		s.tokenID[analysisKind], effect, list, resource), &made)
	return made.ID
}

// fill stores secrets KEY with the tag team=VALUE, as "KEY=VALUE".
func (s *site) fill(pairs ...string) map[string]string {
	s.t.Helper()
	ids := map[string]string{}
	for _, pair := range pairs {
		key, team, _ := strings.Cut(pair, "=")
		var made idView
		s.mustDo("POST", "/secrets", fmt.Sprintf(`{"key":%q,"value":"canary-%s","tags":[{"key":"team","value":%q}]}`, key, key, team), &made)
		ids[key] = made.ID
	}
	return ids
}

const teamOps = `["secrets","tag.key","team","tag.value","ops"]`

// keys are the keys of the secrets in an answer.
func keys(t *testing.T, a answer) string {
	t.Helper()
	var rows []struct{ Key string }
	if err := json.Unmarshal(a.result, &rows); err != nil || rows == nil {
		t.Fatalf("rows of %s: %v", a.body, err)
	}
	var out []string
	for _, row := range rows {
		out = append(out, row.Key)
	}
	return strings.Join(out, " ")
}

func TestAnAnalysisSeesTheSecretsItIsGranted(t *testing.T) {
	s := newSite(t)
	ids := s.fill("A=ops", "B=ops", "C=dev", "D=ops")
	list := func() string { return keys(t, s.do(analysisKind, "GET", "/secrets?fields=key&amount=100", "")) }
	if got := list(); got != "" {
		t.Errorf("without a policy: got %q, want none", got)
	}
	s.grant("allow", teamOps, "access")
	if got := list(); got != "A B D" {
		t.Errorf("with a policy: got %q, want those of the tag", got)
	}
	denial := s.grant("deny", `["secrets","id","`+ids["B"]+`"]`, "access")
	if got := list(); got != "A D" {
		t.Errorf("with a deny: got %q, want all but B", got)
	}
	if got := keys(t, s.do(analysisKind, "GET", "/secrets?filter[key]=*d*&fields=key", "")); got != "D" {
		t.Errorf("filtered: got %q, want D", got)
	}
	tests := []struct {
		name, ref string
		status    int
		message   string
	}{
		{"granted by id", ids["A"], 200, ""},
		{"granted by key", "a", 200, ""},
		{"denied", ids["B"], 403, denied},
		{"not granted", ids["C"], 403, denied},
		{"not there", "NOTHING", 403, denied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(analysisKind, "GET", "/secrets/"+tt.ref, "")
			if got.status != tt.status || got.message != tt.message || strings.Contains(got.body, "canary") {
				t.Errorf("got %d %s, want %d %q", got.status, got.body, tt.status, tt.message)
			}
		})
	}
	s.mustDo("DELETE", "/am/"+denial, "", nil)
	if got := s.do(analysisKind, "GET", "/secrets/"+ids["B"], ""); got.status != http.StatusOK {
		t.Errorf("after the deny went: got %d, want 200 at once", got.status)
	}
	s.grant("allow", `["secrets"]`, "access")
	if got := s.do(analysisKind, "GET", "/secrets/NOTHING", ""); got.status != 404 || got.message != "Secret Not Found" {
		t.Errorf("not there, for who may see all: got %d %s, want 404", got.status, got.body)
	}
}

func TestAnAnalysisWritesWhatPoliciesAllow(t *testing.T) {
	s := newSite(t)
	s.fill("A=ops", "B=dev")
	const ops, dev = `"tags":[{"key":"team","value":"ops"}]`, `"tags":[{"key":"team","value":"dev"}]`
	refused := func(name, method, path, body string) {
		t.Helper()
		if got := s.do(analysisKind, method, path, body); got.status != 403 || got.message != denied {
			t.Errorf("%s: got %d %s, want 403 %s", name, got.status, got.body, denied)
		}
	}
	works := func(name, method, path, body string) {
		t.Helper()
		if got := s.do(analysisKind, method, path, body); got.status != 200 || got.message != "" {
			t.Errorf("%s: got %d %s, want 200", name, got.status, got.body)
		}
	}
	s.grant("allow", teamOps, "access")
	refused("create with access only", "POST", "/secrets", `{"key":"N","value":"123456",`+ops+`}`)
	refused("edit with access only", "PUT", "/secrets/A", `{"value":"123456"}`)
	refused("delete with access only", "DELETE", "/secrets/A", "")
	s.grant("allow", teamOps, "create", "edit", "delete")
	refused("create without the tag", "POST", "/secrets", `{"key":"N","value":"123456"}`)
	refused("create with another tag", "POST", "/secrets", `{"key":"N","value":"123456",`+dev+`}`)
	works("create", "POST", "/secrets", `{"key":"N","value":"123456",`+ops+`}`)
	works("edit the value", "PUT", "/secrets/N", `{"value":"654321"}`)
	works("edit the tags", "PUT", "/secrets/N", `{"tags":[{"key":"team","value":"ops"},{"key":"x","value":"y"}]}`)
	refused("edit of another's", "PUT", "/secrets/B", `{"value":"123456"}`)
	refused("tags that it may not edit", "PUT", "/secrets/N", `{`+dev+`}`)
	refused("test", "POST", "/secrets/N/test", "")
	refused("delete of another's", "DELETE", "/secrets/B", "")
	works("delete", "DELETE", "/secrets/N", "")
	var audit []struct{ Actor, Op, Key string }
	s.mustDo("GET", "/audit?limit=4", "", &audit)
	if want := "analysis " + s.tokenID[analysisKind]; audit[0].Op != "delete" || audit[0].Key != "N" || audit[0].Actor != want {
		t.Errorf("audit: got %+v, want the deletion by %s", audit[0], want)
	}
}

func TestAnAnalysisCannotTagItselfAccess(t *testing.T) {
	s := newSite(t)
	s.fill("A=dev")
	s.grant("allow", `["secrets"]`, "edit")
	s.grant("allow", teamOps, "access")
	const ops = `"tags":[{"key":"team","value":"ops"}]`
	if got := s.do(analysisKind, "PUT", "/secrets/A", `{`+ops+`}`); got.status != 403 {
		t.Errorf("tags that open the value to it: got %d %s, want 403", got.status, got.body)
	}
	if got := s.do(analysisKind, "GET", "/secrets/A", ""); got.status != 403 {
		t.Errorf("the secret after it: got %d, want 403", got.status)
	}
	if got := s.do(analysisKind, "PUT", "/secrets/A", `{"value":"its-own-value",`+ops+`}`); got.status != 200 {
		t.Errorf("the same with a value of its own: got %d %s, want 200", got.status, got.body)
	}
}

func TestOtherResourcesAreClosedToAnAnalysis(t *testing.T) {
	s := newSite(t)
	s.grant("allow", `["secrets"]`, "access", "create", "edit", "delete")
	for _, route := range []string{"GET /am", "POST /am", "GET /tokens", "GET /audit", "GET /jobs", "POST /jobs", "GET /queue", "GET /dead", "GET /tags/keys/secrets"} {
		method, path, _ := strings.Cut(route, " ")
		if got := s.do(analysisKind, method, path, ""); got.status != 403 || got.message != denied {
			t.Errorf("%s: got %d %s, want 403 %s", route, got.status, got.body, denied)
		}
	}
}

func TestTheTokenOfAnInactiveAnalysisIsRefused(t *testing.T) {
	s := newSite(t)
	if got := s.do(analysisKind, "GET", "/info", ""); got.status != 200 {
		t.Fatalf("active: got %d %s, want 200", got.status, got.body)
	}
	if _, err := s.directory.EditAnalysis(t.Context(), "test", s.tokenID[analysisKind], access.AnalysisChange{Active: new(false)}); err != nil {
		t.Fatalf("EditAnalysis: %v", err)
	}
	if got := s.do(analysisKind, "GET", "/info", ""); got.status != 401 || !strings.HasPrefix(got.message, denied) {
		t.Errorf("inactive: got %d %s, want 401", got.status, got.body)
	}
	if err := s.directory.DeleteAnalysis(t.Context(), "test", s.tokenID[analysisKind]); err != nil {
		t.Fatalf("DeleteAnalysis: %v", err)
	}
	if got := s.do(analysisKind, "GET", "/info", ""); got.status != 401 || got.message != denied {
		t.Errorf("deleted: got %d %s, want 401 %s", got.status, got.body, denied)
	}
}

func TestDeletingAUsedSecretWarns(t *testing.T) {
	s := newSite(t)
	s.fill("A=ops", "B=ops", "C=dev")
	s.grant("allow", `["secrets","tag_match","team"]`, "access")
	s.grant("allow", `["secrets","id","0123456789abcdef01234567"]`, "access")
	if got := s.do(access.Admin, "DELETE", "/secrets/A", ""); got.status != 200 || got.message != "" {
		t.Errorf("unused: got %d %s, want no warning", got.status, got.body)
	}
	s.grant("allow", teamOps, "access")
	got := s.do(access.Admin, "DELETE", "/secrets/B", "")
	if got.status != 200 || string(got.result) != `"Successfully Removed"` || got.message != "B was in the environment of test-analysis" {
		t.Errorf("used: got %d %s, want a warning that names the analysis", got.status, got.body)
	}
	s.mustDo("POST", "/secrets", `{"key":"MAIL","value":"{\"smtp_server\":\"mail.test\",\"username\":\"u\",\"password\":\"canary-pw\"}","tags":[{"key":"team","value":"ops"}]}`, nil)
	for i := range maxNamed + 2 {
		s.mustDo("POST", "/action", fmt.Sprintf(`{"name":"act %d","type":"interval","trigger":[{"interval":"3 minutes"}],
			"action":{"type":"email-smtp","from":"a@b.test","to":"a@b.test","subject":"s","message":"m","smtp_secret":"MAIL"}}`, i), nil)
	}
	want := "MAIL was in the environment of test-analysis and used by the actions act 0, act 1, act 2, act 3, act 4, 2 more"
	if got := s.do(access.Admin, "DELETE", "/secrets/MAIL", ""); got.status != 200 || got.message != want {
		t.Errorf("used by actions: got %d %s, want %q", got.status, got.body, want)
	}
	s.grant("allow", `["secrets"]`, "access")
	s.grant("deny", `["secrets","tag.key","team","tag.value","dev"]`, "access")
	if got := s.do(access.Admin, "DELETE", "/secrets/C", ""); got.status != 200 || got.message != "" {
		t.Errorf("denied everywhere: got %d %s, want no warning", got.status, got.body)
	}
}

func TestDeletingAUsedSecretCanBeRefused(t *testing.T) {
	s := newSite(t)
	s.fill("A=ops", "B=dev")
	s.grant("allow", teamOps, "access")
	s.grant("allow", `["secrets"]`, "delete")
	for _, tt := range []struct {
		name   string
		kind   access.Kind
		path   string
		status int
		want   string
	}{
		{"used", access.Admin, "A?force=false", 409, "A is in the environment of test-analysis; nothing was removed; force=true (`secret rm --force`) removes it"},
		{"used, asked by an analysis", analysisKind, "A?force=false", 409, "A is in use; nothing was removed; force=true (`secret rm --force`) removes it"},
		{"neither true nor false", access.Admin, "A?force=yes", 400, "force must be true or false"},
		{"not there", access.Admin, "C?force=false", 404, "Secret Not Found"},
		{"not used", access.Admin, "B?force=false", 200, ""},
		{"used, with force", access.Admin, "A?force=true", 200, "A was in the environment of test-analysis"},
		{"gone", access.Admin, "A?force=true", 404, "Secret Not Found"},
	} {
		if got := s.do(tt.kind, "DELETE", "/secrets/"+tt.path, ""); got.status != tt.status || got.message != tt.want {
			t.Errorf("%s: got %d %s, want %d %q", tt.name, got.status, got.body, tt.status, tt.want)
		}
	}
}

func TestTheOrderOfKeysIsTheSameWithAndWithoutAFilter(t *testing.T) {
	s := newSite(t)
	s.fill("A_B=ops", "AB=ops", "A1=ops", "A=ops")
	s.grant("allow", `["secrets"]`, "access")
	const want = "A A1 AB A_B"
	for query, as := range map[string]access.Kind{"": access.Admin, "?filter[key]=*": access.Admin, "?page=1": analysisKind} {
		if got := keys(t, s.do(as, "GET", "/secrets"+query, "")); got != want {
			t.Errorf("GET /secrets%s as %s: got %q, want %q", query, as, got, want)
		}
	}
}

func TestWhatWasReadCanBeSentBackWithANewValue(t *testing.T) {
	s := newSite(t)
	s.fill("A=ops")
	var read map[string]any
	s.mustDo("GET", "/secrets/A", "", &read)
	read["value"] = "another-value"
	body, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	s.mustDo("PUT", "/secrets/A", string(body), nil)
	var after map[string]any
	s.mustDo("GET", "/secrets/A", "", &after)
	if got, want := after["version"], 2.0; got != want {
		t.Errorf("version: got %v, want %v", got, want)
	}
	if diff := cmp.Diff(read["tags"], after["tags"]); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

func TestBadBodiesOfSecrets(t *testing.T) {
	s := newSite(t)
	s.fill("A=ops")
	tags := strings.Repeat(`{"key":"k","value":"v"},`, 500)
	tests := []struct {
		name, method, path, body string
		status                   int
	}{
		{"value of null", "POST", "/secrets", `{"key":"B","value":null}`, 400},
		{"key of null", "POST", "/secrets", `{"key":null,"value":"123456"}`, 400},
		{"array", "POST", "/secrets", `[]`, 400},
		{"text", "POST", "/secrets", `"x"`, 400},
		{"null", "POST", "/secrets", `null`, 400},
		{"text after the body", "POST", "/secrets", `{"key":"B","value":"123456"} x`, 400},
		{"too many tags", "POST", "/secrets", `{"key":"B","value":"123456","tags":[` + tags + `{"key":"k","value":"v"}]}`, 400},
		{"tags that are an object", "POST", "/secrets", `{"key":"B","value":"123456","tags":{"k":"v"}}`, 400},
		{"tag with a number", "POST", "/secrets", `{"key":"B","value":"123456","tags":[{"key":"k","value":1}]}`, 400},
		{"tag without a key", "POST", "/secrets", `{"key":"B","value":"123456","tags":[{"value":"v"}]}`, 400},
		{"tag with a line break", "POST", "/secrets", `{"key":"B","value":"123456","tags":[{"key":"k\r\nX: y","value":"v"}]}`, 400},
		{"value over the limit", "POST", "/secrets", `{"key":"B","value":"` + strings.Repeat("x", 2049) + `"}`, 400},
		{"unknown type", "POST", "/secrets", `{"key":"B","value":"123456","type":"pgp"}`, 400},
		{"key that is there in another case", "POST", "/secrets", `{"key":"a","value":"123456"}`, 409},
		{"ten megabytes", "POST", "/secrets", `{"key":"B","value":"` + strings.Repeat("x", 10<<20) + `"}`, 413},
		{"empty value on an edit", "PUT", "/secrets/A", `{"value":""}`, 400},
		{"type alone on an edit", "PUT", "/secrets/A", `{"type":"smtp"}`, 400},
		{"edit of nothing that is there", "PUT", "/secrets/NOTHING", `{"value":"123456"}`, 404},
		{"delete of nothing that is there", "DELETE", "/secrets/NOTHING", "", 404},
		{"prototype", "POST", "/secrets", `{"__proto__":{"x":1},"key":"B","value":"123456"}`, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(access.Admin, tt.method, tt.path, tt.body)
			if got.status != tt.status || got.ok || got.message == "" {
				t.Errorf("got %d %s, want %d and a message", got.status, got.body, tt.status)
			}
		})
	}
	if got := keys(t, s.do(access.Admin, "GET", "/secrets", "")); got != "A" {
		t.Errorf("secrets after all: got %q, want A: nothing is half written", got)
	}
}

func TestWrongTokensOfAnalysesAreRefusedAlike(t *testing.T) {
	s := newSite(t)
	right := s.token[analysisKind]
	for name, token := range map[string]string{
		"another uuid":            "a-00000000-0000-4000-8000-000000000000",
		"a right beginning":       right[:20] + strings.Repeat("0", len(right)-20),
		"a tail":                  right + "0",
		"upper case":              strings.ToUpper(right),
		"the prefix alone":        "a-",
		"without the prefix":      strings.TrimPrefix(right, "a-"),
		"the prefix of a profile": "p-" + strings.TrimPrefix(right, "a-"),
	} {
		got := s.do("", "GET", "/info", "", func(r *http.Request) { r.Header.Set("token", token) })
		if got.status != 401 || got.message != denied {
			t.Errorf("%s: got %d %s, want 401 %s", name, got.status, got.body, denied)
		}
	}
	limited := false
	for range 2 * failBurst {
		got := s.do("", "GET", "/info", "", func(r *http.Request) { r.Header.Set("token", "a-wrong") })
		limited = limited || got.status == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("wrong tokens are never limited")
	}
}
