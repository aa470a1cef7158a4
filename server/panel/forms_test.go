package panel

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

func TestASecretFromTheFirstToTheLast(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	b.get("/panel/secrets").has(t, "No secrets here yet", "+ New Secret")
	b.get("/panel/secrets/new?type=sqs").has(t, `name="queue_url"`, `name="secret_access_key"`)
	p := b.must(b.post("/panel/secrets", "type", "text", "key", "api_key", "text", "first line\r\nsecond line",
		"tag-key", "scope", "tag-value", "mail", "tag-key", "", "tag-value", ""))
	p.has(t, "API_KEY", "Created.", "22 characters", "<b>scope</b>mail")
	p.lacks(t, "first line", "second line")
	made, err := s.vault.Secrets.Info(t.Context(), "API_KEY")
	if err != nil {
		t.Fatalf("Info: %v", err)
	}
	text, err := s.vault.Secrets.OpenText(t.Context(), made.Ref, secrets.Use{Actor: "test", Why: "test"})
	if err != nil || text.Value.Reveal() != "first line\nsecond line" {
		t.Errorf("stored value: %q, %v; want the lines without carriage returns", text.Value.Reveal(), err)
	}
	path := "/panel/secrets/" + made.ID
	b.must(b.post(path+"/tags", "tag-key", "team", "tag-value", "red")).has(t, "Saved.", "<b>team</b>red")
	b.must(b.post(path+"/value", "text", "another value")).has(t, "version 2", "13 characters", "The new value is stored")
	b.get(path+"/delete").has(t, "Delete the secret API_KEY?")
	b.must(b.post(path+"/delete")).has(t, "Deleted.", "No secrets here yet")
}

func TestASecretIsStagedTestedPromotedAndRolledBack(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	id := s.secretWith("smtp", "x")
	path := "/panel/secrets/" + id
	value := []string{"smtp_server", "new.test", "username", "user-name", "password", "canary-password"}
	p := b.must(b.post(path+"/value", append(value, "stage", "1")...))
	p.has(t, "Stored beside the current version", "never")
	p.lacks(t, "canary-password")
	if got := b.post(path + "/promote"); got.status != 409 || !strings.Contains(got.body, "never tested") {
		t.Errorf("promote untested: got %d %s", got.status, got.text())
	}
	s.steps = []actions.Step{{Name: "dial", OK: true}, {Name: "auth", Text: "535"}}
	b.post(path+"/test", "staged", "1").has(t, "Version 2 was opened", "failed at auth")
	if got := b.post(path + "/promote"); got.status != 409 {
		t.Errorf("promote after a failed test: got %d", got.status)
	}
	s.steps = []actions.Step{{Name: "auth", OK: true}}
	b.post(path+"/test", "staged", "1").has(t, "The test passed")
	b.must(b.post(path+"/promote")).has(t, "version 2", "new.test", "Jobs that waited for it go on")
	b.get(path+"/rollback").has(t, "becomes current again, as a new version")
	b.must(b.post(path+"/rollback")).has(t, "version 3", "mail.test")
	b.must(b.post(path+"/value", append(value, "stage", "1")...)).has(t, "Discard")
	b.get(path+"/discard").has(t, "Discard the staged version of OF_SMTP?")
	b.must(b.post(path+"/discard")).lacks(t, "Promote")
	for _, name := range []string{"/promote", "/discard"} {
		if got := b.post(path + name); got.status != 404 {
			t.Errorf("%s of nothing: got %d, want 404", name, got.status)
		}
	}
	if got := s.browser(access.Reader).get(path); !strings.Contains(got.body, "previous") || strings.Contains(got.body, "Roll back") {
		t.Errorf("a reader sees: %s", got.text())
	}
}

