package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// agent is how the public Python client names itself.
const agent = "TagoIO-SDK|Python|5.1.2 (External; Python/3.12)"

// python is a request as the public Python client writes it: its agent, and a
// content type on all requests, also on those without a body. (Go sends no body
// for an empty one.)
func (s *site) python(method, path, token, body string) answer {
	s.t.Helper()
	return s.wire(wire{method: method, path: path, token: token, body: body, header: map[string]string{
		"User-Agent": agent, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "keep-alive",
	}})
}

// pythonSite is a site with three secrets, two analyses of which one is
// inactive, and a policy.
func pythonSite(t *testing.T) (s *site, id, token string) {
	s = newSite(t)
	s.serve()
	for key, tag := range map[string]string{"ALPHA": "team=ops", "BETA": "team=dev", "GAMMA": "stage=live"} {
		if err := s.Run("value-of-"+key, "secret", "put", key, "--tag", tag).Err(); err != nil {
			t.Fatal(err)
		}
	}
	id, token = s.analysis("first", "--tag", "team=ops", "--var", "REGION=eu")
	s.analysis("second", "--active=false", "--tag", "team=ops")
	err := s.Run("", "policy", "create", "--name", "ops", "--analysis-id", id, "--allow", "secrets:access", "--secret-tag", "team=ops").Err()
	if err != nil {
		t.Fatal(err)
	}
	return s, id, token
}

