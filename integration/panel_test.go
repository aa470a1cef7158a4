package integration_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
)

// hostile is a name and a tag that run if a page shows them as markup: they
// would change the title, which the browser prints.
const hostile = `"><img src=x onerror="document.title='PWNED'"><script>document.title='PWNED'</script>`

// chromium shows pages of a site as a user that is logged in would see them.
type chromium struct {
	t      *testing.T
	binary string
	url    string // of a proxy that adds the cookie: a browser without a person cannot log in
	user   http.Client
	site   string
	answer string // what the proxy shows at /answer: the page after a form
}

// newChromium logs in at the site and starts the proxy. The test is skipped
// when there is no browser on this machine.
func newChromium(t *testing.T, site, token string) *chromium {
	t.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: the pages of the panel are not looked at in a browser")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &chromium{t: t, binary: binary, site: site, user: http.Client{Jar: jar, Timeout: soon}}
	if page := c.post("/panel/login", "token", token); !strings.Contains(page, "Secrets") {
		t.Fatalf("login: got %s", page)
	}
	target, err := url.Parse(site)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		for _, cookie := range jar.Cookies(target) {
			r.Out.AddCookie(cookie)
		}
	}})
	mux.HandleFunc("/answer", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.answer) })
	proxy := httptest.NewServer(mux)
	t.Cleanup(proxy.Close)
	c.url = proxy.URL
	return c
}

// post sends a form, names and values in turn, and returns the page that it
// leads to.
func (c *chromium) post(path string, fields ...string) string {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	resp, err := c.user.PostForm(c.site+path, form)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.answer = string(text)
	return resp.Request.URL.Path + "\n" + c.answer
}

// run starts the browser for one page and returns what it printed.
func (c *chromium) run(path string, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), later)
	defer cancel()
	all := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--enable-logging=stderr", "--user-data-dir=" + c.t.TempDir()}, args...)
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, c.binary, append(all, c.url+path)...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, time.Second
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("chromium %s: %v\n%s", path, err, stderr.String())
	}
	if strings.Contains(stderr.String(), "Content Security Policy") {
		c.t.Errorf("%s breaks the policy of its page:\n%s", path, stderr.String())
	}
	return stdout.String()
}

// dom returns the page after the browser has built it.
func (c *chromium) dom(path string) string { return c.run(path, "--dump-dom") }

// shoot keeps a picture of the page, for a person to look at.
func (c *chromium) shoot(dir, name, path string) {
	c.t.Helper()
	for _, size := range []struct{ name, window string }{{"wide", "1280,900"}, {"narrow", "500,1100"}} {
		for scheme, number := range map[string]string{"dark": "0", "light": "1"} {
			file := filepath.Join(dir, name+"-"+size.name+"-"+scheme+".png")
			c.run(path, "--screenshot="+file, "--window-size="+size.window, "--blink-settings=preferredColorScheme="+number)
		}
	}
}

func TestThePanelInABrowser(t *testing.T) {
	s := newSite(t)
	mail := newMailSink(t)
	srv := s.serve("SEALPOST_ALLOW_NET=" + mail.Addr())
	c := newChromium(t, srv.API, s.Token)
	c.fill(mail)
	pages := c.pages()

	for name, path := range pages {
		dom := c.dom(path)
		if !strings.Contains(dom, "<title>") || strings.Contains(dom, "<title>PWNED") || !strings.Contains(dom, "Sealpost</title>") {
			t.Errorf("%s (%s): the title is not the page's own:\n%s", name, path, dom)
		}
		for _, value := range []string{mailPassword, "own-variable-value"} {
			if strings.Contains(dom, value) {
				t.Errorf("%s (%s) shows a value", name, path)
			}
		}
	}
	if got := c.dom(pages["secrets"]); !strings.Contains(got, "&lt;script&gt;") {
		t.Errorf("the list of secrets does not show the hostile tag as text:\n%s", got)
	}
	shots := os.Getenv("SEALPOST_TEST_SCREENSHOTS") // a folder, to look at the pages
	for name, form := range map[string]struct {
		path   string
		fields []string
		want   string
	}{
		"verdict":  {path: "/panel/secrets/MAIL_PROD/test", want: "The test passed"},
		"token":    {path: pages["analysis"] + "/token", want: "Copy it now"},
		"mistakes": {path: "/panel/secrets", fields: []string{"type", "smtp", "key", "a key", "smtp_server", "x y"}, want: "Nothing was saved"},
	} {
		if got := c.post(form.path, form.fields...); !strings.Contains(got, form.want) {
			t.Errorf("%s lacks %q: %s", name, form.want, got)
		}
		if shots != "" {
			c.shoot(shots, name, "/answer")
		}
	}
	if shots != "" {
		for name, path := range pages {
			c.shoot(shots, name, path)
		}
	}
}