func TestEachTypeOfSecretIsMadeOfItsFields(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	for _, row := range []struct {
		name   string
		fields []string
		meta   map[string]string
	}{
		{"smtp with what is needed", []string{"type", "smtp", "key", "MAIL", "smtp_server", " mail.test ", "smtp_port", "587", "username", "user-name", "password", "pass-word",
			"tls", "", "from", "", "auth", "", "max_connections", "", "messages_per_second", "", "ca_pem", ""},
			map[string]string{"server": "mail.test", "port": "587", "tls": "starttls", "auth": "auto"}},
		{"smtp with all", []string{"type", "smtp", "key", "MAIL_2", "smtp_server", "mail.test", "smtp_port", "465", "username", "user-name", "password", "pass word ",
			"tls", "implicit", "from", "a@b.test", "auth", "plain", "server_name", "x.test", "max_connections", "8", "messages_per_second", "2.5"},
			map[string]string{"server": "mail.test", "port": "465", "tls": "implicit", "auth": "plain", "from": "a@b.test", "server_name": "x.test"}},
		{"sqs", []string{"type", "sqs", "key", "QUEUE", "aws_region", "eu-west-1", "queue_url", "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
			"access_key_id", "AKIDAKID", "secret_access_key", "very-secret", "session_token", "", "endpoint", ""},
			map[string]string{"region": "eu-west-1", "queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := b.must(b.post("/panel/secrets", row.fields...))
			p.lacks(t, "user-name", "pass-word", "pass word", "AKIDAKID", "very-secret")
			got, err := s.vault.Secrets.Info(t.Context(), row.fields[3])
			if err != nil {
				t.Fatalf("Info: %v", err)
			}
			if diff := cmp.Diff(row.meta, got.Meta); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			form := b.get("/panel/secrets/" + got.ID + "/value")
			form.lacks(t, "user-name", "AKIDAKID")
			for _, v := range row.meta {
				form.has(t, v)
			}
		})
	}
}

func TestASecretThatIsWrongIsNotStored(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	s.secret("THERE", "value-of-the-secret")
	smtp := []string{"type", "smtp", "key", "MAIL", "smtp_server", "mail.test", "username", "user-name", "password", "pass-word"}
	for _, row := range []struct {
		name   string
		fields []string
		text   string
	}{
		{"short text", []string{"type", "text", "key", "A", "text", "abc"}, "6 to 2048 characters"},
		{"bad key", []string{"type", "text", "key", "a key", "text", "abcdefg"}, "key"},
		{"key that exists", []string{"type", "text", "key", "THERE", "text", "abcdefg"}, "A secret with this key exists"},
		{"tag without key", []string{"type", "text", "key", "A", "text", "abcdefg", "tag-key", "", "tag-value", "x"}, "tag"},
		{"port that is no number", slices.Concat(smtp, []string{"smtp_port", "many"}), "Port is not a number"},
		{"port that is too high", slices.Concat(smtp, []string{"smtp_port", "99999"}), "Port is not 1 to 65535"},
		{"port that is not finite", slices.Concat(smtp, []string{"smtp_port", "NaN"}), "number"},
		{"no password", slices.Concat(smtp[:8], []string{"password", ""}), "Password is missing"},
		{"no tls", slices.Concat(smtp, []string{"tls", "none"}), "mail without TLS is not sent"},
		{"sqs without anything", []string{"type", "sqs", "key", "Q"}, "missing"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := b.post("/panel/secrets", row.fields...)
			if p.status != http.StatusUnprocessableEntity {
				t.Errorf("got %d, want 422", p.status)
			}
			p.has(t, "Nothing was saved.", row.text)
			p.lacks(t, "pass-word", "user-name", "abcdefg", "secrets: invalid")
		})
	}
	found, err := s.vault.Secrets.List(t.Context(), 0, 0)
	if err != nil || found.Total != 1 {
		t.Errorf("secrets after refused forms: %d, %v; want 1", found.Total, err)
	}
	there := found.Secrets[0]
	if p := b.post("/panel/secrets/"+there.ID+"/value", "text", ""); p.status != http.StatusUnprocessableEntity {
		t.Errorf("empty new value: got %d, want 422", p.status)
	}
	many := make([]string, 0, 80)
	for range 40 {
		many = append(many, "tag-key", "k", "tag-value", "v")
	}
	if p := b.post("/panel/secrets/"+there.ID+"/tags", many...); p.status != http.StatusUnprocessableEntity {
		t.Errorf("40 tags: got %d, want 422", p.status)
	}
}

