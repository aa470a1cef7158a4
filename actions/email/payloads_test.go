package email

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/queue"
)

// payloads are texts that do harm where a template is not careful.
func payloads() []string {
	list := []string{
		// Message variables, which are filled once.
		"$DEVICE$", "$VALUE$", "$$VALUE$$", "$VALUE", "VALUE$", "$", "$$", "$UNKNOWN$", "$DEVICE.NAME$", "$VALUE$$DEVICE$", "$VAL$DEVICE$UE$", "%24DEVICE%24", "&#36;DEVICE&#36;", "\\$DEVICE\\$", "$SMTP.PASSWORD$", "$device$",
		// Other template languages.
		"{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{{constructor.constructor('x')()}}", "${jndi:ldap://x.test/a}", "{%raw%}", "{{.Env}}", "`id`", "$(id)", "%s%n%x", "%(x)s", "{0}", "[[x]]", "@{x}", "*{x}",
		// HTML.
		"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'><svg/onload=alert(1)>", "</style><script>x</script>", "<!--", "-->", "<![CDATA[x]]>", "&lt;b&gt;", "&amp;", "javascript:alert(1)", "<a href=\"data:text/html,x\">", "\" autofocus onfocus=\"x", "<iframe srcdoc='x'>", "<meta http-equiv=refresh>",
		// Headers and MIME.
		"=?utf-8?q?x?=", "=?utf-8?b?DQpCY2M6IHhAeS50ZXN0?=", "=?utf-8?q?=0D=0ABcc:_x?=", "=?x", "?=", "a =?utf-8?q?b?= c", "--boundary--", "--", "Content-Type: text/html", "Bcc: evil@y.test", ": x", "a: b", "<evil@y.test>", "evil@y.test", "a@x.test, evil@y.test", "a@x.test; evil@y.test", "\"a\" <evil@y.test>", "a@x.test> NOTIFY=NEVER <b@y.test", "(comment)", "group: a@x.test, b@x.test;", "\\\"", "\"", "'", "\\", "a\\",
		// SMTP and bodies.
		".", "..", ".x", "From x", "QUIT", "a=3Db", "=", "=0D=0A", "a=\u00a0",
		// Paths, queries, files.
		"../../etc/passwd", "..\\x", "/", "?a=b#c", "#", "&x=y", "https://evil.test/", "//evil.test", "a.exe", "con", "x;filename=y", "x\"; filename=\"y", "*''x", "utf-8''x",
		// Letters.
		"ä", "🎉", "\u202eexe.txt", "\u200b", "\ufeff", "\u2028", "\u2029", "\u0085", "\u00a0", "\x00", "\x1b[31m", "\x7f", "\ufffd", "ﬀ", "e\u0301", " ", "  ", "\t", " lead", "trail ",
		strings.Repeat("x", 2000), strings.Repeat("ä", 500), strings.Repeat("a ", 600), strings.Repeat("=", 500),
	}
	for _, end := range []string{"\r\n", "\n", "\r", "\r\n\r\n", "\n\n", "\r\r\n", "\u2028", "\x0b", "\x0c", "%0d%0a", "\\r\\n", "&#13;&#10;"} {
		for _, rest := range []string{"Bcc: evil@y.test", ".\r\nMAIL FROM:<x>", " folded", "Content-Type: text/html\r\n\r\n<b>"} {
			list = append(list, "x"+end+rest)
		}
	}
	return list
}

// fieldsOf puts a text into each field in turn, as clients do.
func fieldsOf(text string) map[string]fields {
	return map[string]fields{
		"subject": {"subject": text}, "message": {"message": text}, "html": {"html": text},
		"from": {"from": text}, "name": {"from": text + " <me@sender.test>"}, "to": {"to": text}, "to name": {"to": text + " <b@receiver.test>"},
		"cc": {"cc": text}, "bcc": {"bcc": text}, "reply_to": {"reply_to": text},
		"header": {"headers": map[string]string{"X-A": text, "X-B": "b"}}, "header of ASCII": {"headers": map[string]string{"References": text}},
		"header name": {"headers": map[string]string{text: "b"}}, "X- header name": {"headers": map[string]string{"X-" + text: "b"}},
		"list_unsubscribe": {"list_unsubscribe": text}, "path": {"list_unsubscribe": "https://x.test/" + text}, "host": {"list_unsubscribe": "https://" + text + "/"},
		"mailto":   {"list_unsubscribe": []string{"https://x.test/", "mailto:u@x.test?subject=" + text}},
		"filename": {"attachments": []any{attachment(text, "x", "")}}, "content": {"attachments": []any{attachment("a", text, "")}},
		"type": {"attachments": []any{map[string]string{"filename": "a", "content": "eA==", "type": text}}},
	}
}

