package twilio

import (
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/queue"
)

func TestNumbers(t *testing.T) {
	for given, want := range map[string]string{
		"+15551234567": "+15551234567", "5551234567": "+15551234567", "15551234567": "+15551234567", " (555) 123-4567 ": "+15551234567",
		"+44 7700 900.123": "+447700900123", "25551234567": "+125551234567", "2": "+12", "+1": "+1",
	} {
		if got, err := address(KindSMS, given); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", given, got, err, want)
		}
		if got, err := address(KindWhatsApp, "whatsapp:"+given); err != nil || got != "whatsapp:"+want {
			t.Errorf("whatsapp:%q: got %q, %v", given, got, err)
		}
	}
	for _, bad := range []string{"", "+", "whatsapp:", "abc", "+1555x", "++1", "1+5", "+1234567890123456", "123456789012345", "٣", "+1;2", "+1\u00a05"} {
		if got, err := address(KindSMS, bad); err == nil {
			t.Errorf("%q: got %q", bad, got)
		}
	}
	if _, err := address(KindSMS, "whatsapp:+15551234567"); err == nil {
		t.Error("SMS takes a number of WhatsApp")
	}
	pl := &plan{}
	if err := pl.setTo(KindSMS, "+15551234567; 5551234567,, +447700900123 ;"); err != nil || cmp.Diff(pl.to, []string{"+15551234567", "+447700900123"}) != "" {
		t.Errorf("got %v, %v", pl.to, err)
	}
}

