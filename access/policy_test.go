package access

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
)

// on makes a policy whose targets are all analyses.
func on(id string, permissions ...Permission) Policy {
	return Policy{ID: id, Name: "policy " + id, Active: true, Targets: []Tuple{{"analysis"}}, Permissions: permissions}
}

func may(effect Effect, action string, resource ...string) Permission {
	return Permission{Effect: effect, Action: []string{action}, Resource: resource}
}

func targets(p Policy, t ...Tuple) Policy { p.Targets = t; return p }

func inactive(p Policy) Policy { p.Active = false; return p }

func tagged(pairs ...string) []secrets.Tag {
	var tags []secrets.Tag
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, secrets.Tag{Key: pairs[i], Value: pairs[i+1]})
	}
	return tags
}

func TestEvaluate(t *testing.T) {
	any := may(Allow, "access", "secrets")
	who := Subject{Kind: "analysis", ID: "a1", Tags: tagged("site", "rome", "site", "oslo", "kind", "report")}
	what := Resource{Kind: "secrets", ID: "s1", Tags: tagged("site", "oslo", "owner", "ops")}
	tests := []struct {
		name     string
		policies []Policy
		want     string // the deciding policy, with "!" before it for a refusal; "" for the default
	}{
		{"no policies: refused by default", nil, ""},
		{"any secret allowed", []Policy{on("p", any)}, "p"},
		{"the first of two allows decides", []Policy{on("p", any), on("q", any)}, "p"},
		{"a deny of the same policy wins", []Policy{on("p", any, may(Deny, "access", "secrets", "id", "s1"))}, "!p"},
		{"a deny of a later policy wins", []Policy{on("p", any), on("q", may(Deny, "access", "secrets", "tag.key", "owner", "tag.value", "ops"))}, "!q"},
		{"a deny of an earlier policy wins", []Policy{on("p", may(Deny, "access", "secrets")), on("q", any)}, "!p"},
		{"a deny of an inactive policy does not count", []Policy{on("p", any), inactive(on("q", may(Deny, "access", "secrets")))}, "p"},
		{"an inactive policy grants nothing", []Policy{inactive(on("p", any))}, ""},
		{"a deny for another action does not count", []Policy{on("p", any, may(Deny, "delete", "secrets"))}, "p"},
		{"an allow for another action does not count", []Policy{on("p", may(Allow, "edit", "secrets"))}, ""},
		{"the singular name counts too", []Policy{on("p", may(Allow, "access", "secret"))}, "p"},
		{"another resource does not count", []Policy{on("p", may(Allow, "access", "device"))}, ""},
		{"by id", []Policy{on("p", may(Allow, "access", "secrets", "id", "s1"))}, "p"},
		{"by another id", []Policy{on("p", may(Allow, "access", "secrets", "id", "s2"))}, ""},
		{"by tag", []Policy{on("p", may(Allow, "access", "secrets", "tag.key", "site", "tag.value", "oslo"))}, "p"},
		{"by a tag with another value", []Policy{on("p", may(Allow, "access", "secrets", "tag.key", "site", "tag.value", "rome"))}, ""},
		{"tag_match: any value in common", []Policy{on("p", may(Allow, "access", "secrets", "tag_match", "site"))}, "p"},
		{"tag_match: the analysis lacks the tag", []Policy{on("p", may(Allow, "access", "secrets", "tag_match", "owner"))}, ""},
		{"tag_match: the secret lacks the tag", []Policy{on("p", may(Allow, "access", "secrets", "tag_match", "kind"))}, ""},
		{"path is for files only", []Policy{on("p", may(Allow, "access", "secrets", "path", ""))}, ""},
		{"two elements mean nothing", []Policy{on("p", may(Allow, "access", "secrets", "id"))}, ""},
		{"a misspelt word means nothing", []Policy{on("p", may(Allow, "access", "secrets", "tag.key", "site", "tag.val", "oslo"))}, ""},
		{"a deny of unknown shape denies nothing", []Policy{on("p", any, may(Deny, "access", "secrets", "any"))}, "p"},
		{"target by id", []Policy{targets(on("p", any), Tuple{"analysis", "id", "a1"})}, "p"},
		{"target by another id", []Policy{targets(on("p", any), Tuple{"analysis", "id", "a2"})}, ""},
		{"target by tag", []Policy{targets(on("p", any), Tuple{"analysis", "tag.key", "site", "tag.value", "rome"})}, "p"},
		{"target tag_match: any value", []Policy{targets(on("p", any), Tuple{"analysis", "tag_match", "kind"})}, "p"},
		{"target tag_match: no such tag", []Policy{targets(on("p", any), Tuple{"analysis", "tag_match", "owner"})}, ""},
		{"targets are joined by or", []Policy{targets(on("p", any), Tuple{"analysis", "id", "a2"}, Tuple{"analysis", "id", "a1"})}, "p"},
		{"a path is no target", []Policy{targets(on("p", any), Tuple{"analysis", "path", ""})}, ""},
		{"run users are others", []Policy{targets(on("p", any), Tuple{"run_user"})}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Evaluate(tt.policies, who, what, "access")
			got := d.Rule.Policy
			if !d.Allowed && got != "" {
				got = "!" + got
			}
			if got != tt.want {
				t.Errorf("Evaluate = %+v, want %q", d, tt.want)
			}
		})
	}
}

