package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
)

// scoped makes a producer's token with these scopes and returns the kind that
// site.do sends it for.
func (s *site) scoped(scopes access.Scopes) access.Kind {
	s.t.Helper()
	presented, token, err := s.tokens.Create(s.t.Context(), access.Producer, "scoped", access.TokenOptions{Scopes: scopes})
	if err != nil {
		s.t.Fatalf("Create token: %v", err)
	}
	kind := access.Kind("scoped " + token.ID)
	s.token[kind] = presented.Reveal()
	return kind
}

// mailJob is a job that sends to these recipients with the secret MAIL.
func mailJob(t *testing.T, fields map[string]any) string {
	t.Helper()
	action := map[string]any{"type": "email-smtp", "smtp_secret": "MAIL", "to": "a@example.com", "subject": "s", "message": "m"}
	for name, value := range fields {
		action[name] = value
	}
	return asJSON(t, map[string]any{"action": action})
}

// queued is how many jobs there are.
func (s *site) queued() int {
	s.t.Helper()
	var list struct{ Jobs []struct{ ID string } }
	s.mustDo(http.MethodGet, "/jobs?limit=1000", "", &list)
	return len(list.Jobs)
}

func TestRecipientsOutsideOfTheScopeAreRefused(t *testing.T) {
	n := newSite(t).senders()
	n.put("MAIL", smtpValue)
	producer := n.scoped(access.Scopes{Domains: []string{"Example.com", "*.example.org", "bücher.test"}})
	to := func(list string) map[string]any { return map[string]any{"to": list} }
	for _, tt := range []struct {
		name   string
		fields map[string]any
		ok     bool
	}{
		{"one within", to("a@example.com"), true},
		{"in other letters", to("A@EXAMPLE.Com"), true},
		{"with a display name", to(`Ann <a@example.com>`), true},
		{"a display name that is an address elsewhere", to(`"b@evil.test" <a@example.com>`), true},
		{"a display name that is an address within", to(`"a@example.com" <b@evil.test>`), false},
		{"a display name with a comma and an address", to(`"x, a@example.com" <b@evil.test>`), false},
		{"a domain below the star", to("a@mail.example.org"), true},
		{"the domain of the star itself", to("a@example.org"), false},
		{"a domain below one without a star", to("a@mail.example.com"), false},
		{"a domain that ends alike", to("a@notexample.com"), false},
		{"a domain that begins alike", to("a@example.com.evil.test"), false},
		{"a domain of other letters than ASCII", to("a@BÜCHER.test"), true},
		{"the same in punycode", to("a@xn--bcher-kva.test"), true},
		{"a full-width domain", to("a@ｅxample.com"), true},
		{"a look-alike in Cyrillic", to("a@ехample.com"), false},
		{"the second after a comma", to("a@example.com, b@evil.test"), false},
		{"the second after a semicolon", to("a@example.com;b@evil.test"), false},
		{"several within", to("a@example.com;b@x.example.org,c@example.com"), true},
		{"cc outside", map[string]any{"cc": "b@evil.test"}, false},
		{"bcc outside", map[string]any{"bcc": "b@evil.test"}, false},
		{"only bcc, within", map[string]any{"to": "", "bcc": "b@example.com"}, true},
		{"reply_to receives nothing", map[string]any{"reply_to": "b@elsewhere.test"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := n.queued()
			got := n.do(producer, http.MethodPost, "/jobs", mailJob(t, tt.fields))
			switch {
			case tt.ok && (got.status != http.StatusOK || n.queued() != before+1):
				t.Errorf("got %d %s, want it accepted", got.status, got.body)
			case !tt.ok && (got.status != http.StatusForbidden || n.queued() != before):
				t.Errorf("got %d %s, want 403 and no job", got.status, got.body)
			case !tt.ok && (!strings.HasPrefix(got.message, denied+": ") || !strings.Contains(got.message, "domains *.example.org, example.com")):
				t.Errorf("message: got %q, want the domains", got.message)
			case !tt.ok && strings.Contains(got.message, "evil"):
				t.Errorf("message: got %q, which holds the recipient", got.message)
			}
		})
	}
}

