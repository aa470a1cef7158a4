package panel

import (
	"context"
	"errors"
	"net/http"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// mostReaders bounds how many analyses are asked whether they read a secret:
// each is a question with a short trip to Redis, and a page is for a person.
const mostReaders = 500

type secretsView struct {
	Secrets []secrets.Secret
	Pager   pager
}

func (c *call) listSecrets() error {
	page := c.pageNumber()
	found, err := c.vault.Secrets.List(c.r.Context(), (page-1)*pageSize, pageSize)
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "secrets", "Secrets", secretsView{found.Secrets, newPager(page, len(found.Secrets), found.Total)})
}

// secretView is one secret with its surroundings.
type secretView struct {
	Secret   secrets.Secret
	Meta     []pair // where it goes, in the words and order of the form
	Readers  []reader
	Unknown  bool // too many analyses to ask each
	Testable bool
	Steps    []actions.Step // of a test that ran now
	Tested   bool
	Passed   bool

	TestedVersion int64
	Versions      []secrets.Version // the staged one first
}

// reader is an analysis that may read a secret, with the rule that says so.
type reader struct {
	Analysis access.Analysis
	Rule     access.Rule
}

func (c *call) showSecret() error {
	s, err := c.vault.Secrets.Info(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	v, err := c.viewSecret(s)
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "secret", s.Key, v)
}

func (c *call) viewSecret(s secrets.Secret) (secretView, error) {
	v := secretView{Secret: s}
	for _, f := range fieldsOf(s.Type) {
		if text := s.Meta[f.Meta]; text != "" {
			v.Meta = append(v.Meta, pair{Key: f.Label, Value: text})
		}
	}
	if text := s.Meta["ca_sha256"]; text != "" {
		v.Meta = append(v.Meta, pair{Key: "Own CA, SHA-256", Value: text})
	}
	_, v.Testable = c.panel.testers.Tester(s.Type)
	var err error
	if v.Versions, err = c.vault.Secrets.Versions(c.r.Context(), s.ID); err != nil {
		return v, err
	}
	v.Readers, v.Unknown, err = c.readers(c.r.Context(), s)
	return v, err
}

// readers asks for each analysis whether it may read the secret.
func (c *call) readers(ctx context.Context, s secrets.Secret) ([]reader, bool, error) {
	all, err := c.vault.Directory.Analyses(ctx)
	if err != nil {
		return nil, false, err
	}
	if len(all) > mostReaders {
		return nil, true, nil
	}
	var list []reader
	for _, a := range all {
		d, err := c.vault.Directory.Decide(ctx, a.ID, resource(s), access.ActionAccess)
		if errors.Is(err, access.ErrAnalysisNotFound) {
			continue // deleted in between
		}
		if err != nil {
			return nil, false, err
		}
		if d.Allowed {
			list = append(list, reader{Analysis: a, Rule: d.Rule})
		}
	}
	return list, false, nil
}

// resource is a secret as policies see it.
func resource(s secrets.Secret) access.Resource {
	return access.Resource{Kind: access.KindSecrets, ID: s.ID, Tags: s.Tags}
}

// secretFormView is the form of a new secret or of a new value.
type secretFormView struct {
	Secret  secrets.Secret // zero for a new one
	Key     string
	Type    secrets.Type
	Types   []option
	Plain   []field // always shown
	More    []field // shown on request
	Tags    []pair
	Faults  []string
	Waiting bool // a new value for a secret that exists
}

func newSecretForm(t secrets.Type, fields []field) secretFormView {
	v := secretFormView{Type: t}
	for _, o := range []struct{ value, label string }{
		{string(secrets.TypeText), "Text"}, {string(secrets.TypeSMTP), "SMTP"}, {string(secrets.TypeSQS), "Amazon SQS"},
	} {
		v.Types = append(v.Types, option{Value: o.value, Label: o.label, Chosen: o.value == string(t)})
	}
	for _, f := range fields {
		if f.More {
			v.More = append(v.More, f)
		} else {
			v.Plain = append(v.Plain, f)
		}
	}
	return v
}

// secretType is the type that a form or an address names; text if none.
func secretType(name string) secrets.Type {
	if t := secrets.Type(name); fieldsOf(t) != nil {
		return t
	}
	return secrets.TypeText
}

func (c *call) newSecret() error {
	t := secretType(c.r.URL.Query().Get("type"))
	v := newSecretForm(t, prefill(fieldsOf(t), func(field) string { return "" }))
	v.Tags = withSpare(nil)
	return c.render(http.StatusOK, "secret_form", "New secret", v)
}

func (c *call) createSecret() error {
	form := c.r.PostForm
	t, tags := secretType(form.Get("type")), pairs(form, "tag-key", "tag-value")
	value, err := readValue(t, form)
	if err == nil {
		var made secrets.Secret
		made, err = c.vault.Secrets.Create(c.r.Context(), c.actor(), secrets.PutRequest{Key: form.Get("key"), Type: t, Value: value, Tags: tagsOf(tags)})
		if err == nil {
			return c.redirect("/panel/secrets/"+made.ID, "created")
		}
	}
	faults := labelled(t, faultsOf(err))
	if faults == nil {
		return err
	}
	v := newSecretForm(t, fromForm(t, form))
	v.Key, v.Tags, v.Faults = form.Get("key"), withSpare(tags), faults
	return c.render(http.StatusUnprocessableEntity, "secret_form", "New secret", v)
}
