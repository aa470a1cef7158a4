package access

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/secrets"
)

func TestScopesComeBackWithTheToken(t *testing.T) {
	s, rdb := tokens(t)
	id := "0123456789abcdef01234567"
	given := Scopes{Kinds: []string{"queue-sqs", "email-smtp", "queue-sqs"}, Secrets: []string{"mail_prod", id},
		Domains: []string{"*.Example.COM", "bücher.test", "EXAMPLE.com"}}
	want := Scopes{Kinds: []string{"email-smtp", "queue-sqs"}, Secrets: []string{id, "MAIL_PROD"},
		Domains: []string{"*.example.com", "example.com", "xn--bcher-kva.test"}}
	text, token, err := s.Create(t.Context(), Producer, "shop", TokenOptions{Scopes: given})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	if diff := cmp.Diff(token.Scopes, want); diff != "" {
		t.Errorf("Create: got -, want +\n%s", diff)
	}
	fresh := NewStore(rdb, s.keyring)
	who, err := fresh.Verify(t.Context(), text.Reveal())
	if diff := cmp.Diff(who.Scopes, want); err != nil || diff != "" {
		t.Errorf("Verify: %v; got -, want +\n%s", err, diff)
	}
	list, err := fresh.List(t.Context())
	if err != nil || len(list) != 1 || !cmp.Equal(list[0], token) {
		t.Errorf("List = %+v, %v, want only %+v", list, err, token)
	}
	if got, want := want.String(), "kinds=email-smtp,queue-sqs secrets="+id+",MAIL_PROD domains=*.example.com,example.com,xn--bcher-kva.test"; got != want {
		t.Errorf("String: got %q, want %q", got, want)
	}
}

func TestScopesThatAreNoneAreRefused(t *testing.T) {
	s, _ := tokens(t)
	many := strings.Split(strings.Repeat("K ", maxScopes+1), " ")[:maxScopes+1]
	for name, tt := range map[string]struct {
		kind   Kind
		scopes Scopes
	}{
		"of an admin":               {Admin, Scopes{Kinds: []string{"email-smtp"}}},
		"of a reader":               {Reader, Scopes{Domains: []string{"example.com"}}},
		"an empty kind":             {Producer, Scopes{Kinds: []string{""}}},
		"a kind of lines":           {Producer, Scopes{Kinds: []string{"a\nb"}}},
		"too many secrets":          {Producer, Scopes{Secrets: many}},
		"a long secret":             {Producer, Scopes{Secrets: []string{strings.Repeat("A", maxScope+1)}}},
		"a secret outside of ASCII": {Producer, Scopes{Secrets: []string{"ſECRET"}}},
		"a domain that is a star":   {Producer, Scopes{Domains: []string{"*"}}},
		"a star and nothing":        {Producer, Scopes{Domains: []string{"*."}}},
		"a star in the middle":      {Producer, Scopes{Domains: []string{"a.*.test"}}},
		"two stars":                 {Producer, Scopes{Domains: []string{"*.*.test"}}},
		"a domain with a last dot":  {Producer, Scopes{Domains: []string{"example.com."}}},
		"an address":                {Producer, Scopes{Domains: []string{"me@example.com"}}},
		"an empty domain":           {Producer, Scopes{Domains: []string{""}}},
		"a long domain":             {Producer, Scopes{Domains: []string{strings.Repeat("a.", maxDomain/2) + "test"}}},
	} {
		if _, _, err := s.Create(t.Context(), tt.kind, "x", TokenOptions{Scopes: tt.scopes}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Create = %v, want ErrInvalid", name, err)
		}
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List = %+v, %v, want none", list, err)
	}
}