func TestKindsAndSecretsOutsideOfTheScopeAreRefused(t *testing.T) {
	n := newSite(t).senders()
	id := n.put("MAIL", smtpValue)
	n.put("OTHER", smtpValue)
	n.put("SIGN", "the text of a key")
	n.put("QUEUE", sqsValue)
	queueJob := `{"action":{"type":"queue-sqs","sqs_secret":"QUEUE"},"data":[{"variable":"v","value":1}]}`
	mail := func(secret string) string { return mailJob(t, map[string]any{"smtp_secret": secret}) }
	signedBy := func(secret string) string {
		return mailJob(t, map[string]any{"smtp_secret": "MAIL", "dkim": map[string]any{"domain": "example.com", "selector": "s1", "secret": secret}})
	}
	kinds, secretKey, secretID := access.Scopes{Kinds: []string{"email-smtp"}}, access.Scopes{Secrets: []string{"mail"}}, access.Scopes{Secrets: []string{id}}
	all := access.Scopes{Kinds: []string{"email-smtp"}, Secrets: []string{"MAIL"}, Domains: []string{"example.com"}}
	for _, tt := range []struct {
		name   string
		scopes access.Scopes
		body   string
		status int
		want   string // in the message
	}{
		{"the kind", kinds, mail("OTHER"), 200, ""},
		{"another kind", kinds, queueJob, 403, "job 0: the token may send only the kinds email-smtp"},
		{"the key, allowed by key", secretKey, mail("MAIL"), 200, ""},
		{"the key in other letters", secretKey, mail("Mail"), 200, ""},
		{"the id, allowed by key", secretKey, mail(id), 200, ""},
		{"the key, allowed by id", secretID, mail("MAIL"), 200, ""},
		{"the id, allowed by id", secretID, mail(id), 200, ""},
		{"another key", secretKey, mail("OTHER"), 403, "may use only the secrets MAIL"},
		{"another key, allowed by id", secretID, mail("OTHER"), 403, "may use only the secrets " + id},
		{"another type's secret", secretKey, queueJob, 403, "may use only the secrets MAIL"},
		{"a secret that is not there says no more", secretKey, mail("NOTHING"), 403, "may use only the secrets MAIL"},
		{"a second secret of the scope", access.Scopes{Secrets: []string{"MAIL", "SIGN"}}, signedBy("SIGN"), 200, ""},
		{"a second secret outside of it", secretKey, signedBy("SIGN"), 403, "may use only the secrets MAIL"},
		{"no scope of domains touches a queue", access.Scopes{Domains: []string{"example.com"}}, queueJob, 200, ""},
		{"all three", all, mail("MAIL"), 200, ""},
		{"a batch with a bad one", all, "[" + mail("MAIL") + "," + mail("OTHER") + "," + mail("MAIL") + "]", 403, "job 1: the token may use only"},
		{"a batch of good ones", all, "[" + mail("MAIL") + "," + mail("MAIL") + "]", 200, ""},
		{"an action given twice", kinds, `{"action":{"type":"queue-sqs","sqs_secret":"QUEUE"},` + mail("MAIL")[1:], 400, "twice"},
		{"an action in other letters", kinds, `{"action":{"type":"queue-sqs","sqs_secret":"QUEUE"},"A` + mail("MAIL")[3:], 400, "unknown field"},
		{"no job at all", kinds, `[1]`, 400, "want a JSON object with an action"},
		{"a stored action", kinds, `{"action_id":"0123456789abcdef01234567"}`, 400, "action_id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := n.queued()
			got := n.do(n.scoped(tt.scopes), http.MethodPost, "/jobs", tt.body)
			if got.status != tt.status || !strings.Contains(got.message, tt.want) {
				t.Errorf("got %d %s, want %d %q", got.status, got.body, tt.status, tt.want)
			}
			if after := n.queued(); tt.status != http.StatusOK && after != before {
				t.Errorf("%d jobs were enqueued", after-before)
			}
		})
	}
}

func TestScopesLeaveJobsThatAreThere(t *testing.T) {
	n := newSite(t).senders()
	n.put("MAIL", smtpValue)
	var made receiptView
	n.mustDo(http.MethodPost, "/jobs", mailJob(t, map[string]any{"to": "a@elsewhere.test"}), &made)
	producer := n.scoped(access.Scopes{Kinds: []string{"queue-sqs"}, Domains: []string{"example.com"}})
	for _, path := range []string{"/jobs", "/jobs/" + made.ID, "/info"} {
		if got := n.do(producer, http.MethodGet, path, ""); got.status != http.StatusOK {
			t.Errorf("GET %s: got %d %s, want 200", path, got.status, got.body)
		}
	}
	if got := n.do(producer, http.MethodDelete, "/jobs/"+made.ID, ""); got.status != http.StatusOK {
		t.Errorf("cancel: got %d %s, want 200", got.status, got.body)
	}
	var tokens []tokenView
	n.mustDo(http.MethodGet, "/tokens", "", &tokens)
	for _, view := range tokens {
		if (view.Name == "scoped") == view.Scopes.IsZero() {
			t.Errorf("token %s: got scopes %q", view.Name, view.Scopes)
		}
	}
}

