package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/secrets"
)

// readers asks for the names of those who may read the secret, and compares
// with what Decide says of each analysis.
func readers(t *testing.T, b *bench, s secrets.Secret) string {
	t.Helper()
	found, err := b.dir.Readers(t.Context(), s)
	if err != nil {
		t.Fatalf("Readers: %v", err)
	}
	all, err := b.dir.Analyses(t.Context())
	if err != nil {
		t.Fatalf("Analyses: %v", err)
	}
	var names []string
	for _, a := range found {
		names = append(names, a.Name)
	}
	for _, a := range all {
		d, err := b.dir.Decide(t.Context(), a.ID, resourceOf(s), ActionAccess)
		if err != nil {
			t.Fatalf("Decide: %v", err)
		}
		if got := slices.Contains(names, a.Name); got != d.Allowed {
			t.Errorf("%s reads %s: got %v, but Decide says %v", a.Name, s.Key, got, d.Allowed)
		}
	}
	return strings.Join(names, " ")
}

func TestReadersOfASecret(t *testing.T) {
	b := first(t, realRedis(t))
	oslo := b.secret(t, "OSLO", "value-oslo", "site", "oslo")
	rome := b.secret(t, "ROME", "value-rome", "site", "rome")
	b.analysis(t, AnalysisChange{Name: new("y-oslo"), Tags: tagged("site", "oslo")})
	b.analysis(t, AnalysisChange{Name: new("x-oslo"), Tags: tagged("site", "oslo")})
	one, _ := b.analysis(t, AnalysisChange{Name: new("plain")})

	if got := readers(t, b, oslo); got != "" {
		t.Errorf("without policies: got %q, want nobody", got)
	}
	b.policy(t, Tuple{"analysis"}, may(Allow, "edit", "secrets"))
	if got := readers(t, b, oslo); got != "" {
		t.Errorf("with edit only: got %q, want nobody", got)
	}
	b.policy(t, Tuple{"analysis", "tag_match", "site"}, may(Allow, "access", "secrets", "tag_match", "site"))
	if got := readers(t, b, oslo) + "|" + readers(t, b, rome); got != "x-oslo y-oslo|" {
		t.Errorf("by matching tags: got %q, want those of the site, by name", got)
	}
	b.policy(t, Tuple{"analysis", "id", one.ID}, may(Allow, "access", "secrets"))
	if got := readers(t, b, oslo) + "|" + readers(t, b, rome); got != "plain x-oslo y-oslo|plain" {
		t.Errorf("with one that reads all: got %q", got)
	}
	b.policy(t, Tuple{"analysis", "tag_match", "site"}, may(Deny, "access", "secrets", "id", oslo.ID))
	if got := readers(t, b, oslo); got != "plain" {
		t.Errorf("with a deny: got %q, want the one it does not select", got)
	}
}

func TestEverySecretIsListed(t *testing.T) {
	b := first(t, realRedis(t))
	two := another(t, b)
	keys := func() string {
		all, err := two.dir.Secrets(t.Context())
		if err != nil {
			t.Fatalf("Secrets: %v", err)
		}
		var out []string
		for _, s := range all {
			out = append(out, s.Key)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	if got := keys(); got != "" {
		t.Errorf("at first: got %q, want none", got)
	}
	b.secret(t, "B", "value-b")
	b.secret(t, "A", "value-a", "k", "v")
	if got := keys(); got != "A B" {
		t.Errorf("after writes of another process: got %q, want both at once", got)
	}
	if err := b.store.Delete(t.Context(), "test", "A"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if got := keys(); got != "B" {
		t.Errorf("after a deletion: got %q, want B at once", got)
	}
}
