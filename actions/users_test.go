package actions

import (
	"strings"
	"testing"

	"github.com/sealpost/sealpost/secrets"
)

func TestUsersOfASecret(t *testing.T) {
	s := newShelf(t)
	const id = "0123456789abcdef01234567"
	mail := func(name, secret string) string {
		return `{"name":"` + name + `","type":"interval","trigger":[{"interval":"3 minutes"}],` +
			`"action":{"type":"email-smtp","to":"a@b.test","from":"c@d.test","subject":"s","message":"m","smtp_secret":"` + secret + `"}}`
	}
	s.create(t, mail("by key", "MAIL"))
	s.create(t, mail("by id", id))
	s.create(t, mail("by key in lower case", "mail"))
	s.create(t, mail("another's", "OTHER"))
	s.create(t, `{"name":"script","type":"interval","trigger":[{"interval":"3 minutes"}],"action":{"type":"script","script":["`+id+`"]}}`)
	s.create(t, postBody)
	users := func(id, key string) string {
		t.Helper()
		found, err := s.another(t).Users(t.Context(), secrets.Secret{Ref: secrets.Ref{ID: id, Key: key}})
		if err != nil {
			t.Fatalf("Users: %v", err)
		}
		var names []string
		for _, d := range found {
			if d.Action != nil {
				t.Errorf("%s comes with what it does", d.Name)
			}
			names = append(names, d.Name)
		}
		return strings.Join(names, ", ")
	}
	if got, want := users(id, "MAIL"), "by id, by key, by key in lower case"; got != want {
		t.Errorf("users: got %q, want %q", got, want)
	}
	if got := users("fedcba9876543210fedcba98", "UNUSED"); got != "" {
		t.Errorf("users of an unused secret: got %q, want none", got)
	}
}