func TestScopesOfSecrets(t *testing.T) {
	const id = "0123456789abcdef01234567"
	for name, tt := range map[string]struct {
		scope, id, key string
		want           bool
	}{
		"the key":                       {"MAIL", id, "MAIL", true},
		"the id":                        {id, id, "MAIL", true},
		"another key":                   {"MAIL", id, "MAIL2", false},
		"a key that looks like the id":  {strings.Repeat("1", 24), id, strings.Repeat("1", 24), false},
		"a key that is the id in upper": {id, strings.Repeat("2", 24), strings.ToUpper(id), false},
	} {
		if got := (Scopes{Secrets: []string{tt.scope}}).AllowsSecret(tt.id, tt.key); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}

func TestScopesOfDomains(t *testing.T) {
	scopes := Scopes{Domains: []string{"example.com", "*.example.org"}}
	for address, want := range map[string]bool{
		"a@example.com": true, "a@sub.example.com": false, "a@notexample.com": false, "a@example.com.evil.test": false,
		"a@sub.example.org": true, "a@a.b.example.org": true, "a@example.org": false, "a@notexample.org": false,
		"example.com@evil.test": false, "a@": false, "": false,
	} {
		if got := scopes.AllowsAddress(address); got != want {
			t.Errorf("%q: got %t, want %t", address, got, want)
		}
	}
	if none := (Scopes{}); !none.AllowsAddress("a@b.test") || !none.AllowsKind("x") || !none.AllowsSecret("x", "Y") {
		t.Error("no scopes: something is not allowed")
	}
}

// TestScopesChangedInRedisAreRefused goes around the seal over all tokens, so
// that only the token's own MAC can see the change.
func TestScopesChangedInRedisAreRefused(t *testing.T) {
	s, _ := tokens(t)
	given := Scopes{Kinds: []string{"a", "b"}, Secrets: []string{"C"}, Domains: []string{"d.test"}}
	text, token, err := s.Create(t.Context(), Producer, "shop", TokenOptions{Scopes: given})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	made, err := s.record(t.Context(), token.ID)
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	mac := made.MAC
	for name, scopes := range map[string]Scopes{
		"as they were":         given,
		"taken away":           {},
		"one more":             {Kinds: []string{"a", "b", "c"}, Secrets: given.Secrets, Domains: given.Domains},
		"moved to another":     {Kinds: []string{"a"}, Secrets: []string{"b", "C"}, Domains: given.Domains},
		"a length as an entry": {Kinds: []string{"a", "b", "1", "C"}, Domains: given.Domains},
		"glued":                {Kinds: []string{"ab"}, Secrets: given.Secrets, Domains: given.Domains},
	} {
		r := tokenRecord{Kind: Producer, Name: "shop", NotBefore: token.NotBefore.Unix(), Scopes: scopes, MAC: mac}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.write(t.Context(), token.ID, string(b), secrets.AuditEntry{Op: "test"}); err != nil {
			t.Fatalf("write: %v", err)
		}
		_, err = s.Verify(t.Context(), text.Reveal())
		if name == "as they were" {
			if err != nil {
				t.Errorf("%s: Verify = %v, want nil", name, err)
			}
		} else if !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: Verify = %v, want ErrUnauthorized", name, err)
		}
	}
}

// TestTokensOfBeforeThereWereScopesStayGood writes a record as it was then.
func TestTokensOfBeforeThereWereScopesStayGood(t *testing.T) {
	s, _ := tokens(t)
	text, token := mint(t, s, Producer, 0)
	at := token.NotBefore.Unix()
	hash := sha256.Sum256([]byte(text))
	mac := s.keyring.MAC("token", token.ID, "producer", "tester", strconv.FormatInt(at, 10), "0", string(hash[:]))
	b, err := json.Marshal(map[string]any{"k": "producer", "n": "tester", "b": at, "x": 0, "m": mac})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), token.ID, string(b), secrets.AuditEntry{Op: "test"}); err != nil {
		t.Fatalf("write: %v", err)
	}
	if who, err := s.Verify(t.Context(), text); err != nil || !who.Scopes.IsZero() {
		t.Errorf("Verify = %+v, %v, want it without scopes", who, err)
	}
}
