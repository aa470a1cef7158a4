package email

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/queue"
)

// parsed is a mail as an independent reader sees it.
type parsed struct {
	Headers                  []string // names, sorted
	From, To, Cc, ReplyTo    string
	Subject, MessageID, Date string
	Text, HTML               string
	Files                    []file
	Added                    []header // headers that the job asked for
	Unsubscribe, Post        string
	lines                    int
	longest                  int
	bare                     bool // a CR or LF alone
}

// parse reads a raw mail with the standard library.
func parse(t testing.TB, raw []byte) parsed {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("the mail cannot be read: %v\n%s", err, raw)
	}
	var p parsed
	for name, values := range m.Header {
		for range values {
			p.Headers = append(p.Headers, name)
		}
	}
	slices.Sort(p.Headers)
	dec := &mime.WordDecoder{}
	p.From, p.To, p.Cc, p.ReplyTo = list(t, m, "From"), list(t, m, "To"), list(t, m, "Cc"), list(t, m, "Reply-To")
	if p.Subject, err = dec.DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatalf("subject: %v", err)
	}
	p.MessageID, p.Date = m.Header.Get("Message-Id"), m.Header.Get("Date")
	p.Unsubscribe, p.Post = m.Header.Get("List-Unsubscribe"), m.Header.Get("List-Unsubscribe-Post")
	for _, name := range p.Headers {
		if slices.Contains(usualHeaders, name) || strings.HasPrefix(name, "List-Unsubscribe") {
			continue
		}
		value, err := dec.DecodeHeader(m.Header.Get(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p.Added = append(p.Added, header{name, value})
	}
	p.body(t, textproto.MIMEHeader(m.Header), m.Body)
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		p.lines++
		p.longest = max(p.longest, len(line))
		p.bare = p.bare || strings.ContainsAny(line, "\r\n")
	}
	return p
}

// list reads an address header and writes it in one form.
func list(t testing.TB, m *mail.Message, header string) string {
	t.Helper()
	if m.Header.Get(header) == "" {
		return ""
	}
	addresses, err := m.Header.AddressList(header)
	if err != nil {
		t.Fatalf("%s: %v in %q", header, err, m.Header.Get(header))
	}
	return format(addresses)
}

func format(addresses []*mail.Address) string {
	var out []string
	for _, a := range addresses {
		out = append(out, a.Name+"<"+a.Address+">")
	}
	return strings.Join(out, "|")
}

// usualHeaders are those that a mail can have without being asked for more.
var usualHeaders = []string{"Cc", "Content-Transfer-Encoding", "Content-Type", "Date", "Dkim-Signature", "From", "Message-Id", "Mime-Version", "Reply-To", "Subject", "To"}

// body reads a text, a file, or the parts of a multipart.
func (p *parsed) body(t testing.TB, h textproto.MIMEHeader, r io.Reader) {
	t.Helper()
	contentType, encoding := h.Get("Content-Type"), h.Get("Content-Transfer-Encoding")
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatalf("content type %q: %v", contentType, err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		parts := multipart.NewReader(r, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p.body(t, part.Header, part)
		}
	}
	if text := h.Get("Content-Disposition"); text != "" {
		disposition, params, err := mime.ParseMediaType(text)
		if err != nil || disposition != "attachment" || encoding != "base64" {
			t.Fatalf("disposition %q, encoding %q: %v", text, encoding, err)
		}
		content, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, r))
		if err != nil {
			t.Fatal(err)
		}
		p.Files = append(p.Files, file{params["filename"], contentType, content})
		return
	}
	switch encoding {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "7bit":
	default:
		t.Fatalf("encoding %q", encoding)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if encoding == "7bit" {
		for line := range strings.SplitSeq(string(text), "\r\n") {
			if len(line) > 78 || strings.ContainsFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\t' }) {
				t.Fatalf("a line as it stands: %q", line)
			}
		}
	}
	if kind == "text/html" {
		p.HTML = string(text)
	} else {
		p.Text = string(text)
	}
}

// build plans and renders a job.
func build(t testing.TB, j *queue.Job) (*plan, []byte, error) {
	t.Helper()
	pl, err := decode(j)
	if err != nil {
		return nil, nil, err
	}
	from, err := pl.sender("Shop <shop@sender.test>")
	if err != nil {
		t.Fatalf("sender: %v", err)
	}
	raw, err := pl.render(j, from, time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), nil)
	if err != nil {
		t.Fatalf("render: %v", err)
	}
	return pl, raw, nil
}

