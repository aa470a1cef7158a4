package email

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions"
)

func TestTheDescriptionHasAllFields(t *testing.T) {
	var want, got []string
	for f := range reflect.TypeFor[Params]().Fields() {
		if name := f.Tag.Get("json"); name != "type" {
			want = append(want, name)
		}
	}
	for _, f := range (&Action{}).Spec().Fields {
		got = append(got, f.Name)
		if f.Doc == "" {
			t.Errorf("%s: not described", f.Name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(got, want); d != "" {
		t.Error(d)
	}
}

func TestStoredMailsNameTheirSecrets(t *testing.T) {
	c := actions.NewCatalog((&Action{}).Spec())
	j := job(t, "1", signedBy(fields{"headers": map[string]string{"X-A": "$VALUE$"}, "list_unsubscribe": []string{"https://x.test/"},
		"attachments": []any{attachment("a.txt", "x", "")}, "list_unsubscribe_post": false}))
	var got []string
	for _, r := range c.References(j.Action) {
		got = append(got, strings.Join([]string{r.Field, r.ID, string(r.Secret)}, " "))
	}
	slices.Sort(got)
	want := []string{"action.dkim.secret DKIM text", "action.smtp_secret MAIL smtp"}
	if d := cmp.Diff(got, want); d != "" {
		t.Error(d)
	}
}

func TestDocumentedHeadersAreTheOnesThatAreTaken(t *testing.T) {
	for _, f := range (&Action{}).Spec().Fields {
		if f.Name != "headers" {
			continue
		}
		for _, name := range append(plainHeaders(), freeHeaders()...) {
			if !strings.Contains(f.Doc, "`"+name+"`") {
				t.Errorf("%s is not described", name)
			}
		}
	}
}

// allFields is a job that uses everything.
func allFields(t testing.TB) fields {
	t.Helper()
	raw, err := json.Marshal(fields{"from": "Shop", "cc": "c@x.test", "bcc": "d@x.test", "reply_to": "e@x.test", "html": "<b>x</b>",
		"headers": map[string]string{"X-A": "a"}, "list_unsubscribe": []string{"https://x.test/u"}, "list_unsubscribe_post": true,
		"attachments": []any{attachment("a.txt", "x", "text/plain")},
		"dkim":        fields{"domain": "x.test", "selector": "s", "secret": "DKIM"}})
	if err != nil {
		t.Fatal(err)
	}
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	return f
}
