package panel

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// fill replaces {id} in the pattern of a route by the id of a record there.
func fill(pattern string, ids map[string]string) string {
	for part, id := range ids {
		if strings.HasPrefix(pattern, "/panel/"+part+"/") {
			return strings.ReplaceAll(pattern, "{id}", id)
		}
	}
	return strings.ReplaceAll(pattern, "{$}", "")
}

func TestEveryPageKeepsItsScope(t *testing.T) {
	s := newSite(t)
	ids := map[string]string{"secrets": s.secret("MAIL_PROD", "value-of-the-secret").ID,
		"analyses": s.analysis("Reports").ID, "access": s.policy("Red reads mail", access.Allow).ID}
	// A second version, or there is nothing to roll back to.
	if _, err := s.vault.Secrets.Update(t.Context(), "test", ids["secrets"], secrets.Change{Value: redact.New("value-of-the-secret")}); err != nil {
		t.Fatalf("Update: %v", err)
	}
	nobody, reader, admin := s.browser(""), s.browser(access.Reader), s.browser(access.Admin)
	for _, row := range routes() {
		if row.scope == everybody {
			continue
		}
		path := fill(row.pattern, ids)
		ask := func(b *browser) page {
			if row.method == http.MethodGet {
				return b.get(path)
			}
			return b.post(path)
		}
		if got := ask(nobody); got.status != http.StatusSeeOther || !strings.HasPrefix(got.to(), "/panel/login") {
			t.Errorf("%s %s without a login: got %d to %q, want 303 to the login", row.method, path, got.status, got.to())
		}
		if row.pattern == "/panel/logout" {
			continue
		}
		want := http.StatusOK
		if row.scope == admins {
			want = http.StatusForbidden
		}
		got := ask(reader)
		if got.status != want {
			t.Errorf("%s %s as reader: got %d, want %d", row.method, path, got.status, want)
		}
		if row.pattern != "/panel/access/explain" { // which asks and changes nothing
			got.lacks(t, "<form", "<button", "New Secret", "/edit", "/delete")
		}
		if row.method != http.MethodGet {
			continue
		}
		if got := ask(admin); got.status != http.StatusOK {
			t.Errorf("GET %s as admin: got %d, want 200:\n%s", path, got.status, got.body)
		}
	}
}

func TestEveryAnswerHasTheHeaders(t *testing.T) {
	s := newSite(t)
	admin := s.browser(access.Admin)
	const csp = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	for _, path := range []string{"/panel", "/panel/", "/panel/login", "/panel/secrets", "/panel/nothing", "/panel/secrets/nothing",
		"/panel/static/panel.css", "/panel/static/mark.svg", "/panel/static/", "/panel/static/../login"} {
		got := admin.get(path)
		for name, want := range map[string]string{"Content-Security-Policy": csp, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"} {
			if h := got.header.Get(name); h != want {
				t.Errorf("%s: header %s is %q, want %q", path, name, h, want)
			}
		}
	}
	for path, want := range map[string]string{"/panel/static/panel.css": "text/css; charset=utf-8", "/panel/static/mark.svg": "image/svg+xml"} {
		if got := s.browser("").get(path); got.status != http.StatusOK || got.header.Get("Content-Type") != want {
			t.Errorf("%s: got %d %s, want 200 %s", path, got.status, got.header.Get("Content-Type"), want)
		}
	}
}

func TestNoPageHasWhatTheRulesForbid(t *testing.T) {
	s := newSite(t)
	ids := map[string]string{"secrets": s.secret("MAIL_PROD", "value-of-the-secret").ID,
		"analyses": s.analysis("Reports").ID, "access": s.policy("Red reads mail", access.Allow).ID}
	admin := s.browser(access.Admin)
	for _, row := range routes() {
		if row.method != http.MethodGet {
			continue
		}
		p := admin.get(fill(row.pattern, ids))
		p.lacks(t, "<script", " style=", "<style", "javascript:", " onclick", "http://", "https://", "value-of-the-secret", "own-value-1", "ZgotmplZ")
	}
}