func TestMailsAreBuiltAsPlanned(t *testing.T) {
	usual := []string{"Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}
	for _, tt := range []struct {
		name  string
		more  fields
		data  string
		want  parsed
		extra []string // headers
	}{
		{"plain text", nil, "", parsed{From: "Shop<shop@sender.test>", To: "<b@receiver.test>", Subject: "Hello", Text: "Text"}, nil},
		{"html", fields{"message": nil, "html": "<b>Hi</b>"}, "", parsed{From: "Shop<shop@sender.test>", To: "<b@receiver.test>", Subject: "Hello", HTML: "<b>Hi</b>"}, nil},
		{"both as alternatives", fields{"html": "<b>Hi</b>"}, "", parsed{From: "Shop<shop@sender.test>", To: "<b@receiver.test>", Subject: "Hello", Text: "Text", HTML: "<b>Hi</b>"}, nil},
		{"a name before the secret's address", fields{"from": "Grüße, Inc."}, "", parsed{From: "Grüße, Inc.<shop@sender.test>", To: "<b@receiver.test>", Subject: "Hello", Text: "Text"}, nil},
		{"an address instead of the secret's", fields{"from": "me@Sender.TEST"}, "", parsed{From: "<me@sender.test>", To: "<b@receiver.test>", Subject: "Hello", Text: "Text"}, nil},
		{"a name and an address", fields{"from": "\"Doe, J\" <me@sender.test>"}, "", parsed{From: "Doe, J<me@sender.test>", To: "<b@receiver.test>", Subject: "Hello", Text: "Text"}, nil},
		{"many recipients", fields{"to": "a@x.test; \"Doe; J\" <b@x.test>,c@x.test,;", "cc": "d@x.test", "bcc": "e@x.test", "reply_to": "f@x.test"}, "",
			parsed{From: "Shop<shop@sender.test>", To: "<a@x.test>|Doe; J<b@x.test>|<c@x.test>", Cc: "<d@x.test>", ReplyTo: "<f@x.test>", Subject: "Hello", Text: "Text"}, []string{"Cc", "Reply-To"}},
		{"a domain beyond ASCII", fields{"to": "b@bücher.test"}, "", parsed{From: "Shop<shop@sender.test>", To: "<b@xn--bcher-kva.test>", Subject: "Hello", Text: "Text"}, nil},
		{"subject and text beyond ASCII", fields{"subject": "Grüße 🎉 " + strings.Repeat("ä", 100), "message": "für\nalle\r\n.\r\n..x"}, "",
			parsed{From: "Shop<shop@sender.test>", To: "<b@receiver.test>", Subject: "Grüße 🎉 " + strings.Repeat("ä", 100), Text: "für\r\nalle\r\n.\r\n..x"}, nil},
		{"variables", fields{"subject": "$VARIABLE$ is $VALUE$", "message": "$VALUE$ $UNIT$", "html": "<i>$VALUE$</i>"}, `[{"variable":"t\r\nBcc: evil@x.test","value":"<b>","unit":"F"}]`,
			parsed{From: "Shop<shop@sender.test>", To: "<b@receiver.test>", Subject: "t  Bcc: evil@x.test is <b>", Text: "<b> F", HTML: "<i>&lt;b&gt;</i>"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := job(t, "order-4711", tt.more)
			j.Data = json.RawMessage(tt.data)
			_, raw, err := build(t, j)
			if err != nil {
				t.Fatal(err)
			}
			got := parse(t, raw)
			if got.bare || got.longest > 998 {
				t.Errorf("a bare line end %v, longest line %d", got.bare, got.longest)
			}
			got.lines, got.longest, got.bare = 0, 0, false
			tt.want.Headers = append(slices.Clone(usual), tt.extra...)
			if tt.want.Text != "" && tt.want.HTML != "" {
				tt.want.Headers = slices.DeleteFunc(tt.want.Headers, func(h string) bool { return h == "Content-Transfer-Encoding" })
			}
			slices.Sort(tt.want.Headers)
			tt.want.Date = "Mon, 23 Nov 2026 10:00:00 +0000"
			tt.want.MessageID = got.MessageID
			if d := cmp.Diff(got, tt.want, cmp.AllowUnexported(parsed{}, file{}, header{})); d != "" {
				t.Errorf("%s\n%s", d, raw)
			}
			if !strings.HasPrefix(got.MessageID, "<order-4711.") || !strings.HasSuffix(got.MessageID, "@sender.test>") {
				t.Errorf("Message-ID %s", got.MessageID)
			}
		})
	}
}

func TestBadMailsAreRefusedByField(t *testing.T) {
	for _, tt := range []struct {
		name string
		more fields
		want string
	}{
		{"no secret", fields{"smtp_secret": nil}, `"smtp_secret"`},
		{"a value in place of a secret's name", fields{"smtp_secret": `{"password":"canary"}`}, `"smtp_secret"`},
		{"no recipient", fields{"to": nil}, "no recipient"},
		{"only separators", fields{"to": " ;,, "}, "no recipient"},
		{"no text", fields{"message": nil}, "no text"},
		{"an unknown field", fields{"attachment": "canary"}, `unknown field "attachment"`},
		{"a file in place of a list", fields{"attachments": "canary"}, `"attachments": want an array, got a text`},
		{"a list of recipients", fields{"to": []string{"canary@x.test"}}, `field "to": want a text, got an array`},
		{"no address", fields{"to": "canary"}, `field "to": address 1: is not a mail address`},
		{"the second is none", fields{"cc": "a@x.test,canary"}, `field "cc": address 2`},
		{"a quoted local part", fields{"to": `"canary> NOTIFY=NEVER "@x.test`}, "quoted or forbidden"},
		{"a local part that turns the direction", fields{"to": "cän\u202eary@x.test"}, "cannot be seen"},
		{"a local part with a mark of direction", fields{"to": "cän\u200fary@x.test"}, "cannot be seen"},
		{"a local part with an isolate", fields{"to": "cän\u2067ary@x.test"}, "cannot be seen"},
		{"a local part with a blank of no width", fields{"to": "cän\u200bary@x.test"}, "cannot be seen"},
		{"a local part with a blank beyond ASCII", fields{"to": "cän\u00a0ary@x.test"}, "cannot be seen"},
		{"a quoted local part beyond ASCII", fields{"to": `"cän ary"@x.test`}, "quoted or forbidden"},
		{"a local part beyond ASCII that is too long", fields{"to": strings.Repeat("ä", 33) + "@x.test"}, "64 bytes"},
		{"a dot at the end of the local part", fields{"to": "canary.@x.test"}, "not a mail address"},
		{"a domain literal", fields{"to": "canary@[127.0.0.1]"}, "domain"},
		{"a domain with a blank", fields{"to": "canary@x y.test"}, "not a mail address"},
		{"a label too long", fields{"to": "canary@" + strings.Repeat("x", 64) + ".test"}, "domain"},
		{"a local part too long", fields{"to": strings.Repeat("x", 65) + "@x.test"}, "64 bytes"},
		{"an address too long", fields{"to": "canary@" + strings.Repeat(strings.Repeat("x", 60)+".", 4) + "test"}, "254 bytes"},
		{"101 recipients", fields{"to": strings.Repeat("a@x.test,", 60), "cc": strings.Repeat("a@x.test,", 41)}, "more than 100"},
		{"101 in one field", fields{"to": strings.Repeat("a@x.test,", 101)}, "more than 100"},
		{"two senders", fields{"from": "a@x.test,b@x.test"}, `"from": want one address`},
		{"a long subject", fields{"subject": strings.Repeat("x", 901)}, `"subject": more than 900`},
		{"NUL in the text", fields{"message": "canary\x00"}, `"message": has a NUL`},
		{"NUL in the html", fields{"html": "canary\x00"}, `"html": has a NUL`},
		{"a backslash in a name", fields{"from": `canary\ä`}, "backslash"},
		{"a very long name", fields{"from": strings.Repeat("canary", 50)}, "255 bytes"},
		{"an encoded line end in a name", fields{"to": "=?utf-8?q?canary=0D=0ABcc:_x?= <a@x.test>"}, "not a mail address"},
		{"an encoded line end in the sender's name", fields{"from": "=?utf-8?q?canary=0D=0ABcc:_x?= <a@x.test>"}, "not a mail address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(job(t, "1", tt.more))
			checkRefused(t, err, tt.want)
		})
	}
}

