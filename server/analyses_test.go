package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
)

func TestAnAnalysisIsMadeChangedAndRemoved(t *testing.T) {
	s := newSite(t)
	var made struct{ ID, Token string }
	s.mustDo("POST", "/analysis", `{"name":"report","unknown":1,"tags":[{"key":"site","value":"oslo"}],"variables":[{"key":"A","value":"own value"}]}`, &made)
	if len(made.ID) != 24 || !strings.HasPrefix(made.Token, "a-") || len(made.Token) != 38 {
		t.Fatalf("create: got %+v, want an id and a token", made)
	}
	path := "/analysis/" + made.ID
	var info map[string]any
	s.mustDo("GET", path, "", &info)
	for field, want := range map[string]any{
		"id": made.ID, "name": "report", "active": true, "run_on": "tago", "runtime": "node-legacy", "description": nil, "token": "",
		"last_run": "never", "tags": []any{map[string]any{"key": "site", "value": "oslo"}}, "locked_at": nil,
		"variables": []any{map[string]any{"key": "A", "value": "own value"}}, "console": []any{}, "versions": map[string]any{},
	} {
		if diff := cmp.Diff(info[field], want); diff != "" {
			t.Errorf("info: %s (-got +want):\n%s", field, diff)
		}
	}
	if got := s.do(access.Reader, "GET", path, ""); got.status != 200 || strings.Contains(got.body, "own value") || strings.Contains(got.body, made.Token) {
		t.Errorf("reader: got %d %s, want it without values and token", got.status, got.body)
	}
	if got := s.do(access.Admin, "PUT", path, `{"run_on":"external","variables":[]}`); string(got.result) != `"Successfully Updated"` {
		t.Errorf("edit: got %s", got.body)
	}
	s.mustDo("GET", path, "", &info)
	token, _ := info["token"].(string)
	if !strings.HasPrefix(token, "a-") || token == made.Token || len(info["variables"].([]any)) != 0 || info["name"] != "report" {
		t.Errorf("after run_on changed: got %v, want another token, no variables, the same name", info)
	}
	var shown struct {
		Token string `json:"analysis_token"`
	}
	if s.mustDo("GET", path+"/token", "", &shown); shown.Token != token {
		t.Errorf("token: got %q, want that of the info", shown.Token)
	}
	s.token["old"], s.token["new"] = made.Token, token
	if got := s.do("old", "GET", "/environment", ""); got.status != 401 {
		t.Errorf("the token before: got %d, want 401", got.status)
	}
	if got := s.do("new", "GET", "/environment", ""); got.status != 200 {
		t.Errorf("the token now: got %d, want 200", got.status)
	}
	if got := s.do(access.Admin, "DELETE", path, ""); string(got.result) != `"Successfully Removed"` {
		t.Errorf("delete: got %s", got.body)
	}
	if got := s.do(access.Admin, "GET", path, ""); got.status != 404 || got.message != "Analysis Not Found" {
		t.Errorf("after: got %d %q, want 404", got.status, got.message)
	}
}

