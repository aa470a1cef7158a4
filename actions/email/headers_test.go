package email

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// attachment is a file of a job.
func attachment(name, content, media string) map[string]string {
	m := map[string]string{"filename": name, "content": base64.StdEncoding.EncodeToString([]byte(content))}
	if media != "" {
		m["type"] = media
	}
	return m
}

func TestFilesArriveAsTheyAre(t *testing.T) {
	names := []string{"data.csv", "a b; c=\"d\".txt", "Grüße 🎉?.pdf", strings.Repeat("ä", 127), "=?utf-8?q?x?=.txt", "%41.txt"}
	var list []map[string]string
	var want []file
	for i, name := range names {
		content := strings.Repeat("\x00\xff\r\n.\r\n", 200*i+1)
		list = append(list, attachment(name, content, "text/x-test; charset=utf-8; name=x"))
		want = append(want, file{name, "text/x-test; charset=utf-8", []byte(content)})
	}
	_, raw, err := build(t, job(t, "1", fields{"html": "<b>x</b>", "attachments": list}))
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, raw)
	if d := cmp.Diff(got.Files, want, cmp.AllowUnexported(file{})); d != "" {
		t.Error(d)
	}
	if got.Text != "Text" || got.HTML != "<b>x</b>" || got.bare || got.longest > 998 {
		t.Errorf("text %q, html %q, bare line ends %v, longest line %d", got.Text, got.HTML, got.bare, got.longest)
	}
}

func TestTheTypeOfAFileIsThatOfItsName(t *testing.T) {
	for name, want := range map[string]string{"a.html": "text/html; charset=utf-8", "a.unheard-of": "application/octet-stream", "a": "application/octet-stream"} {
		_, raw, err := build(t, job(t, "1", fields{"attachments": []any{attachment(name, "x", "")}}))
		if err != nil {
			t.Fatal(err)
		}
		if got := parse(t, raw).Files[0].media; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	good := attachment("a.txt", "x", "")
	with := func(field string, value any) []any {
		m := map[string]any{field: value}
		for k, v := range good {
			if k != field {
				m[k] = v
			}
		}
		return []any{good, m}
	}
	many := make([]map[string]string, maxFiles+1)
	for i := range many {
		many[i] = good
	}
	for _, tt := range []struct {
		name string
		list any
		want string
	}{
		{"too many", many, "more than 20"},
		{"a text", []any{"canary"}, "file 1: want a JSON object"},
		{"an unknown field", with("canari", "canary"), `file 2: unknown field "canari"`},
		{"capital letters", with("FileName", "canary"), `file 2: unknown field "FileName"`},
		{"null", with("type", nil), `file 2: field "type": want a text`},
		{"no name", with("filename", ""), "file 2: filename"},
		{"a path", with("filename", "../canary"), "file 2: filename"},
		{"a path of another system", with("filename", `..\canary`), "file 2: filename"},
		{"a line end in the name", with("filename", "canary\r\nX: y"), "file 2: filename: has a control character"},
		{"a long name", with("filename", strings.Repeat("canary", 50)), "file 2: filename"},
		{"no base64", with("content", "canary%"), "file 2: content: is not base64"},
		{"nothing in it", with("content", ""), "file 2: content: is empty"},
		{"blanks in it", with("content", "ICAg"), "file 2: content: is empty"},
		{"no media type", with("type", "canary"), "file 2: type: want a media type"},
		{"a line end in the type", with("type", "text/plain\r\nX: canary"), "file 2: type: want a media type"},
		{"a multipart", with("type", "multipart/mixed; boundary=canary"), "neither multipart nor message"},
		{"a mail", with("type", "message/rfc822"), "neither multipart nor message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(job(t, "1", fields{"attachments": tt.list}))
			checkRefused(t, err, tt.want)
		})
	}
}

func TestHeadersArriveAsTheyAre(t *testing.T) {
	j := job(t, "1", fields{"headers": map[string]string{
		"x-order": "no $VALUE$", "X-Long": strings.Repeat("long  word ", 80), "X-Free": "Grüße =?utf-8?q?x?= 🎉", "X-Word": strings.Repeat("w", 900),
		"References": "<a@x.test> <b@x.test>", "in-reply-to": "<b@x.test>", "Auto-Submitted": "auto-generated", "Precedence": "bulk",
		"List-Id": "News <news.x.test>", "Importance": "high", "Organization": "Büro",
	}})
	j.Data = json.RawMessage(`[{"value":"1\r\nBcc: evil@x.test"}]`)
	_, raw, err := build(t, j)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, raw)
	want := []header{
		{"Auto-Submitted", "auto-generated"}, {"Importance", "high"}, {"In-Reply-To", "<b@x.test>"}, {"List-Id", "News <news.x.test>"},
		{"Organization", "Büro"}, {"Precedence", "bulk"}, {"References", "<a@x.test> <b@x.test>"}, {"X-Free", "Grüße =?utf-8?q?x?= 🎉"},
		{"X-Long", strings.TrimSpace(strings.Repeat("long word ", 80))}, {"X-Order", "no 1  Bcc: evil@x.test"}, {"X-Word", strings.Repeat("w", 900)},
	}
	for i := range want {
		want[i].value = unfold(want[i].value)
	}
	if d := cmp.Diff(got.Added, want, cmp.AllowUnexported(header{})); d != "" {
		t.Errorf("%s\n%s", d, raw)
	}
	if got.bare || got.longest > 998 {
		t.Errorf("bare line ends %v, longest line %d", got.bare, got.longest)
	}
}

