package server

import (
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
)

// raw asks as a token of the kind and returns the answer without looking for an
// envelope in it.
func (s *site) raw(kind access.Kind, path string, headers ...string) (status int, header http.Header, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("token", s.token[kind])
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestAnAnalysisGetsItsEnvironment(t *testing.T) {
	s := newSite(t)
	s.grantSecret("DB_URL", "canary-secret-value")
	s.grantSecret("SHADOWED", "canary-overridden")
	s.setVariables("SHADOWED", "own wins", "a-b", "1 < 2 & 3")
	want := `[{"key":"DB_URL","value":"canary-secret-value"},{"key":"SHADOWED","value":"own wins"},{"key":"a-b","value":"1 < 2 & 3"}]`
	path := "/analysis/" + s.tokenID[analysisKind] + "/environment"
	for _, tt := range []struct {
		name string
		kind access.Kind
		path string
	}{
		{"the analysis itself", analysisKind, "/environment"},
		{"the analysis by its id", analysisKind, path},
		{"an admin", access.Admin, path},
	} {
		got := s.do(tt.kind, "GET", tt.path, "")
		if got.status != 200 || string(got.result) != want {
			t.Errorf("%s: got %d %s, want %s", tt.name, got.status, got.body, want)
		}
		if got.header.Get("Cache-Control") != "no-store" || got.header.Get("ETag") == "" {
			t.Errorf("%s: headers %v, want no-store and an ETag", tt.name, got.header)
		}
	}
	if status, _, body := s.raw(analysisKind, "/environment?format=json"); status != 200 || strings.TrimSpace(body) != want {
		t.Errorf("json: got %d %s, want the array alone", status, body)
	}
	entries, err := s.store.Audit(t.Context(), 1)
	if err != nil || entries[0].Op != "environment" || entries[0].Actor != "analysis "+s.tokenID[analysisKind] {
		t.Errorf("audit: got %+v, %v, want the environment of the analysis", entries, err)
	}
}

func TestAnEnvironmentIsRefused(t *testing.T) {
	s := newSite(t)
	s.grantSecret("DB_URL", "canary-secret-value")
	var other struct{ ID, Token string }
	s.mustDo("POST", "/analysis", `{"name":"other"}`, &other)
	own := "/analysis/" + s.tokenID[analysisKind] + "/environment"
	tests := []struct {
		name   string
		kind   access.Kind
		path   string
		status int
		want   string
	}{
		{"to another analysis", analysisKind, "/analysis/" + other.ID + "/environment", 403, denied},
		{"to a reader", access.Reader, own, 403, "admin"},
		{"to a producer", access.Producer, own, 403, "admin"},
		{"to an admin who has none", access.Admin, "/environment", 403, "analysis"},
		{"to nobody", "", own, 401, denied},
		{"of an analysis that is not there", access.Admin, "/analysis/0123456789abcdef01234567/environment", 404, "Analysis Not Found"},
		{"in an unknown format", access.Admin, own + "?format=xml", 400, "format"},
		{"with a wait that is none", access.Admin, own + "?wait=soon", 400, "wait"},
		{"with an explain that is none", access.Admin, own + "?explain=maybe", 400, "explain"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(tt.kind, "GET", tt.path, "")
			if got.status != tt.status || !strings.Contains(got.message, tt.want) {
				t.Errorf("got %d %q, want %d with %q", got.status, got.message, tt.status, tt.want)
			}
			if strings.Contains(got.body, "canary") {
				t.Errorf("the value is shown: %s", got.body)
			}
		})
	}
	s.mustDo("PUT", "/analysis/"+s.tokenID[analysisKind], `{"active":false}`, nil)
	if got := s.do(access.Admin, "GET", own, ""); got.status != 403 || !strings.Contains(got.message, "not active") {
		t.Errorf("inactive: got %d %q, want 403", got.status, got.message)
	}
	if got := s.do(analysisKind, "GET", "/environment", ""); got.status != 401 {
		t.Errorf("inactive, itself: got %d, want 401", got.status)
	}
}