func TestTheTestButtonShowsEachStep(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	path := "/panel/secrets/" + s.secretWith("smtp", "x")
	b.get(path).has(t, path+"/test")
	b.post(path+"/test").has(t, "The test failed", "dial", "auth", "535 refused")
	s.steps = s.steps[:1]
	b.post(path+"/test").has(t, "The test passed")
	other := "/panel/secrets/" + s.secretWith("sqs", "x")
	b.get(other).lacks(t, other+"/test")
	if got := b.post(other + "/test"); got.status != http.StatusConflict {
		t.Errorf("test of a type that nobody tries: got %d, want 409", got.status)
	}
}

func TestAnAnalysisFromTheFirstToTheLast(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	b.get("/panel/analyses").has(t, "No analyses here yet")
	p := b.post("/panel/analyses", "name", "Reports", "description", "daily", "active", "1", "run_on", "tago", "runtime", "python",
		"variable-key", "OWN_KEY", "variable-value", "own-value-1", "variable-key", "SECOND", "variable-value", "own-value-2",
		"tag-key", "team", "tag-value", "red")
	if p.status != http.StatusOK {
		t.Fatalf("create: got %d, want 200 with the token:\n%s", p.status, p.body)
	}
	all, err := s.vault.Directory.Analyses(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("analyses: %v, %v", all, err)
	}
	path := "/panel/analyses/" + all[0].ID
	first, err := s.vault.Directory.Token(t.Context(), all[0].ID)
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	p.has(t, first.Reveal())
	for _, page := range []string{"/panel/analyses", path, path + "/edit"} {
		b.get(page).lacks(t, first.Reveal(), "own-value-1")
	}
	secret := s.secret("MAIL_PROD", "value-of-the-secret")
	s.secret("OWN_KEY", "value-of-the-secret")
	s.policy("Red reads mail", access.Allow)
	p = b.get(path)
	p.has(t, "own variable", `<a href="/panel/secrets/`+secret.ID+`">MAIL_PROD</a>`, "Red reads mail", "Overridden by its own variables")
	p.lacks(t, "value-of-the-secret", "own-value-1")

	edit := []string{"version", "1", "name", "Reports 2", "active", "1", "run_on", "tago",
		"variable-key", "OWN_KEY", "variable-value", "", "variable-key", "THIRD", "variable-value", "own-value-3"}
	b.must(b.post(path+"/edit", edit...)).has(t, "Reports 2", "Saved.")
	if got := b.post(path+"/edit", edit...); got.status != http.StatusConflict {
		t.Errorf("edit from an old page: got %d, want 409", got.status)
	}
	got, err := s.vault.Directory.Analysis(t.Context(), all[0].ID)
	if err != nil {
		t.Fatalf("Analysis: %v", err)
	}
	values := map[string]string{}
	for _, v := range got.Variables {
		values[v.Key] = v.Value.Reveal()
	}
	if diff := cmp.Diff(map[string]string{"OWN_KEY": "own-value-1", "THIRD": "own-value-3"}, values); diff != "" {
		t.Errorf("variables after the edit (-want +got):\n%s", diff)
	}
	if len(got.Tags) != 0 || got.Runtime != "python" {
		t.Errorf("after the edit: tags %v, runtime %q; want none, python", got.Tags, got.Runtime)
	}
	b.post(path+"/token").has(t, "The token before has ended")
	if now, err := s.vault.Directory.Token(t.Context(), all[0].ID); err != nil || now.Equal(first) {
		t.Errorf("token after a new one was asked for: the same, %v", err)
	}
	b.must(b.post(path+"/delete")).has(t, "Deleted.", "No analyses here yet")
}

func TestAnAnalysisThatMovesGetsAToken(t *testing.T) {
	s := newSite(t)
	a := s.analysis("Reports")
	p := s.browser(access.Admin).post("/panel/analyses/"+a.ID+"/edit", "version", "1", "name", "Reports", "active", "1", "run_on", "external")
	token, err := s.vault.Directory.Token(t.Context(), a.ID)
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	p.has(t, "A new token for Reports", token.Reveal())
}

func TestAnAnalysisThatIsWrongIsNotStored(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	for name, fields := range map[string][]string{
		"no name":                 {"name", "", "run_on", "tago", "runtime", "node"},
		"unknown place":           {"name", "A", "run_on", "moon", "runtime", "node"},
		"unknown runtime":         {"name", "A", "run_on", "tago", "runtime", "cobol"},
		"a variable without key":  {"name", "A", "run_on", "tago", "runtime", "node", "variable-key", "", "variable-value", "own-value-1"},
		"a name that is too long": {"name", strings.Repeat("x", 101), "run_on", "tago", "runtime", "node"},
	} {
		p := b.post("/panel/analyses", fields...)
		if p.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d, want 422", name, p.status)
		}
		p.has(t, "Nothing was saved.")
		p.lacks(t, "own-value-1")
	}
}