// TestWorkThatDoesNotSayWhatItTouches is refused, for nobody could tell: the
// action of the site does not.
func TestWorkThatDoesNotSayWhatItTouches(t *testing.T) {
	s := newSite(t)
	for name, tt := range map[string]struct {
		scopes access.Scopes
		status int
	}{
		"of its kind": {access.Scopes{Kinds: []string{"note"}}, 200},
		"of a secret": {access.Scopes{Secrets: []string{"MAIL"}}, 403},
		"of a domain": {access.Scopes{Kinds: []string{"note"}, Domains: []string{"example.com"}}, 403},
	} {
		if got := s.do(s.scoped(tt.scopes), http.MethodPost, "/jobs", goodJob); got.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", name, got.status, got.body, tt.status)
		}
	}
}

func TestScopesOfWhoStartsAnalyses(t *testing.T) {
	s := newSite(t)
	id := s.action(`{"name":"n","action":{"type":"script","script":["` + s.tokenID[analysisKind] + `"]}}`)
	for name, tt := range map[string]struct {
		scopes access.Scopes
		status int
	}{
		"without scopes":            {access.Scopes{}, 200},
		"the kind":                  {access.Scopes{Kinds: []string{"script"}, Domains: []string{"example.com"}}, 200},
		"another kind":              {access.Scopes{Kinds: []string{"email-smtp"}}, 403},
		"a secret and no kind":      {access.Scopes{Secrets: []string{"MAIL"}}, 403},
		"a domain and no such kind": {access.Scopes{Domains: []string{"example.com"}}, 403},
	} {
		got := s.do(s.scoped(tt.scopes), http.MethodPost, "/action/"+id+"/trigger", `{}`)
		if got.status != tt.status || (tt.status == 403 && !strings.HasPrefix(got.message, denied+": ")) {
			t.Errorf("%s: got %d %s, want %d", name, got.status, got.body, tt.status)
		}
	}
}

// wide is work with several secrets, which may start stored actions.
type wide struct {
	queue.Work
	secrets, actions []string
}

func (wide) Kind() string           { return "post" }
func (w wide) SecretRefs() []string { return w.secrets }
func (w wide) Recipients() []string { return nil }
func (w wide) Actions() []string    { return w.actions }

func TestEverySecretAndEveryActionOfAJobIsWithinTheScope(t *testing.T) {
	n := newSite(t).senders()
	n.put("MAIL", smtpValue)
	n.put("OTHER", smtpValue)
	vault, err := n.vault()
	if err != nil {
		t.Fatal(err)
	}
	onlyMail, onlyPost := access.Scopes{Secrets: []string{"MAIL"}}, access.Scopes{Kinds: []string{"post"}}
	for _, tt := range []struct {
		name   string
		scopes access.Scopes
		work   wide
		want   string // in the reason
	}{
		{"no secret", onlyMail, wide{}, ""},
		{"the secret twice", onlyMail, wide{secrets: []string{"MAIL", "mail"}}, ""},
		{"another secret first", onlyMail, wide{secrets: []string{"OTHER", "MAIL"}}, "only the secrets MAIL"},
		{"another secret last", onlyMail, wide{secrets: []string{"MAIL", "OTHER"}}, "only the secrets MAIL"},
		{"kinds alone leave secrets free", onlyPost, wide{secrets: []string{"OTHER"}}, ""},
		{"a stored action, with a scope of secrets", onlyMail, wide{actions: []string{"0123456789abcdef01234567"}}, "stored action"},
		{"a stored action, with a scope of kinds", onlyPost, wide{actions: []string{"0123456789abcdef01234567"}}, "stored action"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reason, err := vault.outOfScope(t.Context(), tt.scopes, tt.work)
			if err != nil || (tt.want == "") != (reason == "") || !strings.Contains(reason, tt.want) {
				t.Errorf("got %q, %v, want %q", reason, err, tt.want)
			}
		})
	}
}