func TestAnEnvironmentThatTheClientHasIsNotSentAgain(t *testing.T) {
	s := newSite(t)
	id := s.grantSecret("DB_URL", "canary-secret-value")
	_, h, _ := s.raw(analysisKind, "/environment")
	etag := h.Get("ETag")
	for _, known := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if status, h, body := s.raw(analysisKind, "/environment", "If-None-Match", known); status != 304 || body != "" || h.Get("ETag") != etag {
			t.Errorf("If-None-Match %s: got %d %q %q, want 304 without a body", known, status, body, h.Get("ETag"))
		}
	}
	if status, h, _ := s.raw(analysisKind, "/environment?format=shell", "If-None-Match", etag); status != 200 || h.Get("ETag") == etag {
		t.Errorf("another format: got %d %s, want it in full with a tag of its own", status, h.Get("ETag"))
	}
	s.mustDo("PUT", "/secrets/"+id, `{"value":"canary-secret-value"}`, nil)
	if status, h, _ := s.raw(analysisKind, "/environment", "If-None-Match", etag); status != 200 || h.Get("ETag") == etag {
		t.Errorf("the same value as a new version: got %d %s, want another tag: it must not tell that values are equal", status, h.Get("ETag"))
	}
}

func TestALongPollEndsWithTheChange(t *testing.T) {
	s := newSite(t)
	other := s.process()
	_, h, _ := s.raw(analysisKind, "/environment")
	start := time.Now()
	if status, _, _ := s.raw(analysisKind, "/environment?wait=100ms", "If-None-Match", h.Get("ETag")); status != 304 || time.Since(start) > 5*time.Second {
		t.Errorf("without a change: got %d after %s, want 304 in time", status, time.Since(start))
	}
	type result struct {
		status int
		body   string
	}
	done := make(chan result)
	go func() {
		status, _, body := s.raw(analysisKind, "/environment?wait=30s", "If-None-Match", h.Get("ETag"))
		done <- result{status, body}
	}()
	other.grantSecret("NEW", "canary-new-value") // in another process
	if got := <-done; got.status != 200 || !strings.Contains(got.body, "canary-new-value") || time.Since(start) > 20*time.Second {
		t.Errorf("with a change: got %+v after %s, want the new secret at once", got, time.Since(start))
	}
}

func TestATokenThatIsRevokedWhileItWaitsGetsNothing(t *testing.T) {
	s := newSite(t)
	_, h, _ := s.raw(analysisKind, "/environment")
	done := make(chan string)
	go func() {
		status, _, body := s.raw(analysisKind, "/environment?wait=30s", "If-None-Match", h.Get("ETag"))
		done <- http.StatusText(status) + body
	}()
	if _, err := s.directory.RotateToken(t.Context(), "test", s.tokenID[analysisKind]); err != nil {
		t.Fatal(err)
	}
	s.grantSecret("NEW", "canary-new-value")
	if got := <-done; !strings.HasPrefix(got, "Unauthorized") || strings.Contains(got, "canary") {
		t.Errorf("got %s, want 401", got)
	}
}

func TestExplainShowsNoValue(t *testing.T) {
	s := newSite(t)
	id := s.grantSecret("DB_URL", "canary-secret-value")
	s.grantSecret("SHADOWED", "canary-overridden")
	denied := s.grantSecret("DENIED", "canary-denied")
	s.mustDo("POST", "/am", `{"name":"never","targets":[["analysis"]],"permissions":[{"effect":"deny","action":["access"],"resource":["secrets","id","`+denied+`"]}]}`, nil)
	s.setVariables("SHADOWED", "canary-own")
	got := s.do(analysisKind, "GET", "/environment?explain=true", "")
	if got.status != 200 || strings.Contains(got.body, "canary") {
		t.Fatalf("got %d %s, want it without values", got.status, got.body)
	}
	var view explainedView
	if err := json.Unmarshal(got.result, &view); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, part := range [][]originView{view.Keys, view.Shadowed, view.Denied} {
		for _, k := range part {
			line := k.Key + " " + k.Origin
			if k.Policy != nil {
				line += " " + string(k.Policy.Effect) + " " + k.Policy.Name
			}
			lines = append(lines, line)
		}
	}
	want := []string{"DB_URL secret allow grants DB_URL", "SHADOWED variable", "SHADOWED secret allow grants SHADOWED", "DENIED secret deny never"}
	if diff := cmp.Diff(lines, want); diff != "" || view.Keys[0].Secret != id || view.Keys[0].Version != 1 {
		t.Errorf("explain %+v (-got +want):\n%s", view, diff)
	}
}

