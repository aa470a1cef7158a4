package sendgrid

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/queue"
)

func TestWhatIsRefused(t *testing.T) {
	a := New(Config{})
	defer a.Close()
	file := func(f fields) fields { return fields{"attachments": []any{f}} }
	for _, tt := range []struct {
		name string
		f    fields
		want string // in the error
	}{
		{"no key", fields{"sendgrid_api_key": nil}, `"sendgrid_api_key": want the id`},
		{"the key itself", fields{"sendgrid_api_key": "SG.canary.canary"}, `"sendgrid_api_key": want the id`},
		{"no sender", fields{"from": nil}, `"from": want one address`},
		{"a name as sender", fields{"from": "canary"}, `"from": address 1`},
		{"two senders", fields{"from": "canary@x.test,b@x.test"}, `"from": want one address`},
		{"no recipient", fields{"to": nil}, `"to": want at least one`},
		{"only empty recipients", fields{"to": " ; ,"}, `"to": want at least one`},
		{"a bad recipient", fields{"to": "b@x.test;canary"}, `"to": address 2`},
		{"a recipient with a line end", fields{"to": "b@x.test\r\nBcc: canary@x.test"}, `"to": has a control character`},
		{"letters beyond ASCII", fields{"to": "canäry@x.test"}, `"to": address 1: has a letter outside ASCII`},
		{"a bad copy", fields{"cc": "canary"}, `"cc": address 1`},
		{"a bad blind copy", fields{"bcc": "canary"}, `"bcc": address 1`},
		{"a bad reply address", fields{"reply_to": "canary"}, `"reply_to": address 1`},
		{"too many", fields{"to": manyAddresses(60), "cc": manyAddresses(120)[60*9:]}, "more than 100"},
		{"no subject", fields{"subject": nil}, `"subject": is empty`},
		{"a subject that is empty once filled", fields{"subject": "$UNIT$"}, `"subject": is empty`},
		{"a subject with a line end", fields{"subject": "a\r\nBcc: canary@x.test"}, `"subject": has a control character`},
		{"a long subject", fields{"subject": strings.Repeat("s", 901)}, `"subject": more than 900`},
		{"no text", fields{"message": nil}, "no text"},
		{"a text with NUL", fields{"message": "canary\x00"}, `"message": has a NUL`},
		{"HTML with NUL", fields{"html": "canary\x00"}, `"html": has a NUL`},
		{"a text that grows without end", fields{"message": strings.Repeat("$VALUE$", 30000)}, `"message" is over 4 MiB`},
		{"a file as text", fields{"attachments": "canary"}, `"attachments": want an array`},
		{"a file that is none", fields{"attachments": []any{"canary"}}, "file 1: want a JSON object"},
		{"an unknown field of a file", file(fields{"filename": "a", "content": "YQ==", "canary": 1}), "unknown field"},
		{"a file without base64", file(fields{"filename": "a", "content": "canary!"}), "content: is not base64"},
		{"an empty file", file(fields{"filename": "a", "content": ""}), "content: is empty"},
		{"a file without a name", file(fields{"content": "YQ=="}), "filename: want a name"},
		{"a file with a path", file(fields{"filename": "../canary", "content": "YQ=="}), "filename: want a name"},
		{"a name with a line end", file(fields{"filename": "a\r\ncanary", "content": "YQ=="}), "filename: has a control"},
		{"a type that is none", file(fields{"filename": "a", "content": "YQ==", "type": "canary"}), "type: want a media type"},
		{"too many files", fields{"attachments": make([]fields, 21)}, "more than 20 files"},
		{"an unknown field", fields{"template": "canary"}, `unknown field "template"`},
		{"data that is no array", fields{"subject": "bad data"}, "data: want an array"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := `[{"value":"` + strings.Repeat("x", 200) + `"}]`
			if tt.f["subject"] == "bad data" {
				data = `"canary"`
			}
			_, err := a.Prepare(job(t, data, tt.f))
			if _, dead := errors.AsType[*queue.PermanentError](err); !dead || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %T %v, want permanent with %q", err, err, tt.want)
			}
			if strings.Contains(strings.ReplaceAll(err.Error(), `"canary"`, ""), "canary") {
				t.Errorf("the error shows a value: %v", err)
			}
		})
	}
}

// manyAddresses is n addresses of nine bytes.
func manyAddresses(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%03d@x.yz,", i)
	}
	return b.String()
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"type":"email-sendgrid","sendgrid_api_key":"K","from":"a@x.test","to":"b@x.test","subject":"s","message":"m"}`, `[{"value":1}]`)
	f.Add(`{"type":"email-sendgrid","sendgrid_api_key":"K","from":"A <a@x.test>","to":"b@x.test;c@x.test","subject":"$VALUE$","html":"<b>$VALUE$</b>","attachments":[{"filename":"a","content":"YQ=="}]}`, `[{"value":"$UNIT$\r\n"}]`)
	f.Fuzz(func(t *testing.T, action, data string) {
		j := &queue.Job{ID: "order-1", Action: json.RawMessage(action)}
		if data != "" {
			j.Data = json.RawMessage(data)
		}
		p, err := decode(j)
		if err != nil {
			if outcome(err) != "dead" {
				t.Errorf("got %v, want a permanent error", err)
			}
			return
		}
		sent(t, p)
	})
}

// sent reads the body of a plan back and checks what must hold for each.
func sent(t *testing.T, p *plan) request {
	t.Helper()
	body, err := p.body("order-1")
	if err != nil {
		t.Fatal(err)
	}
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("the body is no JSON: %v", err)
	}
	one := r.Personalizations[0]
	n := len(one.To) + len(one.Cc) + len(one.Bcc)
	if len(r.Personalizations) != 1 || len(one.To) == 0 || n != len(p.recipients()) || n > 100 || len(r.Content) == 0 || len(r.Content) > 2 {
		t.Fatalf("got %+v", r)
	}
	for _, a := range append(append(append([]address{r.From}, one.To...), one.Cc...), one.Bcc...) {
		if parsed, err := mail.ParseAddress(a.Email); err != nil || parsed.Address != a.Email || strings.ContainsAny(a.Name, "\r\n\x00") {
			t.Errorf("got the address %+v", a)
		}
	}
	if strings.ContainsAny(r.Subject, "\r\n\x00") || strings.TrimSpace(r.Subject) == "" {
		t.Errorf("got the subject %q", r.Subject)
	}
	return r
}