func TestAFormOfAnotherSiteIsRefused(t *testing.T) {
	s := newSite(t)
	admin := s.browser(access.Admin)
	secret := s.secret("MAIL_PROD", "value-of-the-secret")
	for _, row := range []struct {
		name   string
		change func(h http.Header)
	}{
		{"sent by another site", func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }},
		{"sent by another host of the domain", func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site") }},
		{"with a foreign origin in an old browser", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "https://evil.test") }},
		{"with the origin null", func(h http.Header) { h.Del("Sec-Fetch-Site"); h.Set("Origin", "null") }},
	} {
		req := admin.form("/panel/secrets/" + secret.ID + "/delete")
		row.change(req.Header)
		if got := admin.do(req); got.status != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", row.name, got.status)
		}
	}
	if _, err := s.vault.Secrets.Info(t.Context(), secret.ID); err != nil {
		t.Errorf("the secret after refused forms: %v, want it there", err)
	}
}

func TestASealedStoreShowsWhy(t *testing.T) {
	s := newSite(t)
	admin := s.browser(access.Admin)
	s.sealed.Store(true)
	for _, path := range []string{"/panel/login", "/panel/secrets", "/panel/access"} {
		got := admin.get(path)
		if got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: got %d, want 503", path, got.status)
		}
		got.has(t, "Sealed", "The master key is another one")
	}
	if got := admin.get("/panel/static/panel.css"); got.status != http.StatusOK {
		t.Errorf("style sheet while sealed: got %d, want 200", got.status)
	}
}

func TestARedisThatIsAwayIsAPageAndALogLine(t *testing.T) {
	s := newSite(t)
	admin := s.browser(access.Admin)
	addr := s.redis.Addr()
	s.redis.Close()
	got := admin.get("/panel/secrets")
	if got.status != http.StatusInternalServerError {
		t.Errorf("got %d, want 500", got.status)
	}
	got.lacks(t, addr, "connection refused")
	if !strings.Contains(s.log.String(), "panel page failed") {
		t.Errorf("log is %q, want the failure", s.log.String())
	}
}

func TestALongFormIsRefused(t *testing.T) {
	s := newSite(t)
	got := s.browser(access.Admin).post("/panel/secrets", "key", "BIG", "text", strings.Repeat("x", maxBody))
	if got.status != http.StatusBadRequest {
		t.Errorf("got %d, want 400", got.status)
	}
}

func TestPagesThatAreNotThere(t *testing.T) {
	s := newSite(t)
	admin := s.browser(access.Admin)
	const none = "0123456789abcdef01234567"
	for _, path := range []string{"/panel/none", "/panel/secrets/" + none, "/panel/analyses/" + none, "/panel/access/" + none,
		"/panel/secrets/" + none + "/delete", "/panel/analyses/" + none + "/edit", "/panel/access/" + none + "/edit",
		"/panel/access/explain?analysis=" + none + "&secret=NONE", "/panel/static/none.css"} {
		if got := admin.get(path); got.status != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, got.status)
		}
	}
}