func TestAPolicyFromTheFirstToTheLast(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	a, secret := s.analysis("Reports"), s.secret("MAIL_PROD", "value-of-the-secret")
	b.get("/panel/access").has(t, "No policies here yet")
	p := b.must(b.post("/panel/access", "name", "Red reads mail", "active", "1", "tag-key", "env", "tag-value", "prod",
		"targets", "2", "t0-kind", "analysis", "t0-how", "tag", "t0-a", "team", "t0-b", "red", "t1-kind", "analysis", "t1-how", "",
		"permissions", "2", "p0-effect", "allow", "p0-how", "id", "p0-a", " "+secret.ID+" ", "p0-action", "access", "p0-action", "edit", "p1-how", "", "p1-action", "access"))
	p.has(t, "Created.", "analyses with the tag team = red", "secrets with the id "+secret.ID)
	all, err := s.vault.Directory.Policies(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("policies: %v, %v", all, err)
	}
	want := []access.Permission{{Effect: access.Allow, Action: []string{"access", "edit"}, Resource: access.Tuple{"secrets", "id", secret.ID}}}
	if diff := cmp.Diff(want, all[0].Permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]access.Tuple{{"analysis", "tag.key", "team", "tag.value", "red"}}, all[0].Targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	ask := "/panel/access/explain?analysis=" + a.ID + "&secret=MAIL_PROD"
	if got := b.get(ask).text(); !strings.Contains(got, "Allowed") || !strings.Contains(got, "by Red reads mail rule 1 , which allows it") {
		t.Errorf("explain says %s", got)
	}
	deny := s.policy("Nobody reads mail", access.Deny)
	if got := b.get(ask).text(); !strings.Contains(got, "Refused") || !strings.Contains(got, "by Nobody reads mail rule 1 , which denies it") {
		t.Errorf("explain with a deny says %s", got)
	}
	b.get("/panel/analyses/"+a.ID).has(t, "<h3>Denied</h3>", "Nobody reads mail")
	b.get("/panel/access/"+deny.ID+"/delete").has(t, "may then be allowed by another policy")
	b.must(b.post("/panel/access/"+deny.ID+"/delete")).has(t, "Deleted.")
	b.must(b.post("/panel/access/"+all[0].ID+"/delete")).has(t, "No policies here yet")
	if got := b.get(ask).text(); !strings.Contains(got, "because no rule allows it") {
		t.Errorf("explain without policies says %s", got)
	}
}