func TestABadAnalysisIsRefused(t *testing.T) {
	s := newSite(t)
	own := "/analysis/" + s.tokenID[analysisKind]
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprintf(`{"key":"K%d","value":"v"}`, i))
	}
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"without a name", "POST", "/analysis", `{}`, 400, "name: Required"},
		{"without a body", "POST", "/analysis", ``, 400, "body is required"},
		{"with a body that is no object", "POST", "/analysis", `[]`, 400, "object"},
		{"with a name that is too long", "POST", "/analysis", `{"name":"` + strings.Repeat("x", 101) + `"}`, 400, "name"},
		{"to run elsewhere", "POST", "/analysis", `{"name":"x","run_on":"moon"}`, 400, "Invalid enum value"},
		{"in an unknown runtime", "POST", "/analysis", `{"name":"x","runtime":"cobol"}`, 400, "Invalid enum value"},
		{"with variables as an object", "POST", "/analysis", `{"name":"x","variables":{"a":"b"}}`, 400, "Expected array, received object"},
		{"with a variable that is no text", "POST", "/analysis", `{"name":"x","variables":[{"key":"a","value":true}]}`, 400, "variables[0].value"},
		{"with too many variables", "POST", "/analysis", `{"name":"x","variables":[` + strings.Join(many, ",") + `]}`, 400, "at most 20"},
		{"with a value that was not shown", "PUT", own, `{"variables":[{"key":"a","value":"[redacted]"}]}`, 400, "variables[0].value"},
		{"with 1 MiB of body", "PUT", own, `{"description":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "limit"},
		{"that is not there", "PUT", "/analysis/0123456789abcdef01234567", `{"name":"x"}`, 404, "Analysis Not Found"},
		{"that is not there, to be removed", "DELETE", "/analysis/0123456789abcdef01234567", ``, 404, "Analysis Not Found"},
		{"that is not there, to be run", "POST", "/analysis/0123456789abcdef01234567/run", `{}`, 404, "Analysis Not Found"},
		{"to run with a text", "POST", own + "/run", `{"scope":"x"}`, 400, "scope"},
		{"to run with a list of texts", "POST", own + "/run", `{"scope":["x"]}`, 400, "scope"},
		{"to run with too much", "POST", own + "/run", `{"scope":[` + strings.Repeat("{},", 1000) + `{}]}`, 400, "at most 1000"},
		{"with a script", "POST", own + "/upload", `{"file":"x"}`, 409, "sealpost run"},
		{"whose script is wanted", "GET", own + "/download?version=1", ``, 409, "sealpost run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(access.Admin, tt.method, tt.path, tt.body)
			if got.status != tt.status || !strings.Contains(got.message, tt.want) {
				t.Errorf("got %d %q, want %d with %q", got.status, got.message, tt.status, tt.want)
			}
		})
	}
	s.mustDo("PUT", own, `{"tags":[{"key":"_delete_protection_","value":"ask Ann"}]}`, nil)
	if got := s.do(access.Admin, "DELETE", own, ""); got.status != 409 || !strings.Contains(got.message, "ask Ann") {
		t.Errorf("protected: got %d %q, want 409 with the tag's words", got.status, got.message)
	}
}

func TestAnalysesAreForThoseWhoMay(t *testing.T) {
	s := newSite(t)
	own := "/analysis/" + s.tokenID[analysisKind]
	for _, tt := range []struct {
		method, path string
		may          []access.Kind
	}{
		{"GET", "/analysis/", []access.Kind{access.Admin, access.Reader}}, {"GET", own, []access.Kind{access.Admin, access.Reader}},
		{"PUT", own, []access.Kind{access.Admin}}, {"GET", own + "/token", []access.Kind{access.Admin}},
		{"POST", own + "/run", []access.Kind{access.Admin}},
		{"POST", "/analysis/services/console/send", []access.Kind{analysisKind}},
	} {
		for _, kind := range []access.Kind{"", access.Admin, access.Reader, access.Producer, analysisKind} {
			body := ""
			if tt.method != "GET" {
				body = `{"message":"x"}`
			}
			want := 403
			if kind == "" {
				want = 401
			}
			for _, k := range tt.may {
				if k == kind {
					want = 200
				}
			}
			if got := s.do(kind, tt.method, tt.path, body); got.status != want {
				t.Errorf("%s %s as %q: got %d %q, want %d", tt.method, tt.path, kind, got.status, got.message, want)
			}
		}
	}
}

func TestAnalysesAreListed(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"beta", "Alpha"} {
		s.mustDo("POST", "/analysis", `{"name":"`+name+`","tags":[{"key":"site","value":"`+name+`"}],"variables":[{"key":"A","value":"own value"}]}`, nil)
	}
	s.mustDo("POST", "/analysis/"+s.tokenID[analysisKind]+"/run", `{"scope":null}`, nil)
	tests := []struct {
		name, query string
		want        []string // names
	}{
		{"as the JavaScript client asks", "?page=1&fields%5B0%5D=id&fields%5B1%5D=name&amount=20&orderBy=name%2Casc", []string{"Alpha", "beta", "test-analysis"}},
		{"as the Python client asks", "?page=1&fields=id&fields=name&amount=2&orderBy=name,desc", []string{"test-analysis", "beta"}},
		{"by their last run, never at the end", "?fields=name&orderBy=last_run,desc", []string{"test-analysis", "", ""}},
		{"by a pattern", "?fields=name&filter%5Bname%5D=*ET*", []string{"beta"}},
		{"by a tag", "?fields=name&filter[tags][0][key]=site&filter[tags][0][value]=Alpha", []string{"Alpha"}},
		{"by where they run", "?fields=name&filter[run_on]=external", []string{"test-analysis"}},
		{"beyond the end", "?page=9", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rows []map[string]any
			s.mustDo("GET", "/analysis/"+tt.query, "", &rows)
			if len(rows) != len(tt.want) {
				t.Fatalf("got %v, want %v", rows, tt.want)
			}
			for i, want := range tt.want {
				if rows[i]["tags"] == nil || rows[i]["last_run"] == nil || rows[i]["token"] != nil || rows[i]["variables"] != nil {
					t.Errorf("row %v: want tags and last_run, and nothing that is sealed", rows[i])
				}
				if want != "" && rows[i]["name"] != want {
					t.Errorf("row %d: got %v, want %s", i, rows[i]["name"], want)
				}
			}
		})
	}
	if got := s.do(access.Admin, "GET", "/analysis?orderBy=variables,asc", ""); got.status != 400 || !strings.Contains(got.message, "Invalid orderBy parameter") {
		t.Errorf("orderBy: got %d %q, want 400", got.status, got.message)
	}
	sealed := "/analysis?fields=name&fields=token&fields=variables&filter[name]="
	var rows []struct {
		Token     string
		Variables []variableView
	}
	s.mustDo("GET", sealed+"beta", "", &rows)
	if len(rows) != 1 || rows[0].Token != "" || rows[0].Variables[0].Value != "own value" {
		t.Errorf("asked for by an admin: got %+v, want the variables and no token of one that does not run on external", rows)
	}
	if s.mustDo("GET", sealed+"test-analysis", "", &rows); rows[0].Token != s.token[analysisKind] {
		t.Errorf("token: got %+v, want it when it is asked for", rows)
	}
	got := s.do(access.Reader, "GET", sealed+"test-analysis", "")
	var seen []json.RawMessage
	if err := json.Unmarshal(got.result, &seen); err != nil || strings.Contains(got.body, s.token[analysisKind]) {
		t.Errorf("asked for by a reader: got %s, want no token", got.body)
	}
}