// payloads try to leave each place that a text can land in.
func payloads() []string {
	return []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' autofocus onfocus='alert(1)`,
		`</textarea><svg onload=alert(1)>`, `javascript:alert(1)`, `{{.Token}}`, `]]><b>x</b>`, `</title><h1 id=pwned>`}
}

func TestTextOfOthersIsInert(t *testing.T) {
	s := newSite(t)
	admin := s.browser(access.Admin)
	for _, bad := range payloads() {
		// Each refused form shows its fields again; each taken one is shown later.
		shown := []page{
			admin.post("/panel/secrets", "type", "text", "key", bad, "text", "abcdefgh", "tag-key", bad, "tag-value", bad),
			admin.post("/panel/secrets", "type", "smtp", "key", "X", "smtp_server", bad, "from", bad, "server_name", bad, "tls", bad),
			admin.post("/panel/secrets", "type", bad, "key", "X"),
			admin.post("/panel/analyses", "name", bad, "description", bad, "run_on", bad, "runtime", bad, "variable-key", bad, "tag-key", bad, "tag-value", bad),
			admin.post("/panel/access", "name", bad, "targets", "1", "t0-kind", bad, "t0-how", "tag", "t0-a", bad, "t0-b", bad,
				"permissions", "1", "p0-effect", bad, "p0-how", "raw", "p0-a", bad, "p0-others", bad),
			admin.post("/panel/login", "token", bad, "next", bad),
			admin.get("/panel/login?next=" + strings.ReplaceAll(bad, " ", "+")),
			admin.get("/panel/access/explain?analysis=" + strings.ReplaceAll(bad, " ", "+") + "&secret=x"),
			admin.get("/panel/secrets?done=" + strings.ReplaceAll(bad, " ", "+")),
		}
		s.steps = nil
		secret := s.secretWith("smtp", bad)
		shown = append(shown, admin.must(admin.post("/panel/secrets/"+secret+"/tags", "tag-key", bad, "tag-value", bad)),
			admin.get("/panel/secrets"), admin.get("/panel/secrets/"+secret+"/tags"), admin.get("/panel/secrets/"+secret+"/value"))
		name := bad
		made, _, err := s.vault.Directory.CreateAnalysis(t.Context(), "test", access.AnalysisChange{Name: &name, Description: &name})
		if err != nil {
			t.Fatalf("create analysis %q: %v", bad, err)
		}
		policy := s.policy(bad, access.Allow)
		for _, path := range []string{"/panel/analyses", "/panel/analyses/" + made.ID, "/panel/analyses/" + made.ID + "/edit",
			"/panel/analyses/" + made.ID + "/delete", "/panel/access", "/panel/access/" + policy.ID, "/panel/access/" + policy.ID + "/edit",
			"/panel/access/" + policy.ID + "/delete", "/panel/access/explain"} {
			shown = append(shown, admin.get(path))
		}
		for i, p := range shown {
			for _, raw := range []string{"<script", "<svg", "<img src=x", "onerror=alert(1)>", "' autofocus onfocus='", "<b>x", "<h1 id=pwned", `href="javascript:`} {
				if strings.Contains(p.body, raw) {
					t.Errorf("page %d shows %q as markup for %q:\n%s", i, raw, bad, p.body)
				}
			}
		}
	}
}

func TestATestShowsItsTextAsText(t *testing.T) {
	s := newSite(t)
	id := s.secretWith("smtp", "X")
	for _, bad := range payloads() {
		s.steps = steps(bad)
		s.browser(access.Admin).post("/panel/secrets/"+id+"/test").lacks(t, "<script", "<svg", "<img src=x", "<h1 id=pwned")
	}
}

func TestAPanicIsAPageWithoutItsValue(t *testing.T) {
	s := newSite(t)
	id := s.secretWith("smtp", "X")
	s.steps = nil
	h := s.handler().(*panel)
	h.testers = panics{}
	srv := httptest.NewServer(h)
	defer srv.Close()
	s.url = srv.URL
	got := s.browser(access.Admin).post("/panel/secrets/" + id + "/test")
	if got.status != http.StatusInternalServerError {
		t.Errorf("got %d, want 500", got.status)
	}
	got.lacks(t, "SECRET-IN-PANIC")
	if log := s.log.String(); strings.Contains(log, "SECRET-IN-PANIC") || !strings.Contains(log, "helpers_test.go") {
		t.Errorf("log is %s, want the stack without the value", log)
	}
}

func TestTheNavigationLeadsToPagesThatAreThere(t *testing.T) {
	s := newSite(t)
	admin := s.browser(access.Admin)
	body := admin.get("/panel/secrets").body
	var links []string
	for _, part := range strings.Split(body, `href="`)[1:] {
		link, _, _ := strings.Cut(part, `"`)
		links = append(links, link)
		if strings.HasPrefix(link, "/") {
			if got := admin.get(link); got.status != http.StatusOK {
				t.Errorf("%s: got %d, want 200", link, got.status)
			}
		}
	}
	if !slices.Contains(links, "/panel/analyses") || !slices.Contains(links, "/panel/access") {
		t.Errorf("links are %v, want the parts of the panel", links)
	}
}
