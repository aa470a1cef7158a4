package actions

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
)

// testCatalog has a type of each form.
func testCatalog() *Catalog {
	line := func(name string) Field { return Field{Name: name, Form: LineForm} }
	need := func(f Field) Field { f.Need = true; return f }
	vars := func(f Field) Field { f.Vars = true; return f }
	text := func(name string) Field { return Field{Name: name, Form: TextForm, Vars: true} }
	secret := func(name string, t secrets.Type) Field {
		return Field{Name: name, Form: SecretForm, Need: true, Secret: t}
	}
	twilio := []Field{need(line("from")), need(line("to")), secret("twilio_sid", secrets.TypeText), secret("twilio_token", secrets.TypeText)}
	return NewCatalog(
		Spec{Kind: "email-smtp", Either: []string{"message", "html"}, Fields: []Field{line("from"), need(line("to")), vars(line("subject")), text("message"), text("html"),
			secret("smtp_secret", secrets.TypeSMTP), {Name: "dkim", Form: ObjectForm, Secret: secrets.TypeText}, {Name: "list_unsubscribe", Form: LinesForm},
			{Name: "attachments", Form: ArrayForm}}},
		Spec{Kind: "email-sendgrid", Fields: []Field{need(line("from")), need(line("to")), line("subject"), need(text("message")), secret("sendgrid_api_key", secrets.TypeText)}},
		Spec{Kind: "queue-sqs", Fields: []Field{secret("sqs_secret", secrets.TypeSQS), {Name: "batch_enabled", Form: FlagForm}}},
		Spec{Kind: "sms-twilio", Fields: append(slices.Clone(twilio), need(text("message")))},
		Spec{Kind: "whatsapp-twilio", Either: []string{"message", "content_sid"}, Fields: append(slices.Clone(twilio), text("message"),
			Field{Name: "content_sid", Form: SecretForm, Secret: secrets.TypeText}, Field{Name: "content_variables", Form: PairsForm, Vars: true})},
		Spec{Kind: "post", Fields: []Field{{Name: "url", Form: LineForm, Need: true, Vars: true, Match: regexp.MustCompile(`^https?://[^/]`)},
			{Name: "headers", Form: HeadersForm, Vars: true}, {Name: "header_secrets", Form: SecretsForm, Secret: secrets.TypeText},
			{Name: "fallback_action", Form: ActionForm}, {Name: "http_post_fallback_enabled", Form: FlagForm}}},
		Spec{Kind: KindScript, Fields: []Field{{Name: "script", Form: ScriptsForm, Need: true}}},
	)
}

// fault decodes the body, and applies it as a create would, and returns the
// error's text.
func fault(body string) string {
	c, err := testCatalog().DecodeDefinition([]byte(body))
	if err == nil {
		var f faults
		c.required(&f)
		err = f.err()
	}
	if err == nil {
		_, err = c.apply(Definition{Type: typeCondition})
	}
	if err == nil {
		return ""
	}
	if !errors.Is(err, secrets.ErrInvalid) {
		return "not ErrInvalid: " + err.Error()
	}
	return err.Error()
}