// nasty are values that break quoting that is not done right.
var nasty = []entryView{
	{"EMPTY", ""}, {"PLAIN", "a-b_c./:1"}, {"SPACES", "  two  words "}, {"SINGLE", "it's"}, {"DOUBLE", `say "hi"`},
	{"BOTH", `'"'"'`}, {"DOLLAR", "$HOME ${HOME} $(id) `id`"}, {"MIXED", "it's $HOME `id` \\ \"x\""}, {"BACKSLASH", `a\nb\\c\`},
	{"LINES", "one\ntwo\n"}, {"HASH", "a #b"}, {"JSON", `{"password":"p'w"}`}, {"BANG", "a!b"}, {"EQUALS", "a=b"}, {"TILDE", "~"}, {"UNICODE", "grün ✓"},
}

func TestAShellReadsBothFormatsAsTheyWere(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	env := append([]entryView{{"a-b", "not a name"}, {"X;touch /tmp/x", "command"}, {"", "none"}}, nasty...)
	for name, text := range map[string]string{"shell": shell(env), "dotenv": dotenv(env)} {
		script := text + "\nset -- "
		var want strings.Builder
		for _, e := range nasty {
			script += `"$` + e.Key + `" `
			want.WriteString(e.Value + "\x00")
		}
		got, err := exec.CommandContext(t.Context(), sh, "-euc", script+"\nprintf '%s\\0' \"$@\"").Output()
		if err != nil || string(got) != want.String() {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want.String())
		}
		if strings.Contains(text, "touch") || !strings.Contains(text, "# 3 more") {
			t.Errorf("%s: got %s, want the keys that are no names left out", name, text)
		}
	}
}

func TestTheFormatsAreText(t *testing.T) {
	s := newSite(t)
	s.setVariables("OWN", "it's")
	for format, want := range map[string]string{"shell": "export OWN='it'\\''s'\n", "dotenv": "OWN=\"it's\"\n"} {
		status, h, body := s.raw(analysisKind, "/environment?format="+format)
		if status != 200 || body != want || h.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: got %d %q %s, want %q", format, status, body, h.Get("Content-Type"), want)
		}
	}
}

// TestAKnownEnvironmentIsAnsweredAsBefore asks again and again: the first answer
// is made the long way, those after it from what the process knows.
func TestAKnownEnvironmentIsAnsweredAsBefore(t *testing.T) {
	s := newSite(t)
	s.grantSecret("DB_URL", "canary-secret-value")
	s.setVariables("OWN", "it's")
	for _, path := range []string{"/environment", "/environment/", "/environment?format=json", "/environment?format=dotenv", "/environment?format=shell"} {
		status, first, body := s.raw(analysisKind, path)
		for range 2 {
			again, h, text := s.raw(analysisKind, path)
			first.Del("Date")
			h.Del("Date")
			if diff := cmp.Diff(first, h); status != 200 || again != status || text != body || diff != "" {
				t.Errorf("%s: got %d %q, want %d %q again; headers (-first +again):\n%s", path, again, text, status, body, diff)
			}
		}
	}
	if want := `sealpost_secret_opens_total{result="ok",type="text"} 15`; !strings.Contains(scrape(t, s.metrics), want) {
		t.Errorf("want one secret opened for each of the 15 answers: %s", want)
	}
	s.redis.Close()
	if got := s.do(analysisKind, "GET", "/environment", ""); got.status != 503 || got.message != noRedis || got.header.Get("Retry-After") == "" {
		t.Errorf("without Redis: got %d %q, want 503", got.status, got.body)
	}
	s.sealed.Store(true)
	if got := s.do(analysisKind, "GET", "/environment", ""); got.status != 503 || !strings.Contains(got.message, "master key") {
		t.Errorf("sealed: got %d %q, want 503 and the reason", got.status, got.body)
	}
}