const mailPassword = "mail.pa55-W0rd"

// newMailSink starts a mail server that takes one login.
func newMailSink(t *testing.T) *sink.SMTP {
	t.Helper()
	m, err := sink.StartSMTP(sink.SMTPConfig{Username: "user", Password: mailPassword})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// fill stores a small site through the forms, as a person would.
func (c *chromium) fill(mail *sink.SMTP) {
	c.t.Helper()
	host, port, _ := strings.Cut(mail.Addr(), ":")
	for _, form := range [][]string{
		{"/panel/secrets", "type", "smtp", "key", "MAIL_PROD", "smtp_server", host, "smtp_port", port, "username", "user", "password", mailPassword,
			"ca_pem", string(mail.CAPEM()), "from", "reports@example.test", "tag-key", "team", "tag-value", "reports", "tag-key", "env", "tag-value", "prod"},
		{"/panel/secrets", "type", "text", "key", "API_KEY", "text", "sk-test-3290473298", "tag-key", "team", "tag-value", "reports"},
		{"/panel/secrets", "type", "text", "key", "HOSTILE", "text", "abcdefgh", "tag-key", "note", "tag-value", hostile},
		{"/panel/secrets", "type", "sqs", "key", "EVENTS_QUEUE", "aws_region", "eu-west-1", "queue_url", "https://sqs.eu-west-1.amazonaws.com/123456789012/events",
			"access_key_id", "AKIAEXAMPLE", "secret_access_key", "wJalrXUtnFEMI", "tag-key", "team", "tag-value", "billing"},
		{"/panel/analyses", "name", "Daily report", "description", "Reads the mail login and sends the report of the day.", "active", "1", "run_on", "tago", "runtime", "node",
			"tag-key", "team", "tag-value", "reports", "variable-key", "API_KEY", "variable-value", "own-variable-value", "variable-key", "REPORT_DAYS", "variable-value", "own-variable-value"},
		{"/panel/analyses", "name", hostile, "active", "1", "run_on", "external", "runtime", "python"},
		{"/panel/access", "name", "Reports read their secrets", "active", "1", "targets", "1", "t0-kind", "analysis", "t0-how", "tag", "t0-a", "team", "t0-b", "reports",
			"permissions", "1", "p0-effect", "allow", "p0-how", "match", "p0-a", "team", "p0-action", "access", "tag-key", "env", "tag-value", "prod"},
		{"/panel/access", "name", "Nobody edits " + hostile[:8], "active", "1", "targets", "1", "t0-kind", "analysis", "t0-how", "any",
			"permissions", "1", "p0-effect", "deny", "p0-how", "any", "p0-action", "edit", "p0-action", "delete"},
	} {
		if got := c.post(form[0], form[1:]...); strings.Contains(got, "Nothing was saved") || strings.HasPrefix(got, "/panel/login") {
			c.t.Fatalf("form %s: %s", form[2:4], got)
		}
	}
}

// pages are those to look at, by name.
func (c *chromium) pages() map[string]string {
	c.t.Helper()
	page := func(list, name string) string {
		before, _, ok := strings.Cut(c.dom(list), ">"+name+"</a>")
		if !ok {
			c.t.Fatalf("%s does not list %s", list, name)
		}
		return before[strings.LastIndex(before, `href="`)+len(`href="`) : len(before)-1]
	}
	analysis, policy := page("/panel/analyses", "Daily report"), page("/panel/access", "Reports read their secrets")
	_, id, _ := strings.Cut(analysis, "/analyses/")
	return map[string]string{"secrets": "/panel/secrets", "secret": "/panel/secrets/MAIL_PROD", "secret-new": "/panel/secrets/new?type=smtp",
		"secret-delete": "/panel/secrets/MAIL_PROD/delete", "analyses": "/panel/analyses", "analysis": analysis, "analysis-edit": analysis + "/edit",
		"policies": "/panel/access", "policy": policy, "policy-edit": policy + "/edit",
		"explain": "/panel/access/explain?analysis=" + id + "&secret=MAIL_PROD", "login": "/panel/login", "missing": "/panel/nothing"}
}