// checkRefused looks for a permanent error without values.
func checkRefused(t *testing.T, err error, want string) {
	t.Helper()
	if outcome(err) != "dead" || !strings.Contains(err.Error(), want) {
		t.Errorf("got %s %v, want dead %q", outcome(err), err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "canary") || len(err.Error()) > 300) {
		t.Errorf("the error repeats the job: %v", err)
	}
}

func TestControlCharactersAreRefusedInEveryHeader(t *testing.T) {
	for _, field := range []string{"from", "to", "cc", "bcc", "reply_to", "subject", "smtp_secret"} {
		for _, evil := range []string{"\r\nBcc: canary@x.test", "\nX: y", "\r", "\x00", "\x1b[0m", "\x7f", "\u0085", "\u2028"} {
			for _, value := range []string{"a@x.test" + evil, evil + "a@x.test", "a" + evil + "@x.test", "Name" + evil + " <a@x.test>"} {
				_, err := decode(job(t, "1", fields{field: value}))
				if outcome(err) != "dead" {
					t.Errorf("%s %q: got %v", field, value, err)
				} else {
					checkRefused(t, err, field)
				}
			}
		}
	}
}

func TestMessageIDsAreStableAndValid(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{"a", "a:b", "a.b", ".a", "a.", "a..b", "...", strings.Repeat("x", 128), "q0-1-0", ":", "-", "_"} {
		j := &queue.Job{ID: id, JID: "1-0"}
		got := MessageID(j, "me@sender.test")
		if got != MessageID(j, "you@sender.test") {
			t.Errorf("%s: not the same twice", id)
		}
		if again := MessageID(&queue.Job{ID: id, JID: "2-0"}, "me@sender.test"); again == got {
			t.Errorf("%s: the same for another job of this id", id)
		}
		if seen[got] {
			t.Errorf("%s: %s was there", id, got)
		}
		seen[got] = true
		if a, err := mail.ParseAddress(got); err != nil || a.Address != got {
			t.Errorf("%s: %s is no dot-atom: %v", id, got, err)
		}
	}
}