func TestBadHeadersAreRefused(t *testing.T) {
	for _, name := range []string{
		"From", "to", "Cc", "Bcc", "Sender", "Reply-To", "Return-Path", "Received", "Subject", "Date", "Message-ID", "MIME-Version",
		"Content-Type", "Content-Transfer-Encoding", "DKIM-Signature", "Resent-From", "ARC-Seal", "Authentication-Results",
		"Disposition-Notification-To", "List-Unsubscribe", "list-unsubscribe-post", "X-", "List-", "", "X-a:b", "X-a b", "X-ä", "X-a\r\nBcc", strings.Repeat("X-", 33),
	} {
		_, err := decode(job(t, "1", fields{"headers": map[string]string{"X-A": "a", name: "canary"}}))
		checkRefused(t, err, `field "headers": header `)
	}
	many := map[string]string{}
	for i := range maxHeaders + 1 {
		many[fmt.Sprint("X-", i)] = "v"
	}
	for name, tt := range map[string]struct {
		headers any
		want    string
	}{
		"too many":               {many, "more than 50"},
		"a number":               {map[string]any{"X-A": 1}, "header 1 of 1: want a text"},
		"null":                   {map[string]any{"X-A": nil}, "header 1 of 1: want a text"},
		"twice":                  {map[string]string{"X-a": "v", "x-A": "canary"}, "header 2 of 2: stands twice"},
		"empty":                  {map[string]string{"X-A": " "}, "has no value"},
		"a line end":             {map[string]string{"X-A": "canary\r\nBcc: x"}, "control character"},
		"too long":               {map[string]string{"X-A": strings.Repeat("canary", 151)}, "900 bytes"},
		"no ASCII in References": {map[string]string{"References": "<cänary@x.test>"}, "ASCII only"},
		"an array":               {[]string{"canary"}, "want an object, got an array"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(job(t, "1", fields{"headers": tt.headers}))
			checkRefused(t, err, tt.want)
		})
	}
}

func TestListUnsubscribe(t *testing.T) {
	long := "https://x.test/?u=" + strings.Repeat("a", 800)
	for _, tt := range []struct {
		name       string
		more       fields
		list, post string
	}{
		{"one address", fields{"list_unsubscribe": "https://x.test/u?id=1"}, "<https://x.test/u?id=1>", "List-Unsubscribe=One-Click"},
		{"two addresses", fields{"list_unsubscribe": []string{"mailto:u@x.test?subject=off", "https://x.test/u"}},
			"<mailto:u@x.test?subject=off>, <https://x.test/u>", "List-Unsubscribe=One-Click"},
		{"only a mail address", fields{"list_unsubscribe": "mailto:u@x.test"}, "<mailto:u@x.test>", ""},
		{"no POST", fields{"list_unsubscribe": "https://x.test/u", "list_unsubscribe_post": false}, "<https://x.test/u>", ""},
		{"POST without https", fields{"list_unsubscribe": "mailto:u@x.test", "list_unsubscribe_post": true}, "<mailto:u@x.test>", ""},
		{"none", fields{"list_unsubscribe": []string{}}, "", ""},
		{"a variable", fields{"list_unsubscribe": "https://x.test/$VALUE$?v=$VALUE$"}, "<https://x.test/a%3E%0D%0ABcc%3A%20b%2F..%3F?v=a%3E%0D%0ABcc%3A%20b%2F..%3F>", "List-Unsubscribe=One-Click"},
		{"long ones", fields{"list_unsubscribe": []string{long, long}}, "<" + long + ">, <" + long + ">", "List-Unsubscribe=One-Click"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := job(t, "1", tt.more)
			j.Data = json.RawMessage(`[{"value":"a>\r\nBcc: b/..?"}]`)
			_, raw, err := build(t, j)
			if err != nil {
				t.Fatal(err)
			}
			got := parse(t, raw)
			if got.Unsubscribe != tt.list || got.Post != tt.post || got.longest > 998 || got.bare {
				t.Errorf("got %q %q, want %q %q\n%s", got.Unsubscribe, got.Post, tt.list, tt.post, raw)
			}
		})
	}
	for name, uri := range map[string]any{
		"http": "http://canary.test/", "javascript": "javascript:canary", "no scheme": "canary.test/u", "no host": "https:///canary",
		"a login": "https://canary:x@x.test/", "brackets": "https://x.test/>, <https://canary.test/", "a blank": "https://x.test/canary x",
		"a line end": "https://x.test/\r\ncanary", "beyond ASCII": "https://x.test/cänary", "mailto nobody": "mailto:canary",
		"a variable as host": "https://$VALUE$/canary", "a number": 1, "an array in an array": []any{[]string{"canary"}}, "long": "https://x.test/" + strings.Repeat("canary", 150),
		"many": strings.Split(strings.Repeat("https://x.test/ ", 11), " ")[:11],
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, "1", fields{"list_unsubscribe": uri})
			j.Data = json.RawMessage(`[{"value":"evil.test/?"}]`)
			_, err := decode(j)
			checkRefused(t, err, `field "list_unsubscribe"`)
		})
	}
}

func TestHeaderFieldsAreOfTheRightKind(t *testing.T) {
	_, err := decode(job(t, "1", fields{"list_unsubscribe_post": "canary"}))
	checkRefused(t, err, `"list_unsubscribe_post": want true or false, got a text`)
}