func TestSenders(t *testing.T) {
	service := "MG0123456789abcdef0123456789ABCDEF"
	for given, want := range map[string]string{"12345": "12345", "MYFROMID": "MYFROMID", "My Shop 24": "My Shop 24", "5551234567": "+15551234567"} {
		pl := &plan{}
		if err := pl.setFrom(KindSMS, given); err != nil || pl.from != want || pl.service != "" {
			t.Errorf("%q: got %q, %v, want %q", given, pl.from, err, want)
		}
	}
	for _, kind := range []string{KindSMS, KindWhatsApp} {
		pl := &plan{}
		if err := pl.setFrom(kind, service); err != nil || pl.service != service || pl.from != "" {
			t.Errorf("%s: got %+v, %v", kind, pl, err)
		}
	}
	for _, bad := range []string{"", "a name that is long", "a\nb", "MG12", "x@y.test"} {
		if err := new(plan).setFrom(KindSMS, bad); err == nil && bad != "MG12" {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := new(plan).setFrom(KindWhatsApp, "MYFROMID"); err == nil {
		t.Error("WhatsApp takes a name")
	}
}

func TestWhatIsRefused(t *testing.T) {
	const value = "canary-77"
	many := fields{}
	for i := range 101 {
		many["n"+strings.Repeat("x", i%10)+string(rune('a'+i/10))] = "v"
	}
	for _, tt := range []struct {
		name, kind string
		f          fields
		want       string // in the error
	}{
		{"no login", KindSMS, fields{"twilio_sid": nil}, `"twilio_sid": want the id`},
		{"a token in place of its name", KindSMS, fields{"twilio_token": value}, `"twilio_token": want the id`},
		{"a SID in place of a template's name", KindWhatsApp, fields{"message": nil, "content_sid": value}, `"content_sid": want the id`},
		{"no sender", KindSMS, fields{"from": nil}, `"from": want a number`},
		{"no recipient", KindSMS, fields{"to": nil}, `"to": want at least one`},
		{"a bad recipient", KindSMS, fields{"to": "+1555,x" + value}, `"to": number 2`},
		{"a line end", KindSMS, fields{"to": "+1\r\n" + value}, `"to": has a control`},
		{"too many", KindSMS, fields{"to": manyNumbers(101)}, "more than 100"},
		{"no text", KindSMS, fields{"message": nil}, "no text"},
		{"no text once filled", KindSMS, fields{"message": "$UNIT$"}, "no text"},
		{"a text with NUL", KindSMS, fields{"message": value + "\x00"}, `"message": has a NUL`},
		{"a long text", KindSMS, fields{"message": strings.Repeat("ä", 1601)}, "1601 characters"},
		{"a text that is long once filled", KindSMS, fields{"message": strings.Repeat("$VALUE$", 20)}, "1800 characters"},
		{"a template for SMS", KindSMS, fields{"content_sid": "T"}, `unknown field "content_sid"`},
		{"a text and a template", KindWhatsApp, fields{"content_sid": "T"}, "either a text or"},
		{"neither", KindWhatsApp, fields{"message": nil}, "no text"},
		{"variables without a template", KindWhatsApp, fields{"content_variables": fields{"1": "v"}}, "there is no"},
		{"variables that are a text", KindWhatsApp, fields{"message": nil, "content_sid": "T", "content_variables": value}, `"content_variables"`},
		{"a variable that is a number", KindWhatsApp, fields{"message": nil, "content_sid": "T", "content_variables": fields{"1": 5}}, "object of texts"},
		{"an unknown field of a variable", KindWhatsApp, fields{"message": nil, "content_sid": "T", "content_variables": []fields{{"name": "1", "value": "v", "x": value}}}, "unknown field"},
		{"a name that stands twice", KindWhatsApp, fields{"message": nil, "content_sid": "T", "content_variables": []fields{{"name": "1"}, {"name": "1"}}}, "stands twice"},
		{"a name with a blank", KindWhatsApp, fields{"message": nil, "content_sid": "T", "content_variables": fields{"a b": "v"}}, "no blanks"},
		{"a long value", KindWhatsApp, fields{"message": nil, "content_sid": "T", "content_variables": fields{"1": strings.Repeat("v", 1601)}}, "more than 1600"},
		{"too many variables", KindWhatsApp, fields{"message": nil, "content_sid": "T", "content_variables": many}, "more than 100"},
		{"an unknown field", KindSMS, fields{"media": value}, `unknown field "media"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(tt.kind, job(t, tt.kind, `[{"value":"`+strings.Repeat("x", 90)+`"}]`, tt.f))
			if _, dead := errors.AsType[*queue.PermanentError](err); !dead || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %T %v, want permanent with %q", err, err, tt.want)
			}
			if strings.Contains(err.Error(), value) {
				t.Errorf("the error shows a value: %v", err)
			}
		})
	}
}

func manyNumbers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("+1" + string([]byte{byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)}) + ",")
	}
	return b.String()
}

var addressForm = regexp.MustCompile(`^(whatsapp:)?\+[0-9]{1,15}$`)

// wellFormed checks what must hold for each plan, and that its form says no more
// than it.
func wellFormed(t *testing.T, p *plan) {
	t.Helper()
	if len(p.to) == 0 || len(p.to) > maxRecipients || utf8.RuneCountInString(p.body) > maxBody || p.body == "" && p.template == "" || p.from == "" && p.service == "" {
		t.Fatalf("got %+v", p)
	}
	for _, to := range p.to {
		if !addressForm.MatchString(to) {
			t.Errorf("got the number %q", to)
		}
		form, err := url.ParseQuery(string(p.form(&login{}, to)))
		if err != nil || form.Get("To") != to || form.Get("Body") != p.body || form.Get("From") != p.from || len(form) > 5 {
			t.Errorf("got the form %v", form)
		}
	}
	if p.variables != "" {
		var values map[string]string
		if err := json.Unmarshal([]byte(p.variables), &values); err != nil {
			t.Errorf("got the variables %q", p.variables)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"type":"x","twilio_sid":"S","twilio_token":"T","from":"+1","to":"+1;(555) 123-4567","message":"$VALUE$"}`, `[{"value":1}]`)
	f.Add(`{"type":"x","twilio_sid":"S","twilio_token":"T","from":"MG0123456789abcdef0123456789abcdef","to":"whatsapp:+1","content_sid":"C","content_variables":[{"name":"1","value":"$VALUE$"}]}`, `[{"value":"\r\n$UNIT$"}]`)
	f.Add(`{"type":"x","twilio_sid":"S","twilio_token":"T","from":"+1","to":"+1","content_sid":"C","content_variables":{"1":"v","1":"w"}}`, ``)
	f.Fuzz(func(t *testing.T, action, data string) {
		for _, kind := range []string{KindSMS, KindWhatsApp} {
			j := &queue.Job{ID: "order-1", Action: json.RawMessage(action)}
			if data != "" {
				j.Data = json.RawMessage(data)
			}
			p, err := decode(kind, j)
			switch {
			case err == nil:
				wellFormed(t, p)
			case outcome(err) != "dead":
				t.Errorf("got %v, want a permanent error", err)
			}
		}
	})
}