// FuzzBuiltMailIsThePlan puts anything into every field: what is built must
// read back as what was planned, with no header more.
func FuzzBuiltMailIsThePlan(f *testing.F) {
	f.Add("Name", "a@x.test;b@x.test", "c@x.test", "Subject", "text", "<b>", "id", "v")
	f.Add("me@x.test", "\"a,b\" <a@x.test>", "", "=?utf-8?q?x?=", "a\r\n.\r\nb", "", "a..b", "\r\nBcc: x")
	f.Add("=?utf-8?q?=0D=0A?= <a@x.test>", "a@bücher.test", "", "Grüße $VALUE$", "$VALUE$", "$VALUE$", ":", "é\x00")
	f.Add("", "a@x.test", "", strings.Repeat("x", 900), "=\r= \t", "", "-", "$VALUE$")
	f.Add("\"\\\"q\" <a@x.test>", "( c ) <a@x.test>", "<a@x.test>", " lead", ".", "From x", "x", "-->")
	f.Fuzz(func(t *testing.T, from, to, cc, subject, text, html, id, value string) {
		data, err := json.Marshal([]map[string]string{{"value": value}})
		if err != nil {
			t.Skip("a value that JSON cannot hold reaches no job")
		}
		j := job(t, id, fields{"from": from, "to": to, "cc": cc, "subject": subject, "message": text, "html": html})
		j.Data = data
		pl, raw, err := build(t, j)
		if err != nil {
			return
		}
		got := parse(t, raw)
		if got.bare || got.longest > 998 {
			t.Errorf("bare line end %v, longest line %d in\n%q", got.bare, got.longest, raw)
		}
		allowed := []string{"Cc", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}
		for i, h := range got.Headers {
			if !slices.Contains(allowed, h) || i > 0 && got.Headers[i-1] == h {
				t.Errorf("header %s in\n%q", h, raw)
			}
		}
		if got.To != format(pl.to) || got.Cc != format(pl.cc) {
			t.Errorf("to %q cc %q, want %q %q", got.To, got.Cc, format(pl.to), format(pl.cc))
		}
		if unfold(got.Subject) != unfold(pl.subject) {
			t.Errorf("subject %q, want %q", got.Subject, pl.subject)
		}
		if got.Text != crlf(pl.text) || got.HTML != crlf(pl.html) {
			t.Errorf("text %q html %q, want %q %q", got.Text, got.HTML, crlf(pl.text), crlf(pl.html))
		}
	})
}

// decoded is what a reader makes of a header's value.
func decoded(value string) string {
	if text, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		return text
	}
	return value
}

// unfold makes blanks alike, which folding of a header may change.
func unfold(s string) string { return strings.Join(strings.Fields(s), " ") }

// crlf is how line ends travel.
func crlf(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.ReplaceAll(s, "\n", "\r\n")
}

func TestOnlyPlainTextGoesOutUnencoded(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "two\r\nlines": true, "a\ttab": true, ".": true, strings.Repeat("x", 78): true, strings.Repeat("x\r\n", 100): true,
		strings.Repeat("x", 79): false, "a blank \r\nat the end": false, "a tab\t": false, "From here\r\n": false, "x\r\nFrom here": false,
		"ü": false, "\x7f": false, "\x01": false, "a\rb": false, "a\nb": false, "\x80": false,
	} {
		if got := passes(text); got != want {
			t.Errorf("%q passes: %t", text, got)
		}
	}
}