// checkPlan compares a mail with its plan: what a reader sees, and nothing more.
func checkPlan(t *testing.T, pl *plan, raw []byte) {
	t.Helper()
	got := parse(t, raw)
	if got.bare || got.longest > 998 {
		t.Errorf("a bare line end %v, longest line %d in\n%q", got.bare, got.longest, raw)
	}
	for i, h := range got.Headers {
		known := slices.Contains(usualHeaders, h) || strings.HasPrefix(h, "List-Unsubscribe") || slices.ContainsFunc(pl.headers, func(a header) bool { return a.name == h })
		if !known || i > 0 && got.Headers[i-1] == h {
			t.Errorf("header %s in\n%q", h, raw)
		}
	}
	var uris []string
	for _, uri := range pl.unsubscribe {
		uris = append(uris, "<"+uri+">")
	}
	want := parsed{
		To: format(pl.to), Cc: format(pl.cc), ReplyTo: format(pl.replyTo), Subject: unfold(pl.subject),
		Text: crlf(pl.text), HTML: crlf(pl.html), Files: pl.files, Unsubscribe: strings.Join(uris, ", "),
	}
	if pl.oneClick {
		want.Post = "List-Unsubscribe=One-Click"
	}
	for _, h := range pl.headers {
		want.Added = append(want.Added, header{h.name, unfold(decoded(h.value))})
	}
	slices.SortFunc(want.Added, func(a, b header) int { return strings.Compare(a.name, b.name) })
	for i := range got.Added {
		got.Added[i].value = unfold(got.Added[i].value)
	}
	got.Subject = unfold(got.Subject)
	got.Headers, got.From, got.MessageID, got.Date, got.lines, got.longest, got.bare = nil, "", "", "", 0, 0, false
	if d := cmp.Diff(got, want, cmp.AllowUnexported(parsed{}, file{}, header{})); d != "" {
		t.Errorf("%s\n%q", d, raw)
	}
}

func TestPayloadsStayWhatTheyAre(t *testing.T) {
	list := payloads()
	if len(list) < 100 {
		t.Fatalf("%d payloads, want 100", len(list))
	}
	built, refused := 0, 0
	for _, payload := range list {
		for field, more := range fieldsOf(payload) {
			j := job(t, "1", more)
			j.Data = json.RawMessage(`[{"value":"other","device":"canary-device"}]`)
			pl, raw, err := build(t, j)
			if err != nil {
				refused++
				if outcome(err) != "dead" {
					t.Errorf("%s %q: %v", field, payload, err)
				}
				continue
			}
			built++
			checkPlan(t, pl, raw)
			if t.Failed() {
				t.Fatalf("%s %q", field, payload)
			}
		}
	}
	t.Logf("%d payloads in %d fields: %d mails, %d refused", len(list), len(fieldsOf("")), built, refused)
}

func TestValuesStayWhatTheyAre(t *testing.T) {
	const marked = "a $VALUE$ z"
	for _, payload := range payloads() {
		data, err := json.Marshal([]map[string]string{{"value": payload, "device": "canary-device", "unit": "canary-unit"}})
		if err != nil {
			t.Fatal(err)
		}
		j := job(t, "1", fields{"subject": marked, "message": marked, "html": "<p title=\"$VALUE$\">$VALUE$</p>", "headers": map[string]string{"X-A": marked},
			"list_unsubscribe": []string{"https://x.test/$VALUE$?v=$VALUE$", "mailto:u@x.test?subject=$VALUE$"}, "to": "$VALUE$ <b@receiver.test>", "from": "$VALUE$"})
		j.Data = data
		pl, raw, err := build(t, j)
		if err != nil {
			if len(payload) < 200 || outcome(err) != "dead" { // only long ones are too much
				t.Errorf("%q: %v", payload, err)
			}
			continue
		}
		checkPlan(t, pl, raw)
		checkValues(t, payload, pl)
		if strings.Contains(string(raw), "canary") || strings.Contains(fmt.Sprint(pl), "canary") {
			t.Errorf("%q was filled twice:\n%s", payload, raw)
		}
		if t.Failed() {
			t.Fatalf("%q", payload)
		}
	}
}