func TestPythonListsAreUnderstood(t *testing.T) {
	s, _, _ := pythonSite(t)
	tests := []struct {
		name, path string
		want       string // JSON; ids are left out
	}{
		{"fields repeated", "/secrets?page=1&fields=id&fields=key&amount=20&orderBy=key%2Casc",
			`[{"key":"ALPHA"},{"key":"BETA"},{"key":"GAMMA"}]`},
		{"one field", "/secrets?page=1&fields=key&amount=2&orderBy=key,desc", `[{"key":"GAMMA"},{"key":"BETA"}]`},
		{"a tag with key and value", "/secrets?fields=key&filter[tags][0][key]=team&filter[tags][0][value]=dev", `[{"key":"BETA"}]`},
		{"brackets escaped", "/secrets?fields=key&filter%5Btags%5D%5B0%5D%5Bkey%5D=team", `[{"key":"ALPHA"},{"key":"BETA"}]`},
		{"a wildcard", "/secrets?fields=key&filter%5Bkey%5D=%2AAMM%2A", `[{"key":"GAMMA"}]`},
		{"beyond the last page", "/secrets?page=2&fields=key", `[]`},
		{"a boolean with a capital: True", "/analysis/?fields=name&filter%5Bactive%5D=True",
			`[{"name":"first","tags":[{"key":"team","value":"ops"}],"last_run":"never"}]`},
		{"a boolean with a capital: False", "/analysis/?fields=name&filter%5Bactive%5D=False",
			`[{"name":"second","tags":[{"key":"team","value":"ops"}],"last_run":"never"}]`},
		{"policies that are active", "/am?fields=name&fields=active&filter%5Bactive%5D=True",
			`[{"name":"ops","active":true,"tags":[]}]`},
		{"no actions", "/action?page=1&fields=id&fields=name&amount=20&orderBy=name%2Casc", `[]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.python(http.MethodGet, tt.path, "", "")
			if got.Code != http.StatusOK || !got.Status {
				t.Fatalf("got %+v, want 200", got)
			}
			if diff := cmp.Diff(decoded(t, tt.want), withoutIDs(t, got.Result)); diff != "" {
				t.Errorf("list (-want +got):\n%s", diff)
			}
		})
	}
}

// withoutIDs decodes a list and takes the ids out, which differ in each run;
// they must be there if a field was asked for, and that has tests of its own.
func withoutIDs(t *testing.T, list json.RawMessage) any {
	t.Helper()
	rows, ok := decoded(t, string(list)).([]any)
	if !ok {
		t.Fatalf("got %s, want an array", list)
	}
	for _, row := range rows {
		delete(row.(map[string]any), "id")
		delete(row.(map[string]any), "profile")
	}
	return rows
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	return v
}

func TestPythonWritesAreUnderstood(t *testing.T) {
	s, id, token := pythonSite(t)
	unknown := strings.Repeat("0", 24)
	tests := []struct {
		name, method, path, token, body string
		code                            int
		want                            string // a pattern for the result, or for the message of a refusal
	}{
		{"a secret is created", "POST", "/secrets", "", `{"key": "delta", "value": "value-of-DELTA", "tags": []}`, 200, `^\{"id":"[0-9a-f]{24}"\}$`},
		{"text outside ASCII is escaped", "POST", "/secrets", "", `{"key": "EPSILON", "value": "\u00e9\u00e8\u20ac\ud83d\ude00!!"}`, 200, `^\{"id":`},
		{"an analysis is told about itself", "GET", "/info", token, "", 200, `"run_on":"external"`},
		{"an analysis is edited", "PUT", "/analysis/" + id, "", `{"variables": [{"key": "REGION", "value": "us"}]}`, 200, `^"Successfully Updated"$`},
		{"an analysis is shown", "GET", "/analysis/" + id, "", "", 200, `"variables":\[\{"key":"REGION","value":"us"\}\]`},
		{"a run without a scope", "POST", "/analysis/" + id + "/run", "", `{"scope": null}`, 200, `^\{"analysis_token":""\}$`},
		{"a console line with a text as its time", "POST", "/analysis/services/console/send", token,
			`{"message": "from Python", "timestamp": "2026-01-02 03:04:05.678901"}`, 200, `^"`},
		{"a console line with a time in milliseconds", "POST", "/analysis/services/console/send", token,
			`{"message": "in milliseconds", "timestamp": 1767323045678}`, 200, `^"`},
		{"the console keeps both times", "GET", "/analysis/" + id, "", "",
			200, `"console":\["2026-01-02T03:04:05\.678Z from Python","2026-01-02T03:04:05\.678Z in milliseconds"\]`},
		{"a delete has a content type and no body", "DELETE", "/secrets/DELTA", "", "", 200, `^"Successfully Removed"$`},
		{"a secret that is not there", "GET", "/secrets/" + unknown, "", "", 404, `^Secret Not Found$`},
		{"an analysis that is not there", "DELETE", "/analysis/" + unknown, "", "", 404, `^Analysis Not Found$`},
		{"a policy that is not there", "GET", "/am/" + unknown, "", "", 404, `^Access Management Not Found$`},
		{"an action that is not there", "GET", "/action/" + unknown, "", "", 404, `^Action Not Found$`},
		{"a token that is none", "GET", "/secrets", "a-00000000-0000-0000-0000-000000000000", "", 401, `^Authorization Denied$`},
		{"an analysis that may not", "POST", "/secrets", token, `{"key": "ZETA", "value": "value-of-ZETA"}`, 403, `^Authorization Denied$`},
		{"a route that is not there", "GET", "/bucket", "", "", 404, `.`},
		{"a method that is not there", "PATCH", "/secrets", "", "{}", 405, `.`},
		{"a body that is no JSON", "POST", "/secrets", "", `{'key': 'A'}`, 400, `.`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.python(tt.method, tt.path, tt.token, tt.body)
			if got.Code != tt.code || got.Status != (tt.code == http.StatusOK) {
				t.Fatalf("got %d, status %v: %s%s; want %d", got.Code, got.Status, got.Result, got.Message, tt.code)
			}
			text := string(got.Result)
			if !got.Status {
				text = got.Message
			}
			if !regexp.MustCompile(tt.want).MatchString(text) {
				t.Errorf("got %s, want a match of %s", text, tt.want)
			}
		})
	}
}

// TestPythonListens reads the stream as the Python client does: channel in the
// singular, the token in the query, blocks that end with an empty line, and no
// length that would have it wait for a full buffer.
func TestPythonListens(t *testing.T) {
	s, id, token := pythonSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.API+"/events?channel=analysis_trigger&token="+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/event-stream") || resp.ContentLength >= 0 {
		t.Fatalf("got status %d, %q, length %d; want 200, text/event-stream, chunks", resp.StatusCode, got, resp.ContentLength)
	}
	began := time.Now()
	if got := s.python(http.MethodPost, "/analysis/"+id+"/run", "", `{"scope": [{"variable": "v", "value": 1}]}`); !got.Status {
		t.Fatalf("run: %+v", got)
	}
	var event struct {
		Payload struct {
			Environment []map[string]string `json:"environment"`
			Data        json.RawMessage     `json:"data"`
			AnalysisID  string              `json:"analysis_id"`
			Token       string              `json:"token"`
		} `json:"payload"`
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &event); err != nil {
				t.Fatalf("decode %s: %v", data, err)
			}
			break
		}
	}
	t.Logf("the event came after %v", time.Since(began))
	want := []map[string]string{{"key": "ALPHA", "value": "value-of-ALPHA"}, {"key": "REGION", "value": "eu"}}
	if diff := cmp.Diff(want, event.Payload.Environment); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if p := event.Payload; string(p.Data) != `[{"variable":"v","value":1}]` && string(p.Data) != `[{"variable": "v", "value": 1}]` || p.AnalysisID != id || p.Token != token {
		t.Errorf("got data %s of analysis %s with its own token: %v; want the scope, %s, true", p.Data, p.AnalysisID, p.Token == token, id)
	}
}