func TestAnEditKeepsWhatTheFormDoesNotKnow(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	name := "Wide"
	was, err := s.vault.Directory.CreatePolicy(t.Context(), "test", access.PolicyChange{Name: &name,
		Targets: []access.Tuple{{"analysis"}, {"run_user", "tag_match", "team"}, {"analysis", "odd", `sh"a<pe`}},
		Permissions: []access.Permission{
			{Effect: access.Allow, Action: []string{"access", "get_data"}, Resource: access.Tuple{"device", "id", "x"}},
			{Effect: access.Deny, Action: []string{"delete"}, Resource: access.Tuple{"secrets", "tag_match", "team"}}}})
	if err != nil {
		t.Fatalf("create policy: %v", err)
	}
	// What a browser sends back is what the form holds.
	v := newPolicyForm(was)
	fields := []string{"version", "1", "name", "Wide", "active", "1", "targets", "5", "permissions", "4"}
	add := func(at string, s selector) {
		fields = append(fields, at+"-kind", s.Kind, at+"-how", s.How, at+"-a", s.A, at+"-b", s.B)
	}
	for i, target := range v.Targets {
		add("t"+string(rune('0'+i)), target)
	}
	for i, p := range v.Permissions {
		at := "p" + string(rune('0'+i))
		add(at, p.Selector)
		fields = append(fields, at+"-others", p.Others)
		for _, o := range p.Effect {
			if o.Chosen {
				fields = append(fields, at+"-effect", o.Value)
			}
		}
		for _, o := range p.Actions {
			if o.Chosen {
				fields = append(fields, at+"-action", o.Value)
			}
		}
	}
	b.must(b.post("/panel/access/"+was.ID+"/edit", fields...))
	got, err := s.vault.Directory.Policy(t.Context(), was.ID)
	if err != nil {
		t.Fatalf("Policy: %v", err)
	}
	if got.Version != 2 {
		t.Errorf("version is %d, want 2", got.Version)
	}
	if diff := cmp.Diff(was.Targets, got.Targets); diff != "" {
		t.Errorf("targets (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(was.Permissions, got.Permissions); diff != "" {
		t.Errorf("permissions (-before +after):\n%s", diff)
	}
	if got := b.post("/panel/access/"+was.ID+"/edit", fields...); got.status != http.StatusConflict {
		t.Errorf("edit from an old page: got %d, want 409", got.status)
	}
}

func TestAPolicyThatIsWrongIsNotStored(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	target := []string{"targets", "1", "t0-kind", "analysis", "t0-how", "any"}
	rule := []string{"permissions", "1", "p0-effect", "allow", "p0-how", "any", "p0-action", "access"}
	for _, row := range []struct {
		name   string
		fields []string
		text   string
	}{
		{"no name", slices.Concat(target, rule), "name"},
		{"no target", slices.Concat([]string{"name", "A"}, rule), "targets"},
		{"target of an unknown kind", slices.Concat([]string{"name", "A", "targets", "1", "t0-kind", "moon", "t0-how", "any"}, rule), "targets[0][0]"},
		{"id that is missing", slices.Concat([]string{"name", "A", "targets", "1", "t0-kind", "analysis", "t0-how", "id"}, rule), "Who, row 1: the id is missing"},
		{"row with a text and no choice", slices.Concat([]string{"name", "A", "targets", "2", "t0-kind", "analysis", "t0-how", "any", "t1-a", "team"}, rule), "Who, row 2: choose which ones"},
		{"deny with a text and no choice", slices.Concat([]string{"name", "A"}, target, []string{"permissions", "2", "p0-effect", "allow", "p0-how", "any", "p0-action", "access", "p1-effect", "deny", "p1-a", "env"}), "What, row 2: choose which ones"},
		{"raw tuple that is no JSON", slices.Concat([]string{"name", "A", "targets", "1", "t0-how", "raw", "t0-a", "[1"}, rule), "JSON array of texts"},
		{"rule without an action", slices.Concat([]string{"name", "A"}, target, []string{"permissions", "1", "p0-effect", "allow", "p0-how", "any"}), "no action is ticked"},
		{"rule of an unknown effect", slices.Concat([]string{"name", "A"}, target, []string{"permissions", "1", "p0-effect", "maybe", "p0-how", "any", "p0-action", "access"}), "effect"},
		{"rule of an unknown action", slices.Concat([]string{"name", "A"}, target, []string{"permissions", "1", "p0-effect", "allow", "p0-how", "any", "p0-action", "fly"}), "action"},
	} {
		p := b.post("/panel/access", row.fields...)
		if p.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: got %d, want 422", row.name, p.status)
		}
		p.has(t, "Nothing was saved.", row.text)
	}
	all, err := s.vault.Directory.Policies(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("policies after refused forms: %v, %v; want none", all, err)
	}
}

func TestALongListHasPages(t *testing.T) {
	s := newSite(t)
	for i := range pageSize + 3 {
		s.secret("KEY_"+strings.Repeat("A", i%20)+string(rune('A'+i/20))+string(rune('A'+i%20)), "value-of-the-secret")
	}
	b := s.browser(access.Reader)
	b.get("/panel/secrets").has(t, "1 to 100 of 103", `href="?page=2"`)
	b.get("/panel/secrets?page=2").has(t, "101 to 103 of 103", `href="?page=1"`)
	for _, odd := range []string{"-1", "0", "x", "99999999999999999999"} {
		b.get("/panel/secrets?page="+odd).has(t, "1 to 100 of 103")
	}
	if got := b.get("/panel/secrets?page=9"); got.status != http.StatusOK {
		t.Errorf("page after the last: got %d, want 200", got.status)
	}
}
