package post

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/sealpost/sealpost/queue"
)

// payloads are values of data that try to be more than a value.
var payloads = []string{
	// Line ends, in all their forms.
	"\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "a\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil.test", "\u2028X-Evil: 1", "\u2029X-Evil: 1", "\u0085X-Evil: 1", "\x0bX-Evil: 1", "\x0cX-Evil: 1",
	"%0d%0aX-Evil:%201", "%0aX-Evil: 1", "%E5%98%8A%E5%98%8DX-Evil: 1", "\u560a\u560dX-Evil: 1", "\\r\\nX-Evil: 1", "\x00X-Evil: 1", "a\x00b", "\x1b[31m", "\x7f", "\u200b", "\u202eevil", "\ufeff", "\ufffd",
	"\r\nContent-Length: 0\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\nHost: evil.test", "\r\nAuthorization: x", " \r\n folded", "\tX",
	// Other hosts.
	"@evil.test", "@evil.test/", ":pw@evil.test", "://evil.test", "//evil.test", "///evil.test", "https://evil.test", "http://evil.test/", "\\\\evil.test", "\\@evil.test", "/\\evil.test", ".evil.test", ":80@evil.test",
	"evil.test#", "evil.test?", "#@evil.test", "?@evil.test", "%40evil.test", "%2f%2fevil.test", "%252f%252fevil.test", "javascript:alert(1)", "file:///etc/passwd", "\tevil.test", " evil.test", "。evil.test", "／／evil.test",
	// Other paths and other parameters.
	"../../etc/passwd", "..\\..\\", "%2e%2e%2f", "..%2f", "%2e%2e/", "....//", "./", "/", "//", "a/b", "a?b=c", "a&b=c", "a;b=c", "a=b", "a#b", "a+b", "a%20b", "%", "%%", "%zz", "%00", "a b", "&admin=1", "?admin=1", "#admin",
	// Templates.
	"$VALUE$", "$DEVICE$", "$UNIT$", "$VARIABLE$$VALUE$", "$$VALUE$$", "$", "$$", "$DEVICE.NAME$", "$SECRET.HOOK_TOKEN$", "${secret:HOOK_TOKEN}", "{{.Secret}}", "{{ secret }}", "{% x %}", "<%= x %>", "#{x}", "${jndi:ldap://evil.test/a}",
	"$(id)", "`id`", "%s%s%n", "%!s(MISSING)", "{0}", "\\u0024VALUE\\u0024", "$\u200bVALUE$", "＄VALUE＄",
	// Quotes and brackets of other languages, and odd text.
	`"`, `'`, `\`, `\"`, "<script>alert(1)</script>", "</a>", "<!--", "]]>", "';DROP TABLE x;--", "ünïcödé", "日本語", "😀", strings.Repeat("a", 2000), "null", "true", "-1", "1e400", "[]", "{}",
}