// checkValues looks whether a value can be read back from every place.
func checkValues(t *testing.T, payload string, pl *plan) {
	t.Helper()
	inner := strings.TrimSuffix(strings.TrimPrefix(pl.html, `<p title="`), "</p>")
	title, text, found := strings.Cut(inner, `">`)
	for _, s := range []string{title, text} {
		if !found || strings.ContainsAny(s, `<>"'`) || plainText(html.UnescapeString(s)) != plainText(payload) {
			t.Errorf("html %q", pl.html)
		}
	}
	for _, s := range []string{pl.subject, pl.text} {
		if got := strings.TrimSuffix(strings.TrimPrefix(s, "a "), " z"); plainText(got) != plainText(payload) {
			t.Errorf("got %q", s)
		}
	}
	u, err := url.Parse(pl.unsubscribe[0])
	if err != nil || u.Host != "x.test" || u.Query().Get("v") != payload || u.Path != "/"+payload || u.Fragment != "" {
		t.Errorf("uri %q: %v", pl.unsubscribe[0], err)
	}
	if u, err = url.Parse(pl.unsubscribe[1]); err != nil || u.Opaque != "u@x.test" || u.Query().Get("subject") != payload {
		t.Errorf("uri %q: %v", pl.unsubscribe[1], err)
	}
	if pl.to[0].Name != "$VALUE$" || pl.fromName != "$VALUE$" || pl.to[0].Address != "b@receiver.test" {
		t.Errorf("an address was filled: %+v", pl.to[0])
	}
}

// plainText drops what an escape may change: control characters and blanks.
func plainText(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r <= 0xa0 || r == '\u2028' || r == '\u2029'
	}), "")
}

// FuzzAddedFieldsAreThePlan is FuzzBuiltMailIsThePlan for the other fields.
func FuzzAddedFieldsAreThePlan(f *testing.F) {
	f.Add("X-A", "a $VALUE$", "https://x.test/$VALUE$", "mailto:u@x.test", "a.csv", "text/csv", []byte("a,b\r\n"), "b@x.test", "v")
	f.Add("References", "<a@x.test>", "https://x.test/?a=b,c", "", "Grüße.txt", "text/plain; charset=utf-8", []byte("\x00"), "用户@bücher.test", "\r\nBcc: x")
	f.Add("List-Id", "=?utf-8?q?x?=", "mailto:a@b.test", "https://x.test", "\"q\".bin", "", []byte("\r\n.\r\n"), "", "$VALUE$")
	f.Add("x-long", strings.Repeat("ä ", 200), "https://x.test/"+strings.Repeat("a", 800), "https://[::1]/", strings.Repeat("ä", 127), "a/b", []byte("--x"), "a@x.test,b@x.test", "")
	f.Fuzz(func(t *testing.T, name, value, uri, second, filename, media string, content []byte, replyTo, variable string) {
		data, err := json.Marshal([]map[string]string{{"value": variable}})
		if err != nil {
			t.Skip("a value that JSON cannot hold reaches no job")
		}
		uris := []string{uri}
		if second != "" {
			uris = append(uris, second)
		}
		j := job(t, "1", fields{"headers": map[string]string{name: value}, "list_unsubscribe": uris, "reply_to": replyTo,
			"attachments": []any{map[string]string{"filename": filename, "content": base64.StdEncoding.EncodeToString(content), "type": media}}})
		j.Data = data
		var pl *plan
		var raw []byte
		if pl, raw, err = build(t, &queue.Job{ID: j.ID, JID: j.JID, Action: j.Action, Data: j.Data}); err == nil {
			checkPlan(t, pl, raw)
		}
	})
}