func TestCreateIsGrantedByTagsOnly(t *testing.T) {
	what := Resource{Kind: "secrets", Tags: tagged("site", "oslo")}
	for _, tt := range []struct {
		name    string
		allowed Tuple
		want    bool
	}{
		{"by the tags of the request", Tuple{"secrets", "tag.key", "site", "tag.value", "oslo"}, true},
		{"by any", Tuple{"secrets"}, true},
		{"not by an id", Tuple{"secrets", "id", "s1"}, false},
		{"not by an empty id", Tuple{"secrets", "id", ""}, false},
	} {
		d := Evaluate([]Policy{on("p", may(Allow, "create", tt.allowed...))}, Subject{Kind: "analysis"}, what, "create")
		if d.Allowed != tt.want {
			t.Errorf("%s: allowed %v, want %v", tt.name, d.Allowed, tt.want)
		}
	}
}

func TestExplainNamesEveryRule(t *testing.T) {
	policies := []Policy{
		on("p1", may(Allow, "access", "secrets"), may(Allow, "edit", "secrets"), may(Allow, "access", "device")),
		on("p2", may(Deny, "access", "secrets", "id", "s1"), may(Deny, "access", "secrets", "id", "s2")),
		inactive(on("p3", may(Allow, "access", "secrets"))),
		targets(on("p4", may(Allow, "access", "secrets")), Tuple{"run_user"}),
		on("p5", may(Allow, "access", "secrets", "everything")),
	}
	e := Explain(policies, Subject{Kind: "analysis", ID: "a1"}, Resource{Kind: "secrets", ID: "s1"}, "access")
	var got []string
	for _, f := range e.Findings {
		got = append(got, f.Rule.Policy+": "+f.Result)
	}
	want := []string{
		"p2: decides", "p1: matches", "p3: policy inactive", "p4: other target",
		"p1: other action", "p2: other resource", "p5: unknown shape",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if e.Allowed || e.Rule.Policy != "p2" {
		t.Errorf("decision = %+v, want a refusal by p2", e.Decision)
	}
}

func TestDecodePolicy(t *testing.T) {
	body := `{"name":"mail","ignored":{"x":1},"__proto__":{"active":false},
		"permissions":[{"effect":"deny","action":["access"],"resource":["secret","id","x"]},
			{"effect":"allow","action":["access","edit"],"resource":["secrets","tag.key","a","tag.value","b","more"]}],
		"targets":[["analysis","tag_match","k"],["run_user","what","is","this","shape","now"]],"tags":[{"key":"a","value":"b"}]}`
	c, err := DecodePolicy([]byte(body))
	if err != nil {
		t.Fatalf("DecodePolicy: %v", err)
	}
	var f faults
	c.required(&f)
	c.check(&f)
	if err := f.err(); err != nil {
		t.Fatalf("check: %v", err)
	}
	got := c.apply(Policy{ID: "p", Active: true})
	want := Policy{
		ID: "p", Name: "mail", Active: true,
		Permissions: []Permission{
			{Effect: Allow, Action: []string{"access", "edit"}, Resource: Tuple{"secrets", "tag.key", "a", "tag.value", "b"}},
			{Effect: Deny, Action: []string{"access"}, Resource: Tuple{"secret", "id", "x"}},
		},
		Targets: []Tuple{{"analysis", "tag_match", "k"}, {"run_user", "what", "is", "this", "shape"}},
		Tags:    tagged("a", "b"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
}

func TestPolicyIsRefused(t *testing.T) {
	with := func(field, value string) string {
		fields := map[string]string{"name": `"n"`, "permissions": `[]`, "targets": `[["analysis"]]`}
		fields[field] = value
		var parts []string
		for _, k := range []string{"name", "active", "permissions", "targets", "tags"} {
			if v, ok := fields[k]; ok && v != "" {
				parts = append(parts, `"`+k+`":`+v)
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	tests := []struct{ name, body, want string }{
		{"no JSON", `{"name":`, "Expected object, received invalid JSON"},
		{"an array", `[]`, "Expected object, received array"},
		{"null", `null`, "Expected object, received null"},
		{"no name", with("name", ""), "name: Required"},
		{"an empty name", with("name", `""`), "name: String must contain at least 1"},
		{"a long name", with("name", `"`+strings.Repeat("é", 101)+`"`), "name: String must contain at most 100"},
		{"a name with a line break", with("name", `"a\r\nb"`), "name: String must not contain control"},
		{"a name in another case is not the name", `{"Name":"n","permissions":[],"targets":[["analysis"]]}`, "name: Required"},
		{"a number as name", with("name", `7`), "name: Expected string, received number"},
		{"active as text", with("active", `"true"`), "active: Expected boolean, received string"},
		{"active null", with("active", `null`), "active: Expected boolean, received null"},
		{"no permissions", with("permissions", ""), "permissions: Required"},
		{"permissions as object", with("permissions", `{}`), "permissions: Expected array, received object"},
		{"no targets", with("targets", ""), "targets: Required"},
		{"an empty list of targets", with("targets", `[]`), "targets: Array must contain at least 1"},
		{"a target that is no tuple", with("targets", `["analysis"]`), "targets[0]: Expected array, received string"},
		{"a target of another kind", with("targets", `[["device"]]`), "targets[0][0]: Invalid enum value"},
		{"an empty target", with("targets", `[[]]`), "targets[0][0]: Invalid enum value"},
		{"a number in a target", with("targets", `[["analysis","id",7]]`), "targets[0][2]: Expected string, received number"},
		{"an effect that is not one", with("permissions", `[{"effect":"denied","action":["access"],"resource":["secrets"]}]`), "permissions[0].effect: Invalid enum"},
		{"a misspelt resource", with("permissions", `[{"effect":"deny","action":["access"],"resource":["secrest"]}]`), "permissions[0].resource[0]: Invalid enum"},
		{"a misspelt action on secrets", with("permissions", `[{"effect":"deny","action":["acess"],"resource":["secrets"]}]`), "permissions[0].action[0]: Invalid enum"},
		{"an action that is no name", with("permissions", `[{"effect":"deny","action":["Get Data"],"resource":["device"]}]`), "permissions[0].action[0]: Invalid enum"},
		{"a permission without fields", with("permissions", `[{}]`), "permissions[0].effect: Required; permissions[0].action: Required; permissions[0].resource: Required"},
		{"10,000 tags", with("tags", "["+strings.Repeat(`{"key":"a","value":"b"},`, 9999)+`{"key":"a","value":"b"}]`), "tags: Array must contain at most 30"},
		{"a tag without value", with("tags", `[{"key":"a"}]`), "tags[0].value: Required"},
		{"a tag with a control character", with("tags", `[{"key":"a\nb","value":""}]`), "tags[0].key: String must not contain control"},
		{"too many permissions", with("permissions", "["+strings.Repeat(`{},`, 200)+`{}]`), "permissions: Array must contain at most 200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := DecodePolicy([]byte(tt.body))
			if err == nil {
				var f faults
				c.required(&f)
				c.check(&f)
				err = f.err()
			}
			if !errors.Is(err, secrets.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzDecodePolicy(f *testing.F) {
	f.Add([]byte(`{"name":"n","permissions":[{"effect":"allow","action":["access"],"resource":["secrets"]}],"targets":[["analysis"]]}`))
	f.Add([]byte(`{"name":1,"permissions":[[]],"targets":[{}],"tags":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := DecodePolicy(body)
		var bad faults
		c.check(&bad)
		if err != nil || bad.err() != nil {
			return
		}
		p := c.apply(Policy{})
		for _, perm := range p.Permissions { // what was accepted can be asked about
			Evaluate([]Policy{p}, Subject{Kind: KindAnalysis}, Resource{Kind: perm.Resource[0]}, ActionAccess)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	policies := []Policy{on("p", may(Deny, "access", "secrets", "id", "x")), on("q", may(Allow, "access", "secrets", "tag_match", "site"))}
	who := Subject{Kind: "analysis", ID: "a1", Tags: tagged("site", "oslo")}
	what := Resource{Kind: "secrets", ID: "s1", Tags: tagged("site", "oslo")}
	for b.Loop() {
		if !Evaluate(policies, who, what, "access").Allowed {
			b.Fatal("refused")
		}
	}
}