// dataWith returns data whose every variable is the value.
func dataWith(t testing.TB, value string) string {
	t.Helper()
	raw, err := json.Marshal([]map[string]any{{
		"variable": value, "value": value, "unit": value, "time": value, "device": map[string]any{"id": value, "name": value},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// templates have a variable at each place of a URL where one may be.
var templates = []string{
	"https://good.test/$VALUE$", "https://good.test/a/$VALUE$/b", "https://good.test/a-$VALUE$-b?x=1", "https://good.test?$VALUE$", "https://good.test/?x=$VALUE$", "https://good.test/?x=$VALUE$&y=$DEVICE$#$UNIT$",
	"https://good.test/$VARIABLE$$VALUE$$UNIT$/$DEVICE$?$DEVICE.NAME$=$TIME$",
}

func TestValuesStayValues(t *testing.T) {
	t.Logf("%d payloads in %d templates", len(payloads), len(templates))
	if len(payloads) < 100 {
		t.Fatalf("only %d payloads", len(payloads))
	}
	a := New(Config{Vault: newVault()})
	defer a.Close()
	for _, value := range payloads {
		for _, template := range templates {
			checkFilled(t, a, template, "x $VALUE$ y", value)
		}
	}
}

// checkFilled prepares a job with the value and compares the request with what
// the template says.
func checkFilled(t *testing.T, a *Action, template, header, value string) {
	t.Helper()
	j := job(t, dataWith(t, value), fields{"url": template, "headers": fields{"X-One": header, "X-Two": "$DEVICE.NAME$"}, "header_secrets": fields{"Authorization": "HOOK_TOKEN"}})
	prepared, err := a.Prepare(j)
	if err != nil {
		if strings.Contains(err.Error(), "has a step . or .. in its path") || strings.Contains(err.Error(), "is longer than") {
			return // refused, and for a reason
		}
		t.Errorf("%q in %s: %v", value, template, err)
		return
	}
	w := prepared.(*work)
	u, err := url.Parse(w.plan.url)
	if err != nil || u.Scheme != "https" || u.Host != "good.test" || u.User != nil || u.Fragment != "" || w.plan.origin != "https://good.test" {
		t.Errorf("%q in %s: leads to %s, %v", value, template, w.plan.url, err)
		return
	}
	bare := strings.NewReplacer("$VARIABLE$", "", "$VALUE$", "", "$UNIT$", "", "$TIME$", "", "$DEVICE$", "", "$DEVICE.NAME$", "")
	path, query, _ := strings.Cut(strings.TrimPrefix(strings.SplitN(template, "#", 2)[0], "https://good.test"), "?")
	for _, part := range []struct {
		name, got, want string
		special         string
	}{{"path", u.EscapedPath(), bare.Replace(path), "/?#;\\ "}, {"query", u.RawQuery, bare.Replace(query), "&=;#+\\ "}} {
		for _, c := range part.special { // a value adds none of what divides
			if got, want := strings.Count(part.got, string(c)), strings.Count(part.want, string(c)); got != want {
				t.Errorf("%q in %s: the %s has %d of %q, want %d: %s", value, template, part.name, got, c, want, part.got)
			}
		}
	}
	checkHeaders(t, w, j, value)
}

// checkHeaders makes the headers as an attempt does.
func checkHeaders(t *testing.T, w *work, j *queue.Job, value string) {
	t.Helper()
	c := queue.NewClaim(j, 1, nil)
	in, _, err := w.open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	h, err := w.header(c, in)
	if err != nil {
		t.Errorf("%q: %v", value, err)
		return
	}
	names := make([]string, 0, len(h))
	for name, values := range h {
		names = append(names, name)
		if len(values) != 1 || !httpguts.ValidHeaderFieldValue(values[0]) || strings.ContainsAny(values[0], "\r\n\x00\u2028\u2029\u0085") {
			t.Errorf("%q: header %s is %q", value, name, values)
		}
	}
	slices.Sort(names)
	if want := []string{"Authorization", "Content-Type", "Idempotency-Key", "Tagoio-Retries", "User-Agent", "X-One", "X-Two"}; !slices.Equal(names, want) {
		t.Errorf("%q: headers %q", value, names)
	}
	if h.Get("Authorization") != token {
		t.Errorf("%q: Authorization is %q", value, h.Get("Authorization"))
	}
	for _, got := range []string{h.Get("X-One"), h.Get("X-Two"), w.plan.url} {
		if strings.Contains(got, token) || strings.Contains(got, "canary") {
			t.Errorf("%q: a value opened a secret: %q", value, got)
		}
	}
	// What was filled in is not looked at again: every $ of the value is there.
	if got, want := strings.Count(h.Get("X-One"), "$"), strings.Count(value, "$"); got != want {
		t.Errorf("%q: %d dollars in %q, want %d", value, got, h.Get("X-One"), want)
	}
	if got := w.plan.body; string(got) != string(j.Data) {
		t.Errorf("%q: the body is %s", value, got)
	}
}

func TestTheWireHasNothingMore(t *testing.T) {
	w := newWorld(t, 0)
	for i, value := range payloads {
		j := job(t, dataWith(t, value), fields{"url": w.sink.URL() + "/p?x=$VALUE$", "headers": fields{"X-One": "$VALUE$"}})
		if _, err := do(t.Context(), t, w.action, j, 1); err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		if n := w.sink.Count(); n != i+1 {
			t.Fatalf("%q made %d requests", value, n-i)
		}
	}
	for i, r := range w.sink.Requests() {
		q, err := url.ParseQuery(strings.TrimPrefix(r.Path, "/p?"))
		if err != nil || len(q) != 1 || q.Get("x") != payloads[i] {
			t.Errorf("%q came as %s", payloads[i], r.Path)
		}
		for name := range r.Header {
			if !slices.Contains([]string{"Content-Type", "Content-Length", "User-Agent", "Idempotency-Key", "Tagoio-Retries", "X-One"}, name) {
				t.Errorf("%q made a header %s", payloads[i], name)
			}
		}
		var back []map[string]any
		if err := json.Unmarshal(r.Body, &back); err != nil || len(back) != 1 || back[0]["value"] != payloads[i] {
			t.Errorf("%q came in the body as %s", payloads[i], r.Body)
		}
	}
}

func FuzzFilledRequest(f *testing.F) {
	for _, value := range payloads {
		f.Add(value)
	}
	a := New(Config{Vault: newVault()})
	f.Cleanup(func() { _ = a.Close() })
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) || len(value) > 2500 {
			return // JSON would change it; a longer one is refused as too long
		}
		for _, template := range templates {
			checkFilled(t, a, template, "x $VALUE$ y", value)
		}
	})
}

func FuzzURLs(f *testing.F) {
	for i, u := range append(slices.Clone(templates), forbidden("8443", []string{"localhost"})...) {
		if i < len(templates) || i%16 == 0 { // each of them is tried by TestNoURLReachesWhatNoJobMayReach
			f.Add(u)
		}
	}
	a := New(Config{Vault: newVault()})
	f.Cleanup(func() { _ = a.Close() })
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		prepared, err := a.Prepare(job(t, `[{"value":"evil.test"}]`, fields{"url": text}))
		if err != nil {
			if len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Errorf("the error shows the URL: %v", err)
			}
			return
		}
		w := prepared.(*work)
		r, err := http.NewRequest(http.MethodPost, w.plan.url, nil)
		if err != nil {
			t.Fatalf("%q gave %q: %v", text, w.plan.url, err)
		}
		if origin := fmt.Sprintf("%s://%s", r.URL.Scheme, r.URL.Host); origin != w.plan.origin || r.URL.User != nil || r.URL.Opaque != "" {
			t.Errorf("%q: origin %q, want %q", text, origin, w.plan.origin)
		}
		before, _, _ := strings.Cut(strings.SplitN(text, "://", 2)[1], "/")
		if !strings.Contains(before, "evil") && strings.Contains(w.plan.origin, "evil") {
			t.Errorf("%q leads to %q", text, w.plan.origin)
		}
	})
}