func TestDecodeDefinitionRefuses(t *testing.T) {
	action := func(text string) string { return `{"name":"n","action":` + text + `}` }
	trigger := func(kind, text string) string {
		return `{"name":"n","type":"` + kind + `","trigger":[` + text + `],"action":{"type":"sms","to":"1","message":"m"}}`
	}
	tests := []struct{ name, body, want string }{
		{"no object", `[]`, "Expected object, received array"},
		{"no JSON", `{"name":`, "Expected object, received invalid JSON"},
		{"nothing", `{}`, "name: Required; action: Required"},
		{"an empty name", `{"name":""}`, "name: String must contain at least 1"},
		{"a name of two lines", `{"name":"a\nb"}`, "name: String must not contain control"},
		{"a number as name", `{"name":1}`, "name: Expected string, received number"},
		{"active as text", `{"active":"yes"}`, "active: Expected boolean, received string"},
		{"an unknown type of trigger", `{"type":"never"}`, "type: Invalid enum value. Expected 'condition' | 'condition_geofence' | 'interval'"},
		{"tags that are no pairs", `{"tags":["a"]}`, "tags[0]: Expected object, received string"},
		{"too many tags", `{"tags":[` + strings.Repeat(`{"key":"a","value":"b"},`, 30) + `{"key":"a","value":"b"}]}`, "tags: Array must contain at most 30"},
		{"an action without type", action(`{}`), "action.type: Required"},
		{"an unknown action", action(`{"type":"fax"}`), "action.type: Invalid enum value. Expected 'email' | 'email-sendgrid'"},
		{"a mail without secret", action(`{"type":"email-smtp","to":"a@b.c","message":"m"}`), "action.smtp_secret: Required"},
		{"a mail without text", action(`{"type":"email-smtp","to":"a@b.c","smtp_secret":"A"}`), "action.message: Required, or html"},
		{"a header in the recipients", action(`{"type":"email-smtp","to":"a@b.c\r\nBcc: x@y.z","message":"m","smtp_secret":"A"}`), "action.to: String has a control character"},
		{"a value in place of a secret's id", action(`{"type":"queue-sqs","sqs_secret":"{\"a\":1}"}`), "action.sqs_secret: Expected the id of a secret of type sqs"},
		{"a batch that is no flag", action(`{"type":"queue-sqs","sqs_secret":"A","batch_enabled":"yes"}`), "action.batch_enabled: Expected boolean"},
		{"a URL of a file", action(`{"type":"post","url":"file:///etc/passwd"}`), "action.url: Invalid url"},
		{"a header that begins another", action(`{"type":"post","url":"https://a.b","headers":{"X\r\nY":"1"}}`), "action.headers: The name of a header"},
		{"a header's value of two lines", action(`{"type":"post","url":"https://a.b","headers":{"X":"1\r\n2"}}`), "action.headers.X: String has a control character"},
		{"a variable that there is not", action(`{"type":"post","url":"https://a.b/$VALEU$"}`), "action.url: No message variable is called $VALEU$"},
		{"a secret in a text", action(`{"type":"sms","to":"1","message":"$SECRET.KEY$"}`), "action.message: No message variable is called $SECRET.KEY$"},
		{"a variable where none is filled", action(`{"type":"email-smtp","to":"$DEVICE$@b.c","message":"m","smtp_secret":"A"}`), "action.to: Message variables are not filled in this field, so $DEVICE$ would be unused"},
		{"a fallback that is no id", action(`{"type":"post","url":"https://a.b","fallback_action":"hook"}`), "action.fallback_action: Expected the id of an action"},
		{"a header secret that is a value", action(`{"type":"post","url":"https://a.b","header_secrets":{"X":"{}"}}`), "action.header_secrets.X: Expected the id of a secret of type text"},
		{"no script", action(`{"type":"script","script":[]}`), "action.script: Array must contain at least 1"},
		{"a script that is no id", action(`{"type":"script","script":["x"]}`), "action.script[0]: Expected the id of an analysis"},
		{"a template without text", action(`{"type":"whatsapp-twilio","from":"1","to":"2","twilio_sid":"A","twilio_token":"B"}`), "action.message: Required, or content_sid"},
		{"a template's variable without value", action(`{"type":"whatsapp-twilio","from":"1","to":"2","twilio_sid":"A","twilio_token":"B","content_sid":"C","content_variables":[{"name":"1"}]}`), "action.content_variables[0].value: Required"},
		{"an interval of no unit", trigger("interval", `{"interval":"3"}`), "trigger[0].interval: Invalid interval"},
		{"a cron of three fields", trigger("schedule", `{"cron":"* * *"}`), "trigger[0].cron: Invalid cron"},
		{"an unknown resource", trigger("resource", `{"resource":"cat","when":"create"}`), "trigger[0].resource: Invalid enum value"},
		{"a condition on nothing", trigger("condition", `{"variable":"v","is":"*"}`), "trigger[0].device: Required, or tag_key"},
		{"a condition with an empty value", trigger("condition", `{"device":"d","variable":"v","is":"*","value":""}`), "trigger[0].value: An empty value must be left out"},
		{"a range with one end", trigger("condition", `{"device":"d","variable":"v","is":"><","value":"1"}`), "trigger[0].second_value: Required with ><"},
		{"unlock by tag", trigger("condition", `{"tag_key":"k","tag_value":"v","variable":"v","is":"*","unlock":true}`), "trigger[0].unlock: Not allowed"},
		{"a comparison that is none", trigger("condition", `{"device":"d","variable":"v","is":"=="}`), "trigger[0].is: Invalid enum value"},
		{"a trigger that is a text", trigger("interval", `"3 minutes"`), "trigger[0]: Expected object, received string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault(tt.body); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestDecodeDefinitionTakes(t *testing.T) {
	const id = "5f5a8f3351d4db99c40dea9e"
	tests := []struct {
		name, action string
		refs         []Reference
	}{
		{"mail", `{"type":"email-smtp","from":"Plant","to":"a@b.c;d@e.f","subject":"$VALUE$","message":"a\nb","smtp_secret":"` + id + `"}`,
			[]Reference{{"action.smtp_secret", ToSecret, id, secrets.TypeSMTP}}},
		{"queue", `{"type":"queue-sqs","sqs_secret":"MY_QUEUE","batch_enabled":true}`, []Reference{{"action.sqs_secret", ToSecret, "MY_QUEUE", secrets.TypeSQS}}},
		{"sendgrid", `{"type":"email-sendgrid","from":"a@b.c","to":"a@b.c","subject":"s","message":"m","sendgrid_api_key":"K"}`,
			[]Reference{{"action.sendgrid_api_key", ToSecret, "K", secrets.TypeText}}},
		{"template", `{"type":"whatsapp-twilio","from":"1","to":"2","twilio_sid":"A","twilio_token":"B","content_sid":"C","content_variables":[{"name":"1","value":"$VALUE$"}]}`,
			[]Reference{{"action.twilio_sid", ToSecret, "A", secrets.TypeText}, {"action.twilio_token", ToSecret, "B", secrets.TypeText}, {"action.content_sid", ToSecret, "C", secrets.TypeText}}},
		{"post", `{"type":"post","url":"https://x.test/$VALUE$","headers":{"Authorization":"a b"},"http_post_fallback_enabled":false}`, nil},
		{"secrets in headers, a fallback", `{"type":"post","url":"https://x.test","header_secrets":{"X-Key":"A","X-B":"B"},"fallback_action":"` + id + `"}`,
			[]Reference{{"action.header_secrets.X-B", ToSecret, "B", secrets.TypeText}, {"action.header_secrets.X-Key", ToSecret, "A", secrets.TypeText},
				{"action.fallback_action", ToAction, id, ""}}},
		{"a signed mail", `{"type":"email-smtp","to":"a@b.c","message":"m","smtp_secret":"S","dkim":{"domain":"b.c","secret":"D"},"list_unsubscribe":["mailto:a@b.c"],"attachments":[]}`,
			[]Reference{{"action.smtp_secret", ToSecret, "S", secrets.TypeSMTP}, {"action.dkim.secret", ToSecret, "D", secrets.TypeText}}},
		{"script", `{"type":"script","script":["` + id + `"]}`, []Reference{{"action.script[0]", ToAnalysis, id, ""}}},
		{"notification", `{"type":"notification","subject":"s","message":"m"}`, nil},
		{"mqtt", `{"type":"mqtt","topic":"t","payload":"p","bucket":"b"}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"name":"n","description":null,"__proto__":{"a":1},"action":` + tt.action + `}`
			if got := fault(body); got != "" {
				t.Fatal(got)
			}
			c, _ := testCatalog().DecodeDefinition([]byte(body))
			if diff := cmp.Diff(c.References(), tt.refs); diff != "" {
				t.Errorf("references, -got +want:\n%s", diff)
			}
		})
	}
}

func FuzzDecodeDefinition(f *testing.F) {
	f.Add([]byte(postBody))
	f.Add([]byte(`{"name":"n","type":"condition","trigger":[{"device":"d","variable":"v","is":"><","value":1,"second_value":2}],"action":{"type":"script","script":["x"]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := testCatalog().DecodeDefinition(body)
		if err != nil {
			if !errors.Is(err, secrets.ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			return
		}
		_, _ = c.apply(Definition{Type: typeCondition})
	})
}
