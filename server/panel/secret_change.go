package panel

import (
	"net/http"

	"github.com/sealpost/sealpost/secrets"
)

// withSecret runs f with the secret that the address names.
func (c *call) withSecret(f func(s secrets.Secret) error) error {
	s, err := c.vault.Secrets.Info(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return f(s)
}

func (c *call) secretValuePage() error {
	return c.withSecret(func(s secrets.Secret) error {
		return c.showValueForm(http.StatusOK, s, fromMeta(s), nil)
	})
}

func (c *call) showValueForm(status int, s secrets.Secret, fields []field, faults []string) error {
	v := newSecretForm(s.Type, fields)
	v.Secret, v.Key, v.Waiting, v.Faults = s, s.Key, true, faults
	return c.render(status, "secret_form", "New value for "+s.Key, v)
}

// changeSecretValue stores a new version, or stages it. The type stays: jobs name the secret
// and expect it.
func (c *call) changeSecretValue() error {
	return c.withSecret(func(s secrets.Secret) error {
		value, err := readValue(s.Type, c.r.PostForm)
		if err == nil && value.IsZero() {
			return c.showValueForm(http.StatusUnprocessableEntity, s, fromMeta(s), []string{"The value is empty."})
		}
		done := "version"
		switch {
		case err != nil:
		case c.r.PostForm.Get("stage") != "":
			done = "staged"
			_, err = c.vault.Secrets.Stage(c.r.Context(), c.actor(), secrets.PutRequest{Key: s.ID, Type: s.Type, Value: value})
		default:
			_, err = c.vault.Secrets.Update(c.r.Context(), c.actor(), s.ID, secrets.Change{Type: s.Type, Value: value})
		}
		if err == nil {
			return c.redirect("/panel/secrets/"+s.ID, done)
		}
		if faults := labelled(s.Type, faultsOf(err)); faults != nil {
			return c.showValueForm(http.StatusUnprocessableEntity, s, fromForm(s.Type, c.r.PostForm), faults)
		}
		return err
	})
}

// tagsView is the form of a secret's tags.
type tagsView struct {
	Secret secrets.Secret
	Tags   []pair
	Faults []string
}

func (c *call) secretTagsPage() error {
	return c.withSecret(func(s secrets.Secret) error {
		return c.render(http.StatusOK, "secret_tags", "Tags of "+s.Key, tagsView{Secret: s, Tags: withSpare(pairsOf(s.Tags))})
	})
}

func (c *call) changeSecretTags() error {
	return c.withSecret(func(s secrets.Secret) error {
		tags := pairs(c.r.PostForm, "tag-key", "tag-value")
		_, err := c.vault.Secrets.Update(c.r.Context(), c.actor(), s.ID, secrets.Change{Tags: tagsOf(tags)})
		if err == nil {
			return c.redirect("/panel/secrets/"+s.ID, "saved")
		}
		faults := faultsOf(err)
		if faults == nil {
			return err
		}
		return c.render(http.StatusUnprocessableEntity, "secret_tags", "Tags of "+s.Key, tagsView{Secret: s, Tags: withSpare(tags), Faults: faults})
	})
}

func (c *call) deleteSecretPage() error {
	return c.withSecret(func(s secrets.Secret) error {
		readers, unknown, err := c.readers(c.r.Context(), s)
		if err != nil {
			return err
		}
		v := confirmView{Title: "Delete " + s.Key, Question: "Delete the secret " + s.Key + "?", Button: "Delete secret", Danger: true,
			Text: "Its value is lost for good. Jobs that name it become dead letters.", Back: "/panel/secrets/" + s.ID,
			ListTitle: "These analyses lose it from their environment:"}
		for _, r := range readers {
			v.List = append(v.List, r.Analysis.Name)
		}
		if unknown {
			v.Text += " Analyses that policies grant it lose it from their environment."
		}
		return c.confirm(v)
	})
}

func (c *call) deleteSecret() error {
	if err := c.vault.Secrets.Delete(c.r.Context(), c.actor(), c.r.PathValue("id")); err != nil {
		return err
	}
	return c.redirect("/panel/secrets", "deleted")
}
