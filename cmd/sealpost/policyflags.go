package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// policyFlags are the flags of policy create and edit.
type policyFlags struct {
	name, file               string
	active                   bool
	analysisTags, secretTags []string
	analysisIDs, secretIDs   []string
	anyAnalysis, anySecret   bool
	allow, deny              []string
}

func (f *policyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the policy")
	flags.BoolVar(&f.active, "active", true, "an inactive policy does not count")
	flags.StringArrayVar(&f.analysisTags, "analysis-tag", nil, "k=v: about the analyses with this tag; may be repeated")
	flags.StringArrayVar(&f.analysisIDs, "analysis-id", nil, "about the analysis with this id or name; may be repeated")
	flags.BoolVar(&f.anyAnalysis, "any-analysis", false, "about all analyses")
	flags.StringArrayVar(&f.allow, "allow", nil, "secrets:ACTION[,ACTION]... with the actions access, create, edit, delete")
	flags.StringArrayVar(&f.deny, "deny", nil, "as --allow; a deny wins over every allow")
	flags.StringArrayVar(&f.secretTags, "secret-tag", nil, "k=v: on the secrets with this tag; may be repeated")
	flags.StringArrayVar(&f.secretIDs, "secret-id", nil, "on the secret with this id or key; may be repeated")
	flags.BoolVar(&f.anySecret, "any-secret", false, "on all secrets")
	flags.StringVar(&f.file, "from-file", "", "JSON file, or -, with the whole policy, as the API takes it; no other flags then")
	settingFlags(cmd, clientSettings()...)
}

// rules reports whether any flag about targets, or about permissions, is there.
func (f *policyFlags) targets() bool {
	return len(f.analysisTags)+len(f.analysisIDs) > 0 || f.anyAnalysis
}

func (f *policyFlags) permissions() bool {
	return len(f.allow)+len(f.deny)+len(f.secretTags)+len(f.secretIDs) > 0 || f.anySecret
}

// complete is what a create needs.
func (f *policyFlags) complete() error {
	switch {
	case f.name == "":
		return usage("--name is needed, or --from-file")
	case !f.targets():
		return usage("say whom it is about: --analysis-tag k=v, --analysis-id ID or --any-analysis")
	case !f.permissions():
		return usage("say what it allows or denies: --allow or --deny secrets:access, with --secret-tag k=v, --secret-id ID or --any-secret")
	}
	return nil
}

// policyBody returns a client, and the body that the flags make: the file's
// JSON, or the fields whose flags were given. Mistakes in the flags come before
// the server is asked for the ids of names.
func (a *app) policyBody(cmd *cobra.Command, f *policyFlags) (*client, any, error) {
	if f.file != "" {
		return a.policyFile(cmd, f)
	}
	if len(f.allow)+len(f.deny) == 0 && f.permissions() || len(f.allow)+len(f.deny) > 0 && len(f.secretTags)+len(f.secretIDs) == 0 && !f.anySecret {
		return nil, nil, usage("--allow or --deny needs --secret-tag k=v, --secret-id ID or --any-secret, and they need it")
	}
	body := map[string]any{}
	if cmd.Flags().Changed("name") {
		body["name"] = f.name
	}
	if cmd.Flags().Changed("active") {
		body["active"] = f.active
	}
	for _, pairs := range [][]string{f.analysisTags, f.secretTags} {
		if _, err := tagTuples("", pairs); err != nil {
			return nil, nil, err
		}
	}
	rules, err := f.effects()
	if err != nil {
		return nil, nil, err
	}
	c, err := a.client(cmd)
	if err != nil {
		return nil, nil, err
	}
	if f.targets() {
		if body["targets"], err = tuples(cmd.Context(), "analysis", f.analysisTags, f.analysisIDs, f.anyAnalysis, c.findAnalysis); err != nil {
			return nil, nil, err
		}
	}
	if f.permissions() {
		on, err := tuples(cmd.Context(), "secrets", f.secretTags, f.secretIDs, f.anySecret, c.findSecret)
		if err != nil {
			return nil, nil, err
		}
		body["permissions"] = cross(rules, on)
	}
	return c, body, nil
}

func (a *app) policyFile(cmd *cobra.Command, f *policyFlags) (*client, any, error) {
	if f.targets() || f.permissions() || cmd.Flags().Changed("name") || cmd.Flags().Changed("active") {
		return nil, nil, usage("--from-file is the whole policy; give no other flags with it")
	}
	text, err := a.readObject(f.file)
	if err != nil {
		return nil, nil, err
	}
	c, err := a.client(cmd)
	return c, text, err
}

// effects reads --allow and --deny into permissions without a resource.
func (f *policyFlags) effects() ([]permission, error) {
	var list []permission
	for _, set := range []struct {
		effect string
		texts  []string
	}{{"allow", f.allow}, {"deny", f.deny}} {
		for _, text := range set.texts {
			kind, actions, ok := strings.Cut(text, ":")
			if !ok || actions == "" || kind != "secrets" && kind != "secret" {
				return nil, usage("--%s: want secrets:ACTION[,ACTION]... with the actions access, create, edit, delete", set.effect)
			}
			list = append(list, permission{Effect: set.effect, Action: strings.Split(actions, ",")})
		}
	}
	return list, nil
}

// cross gives each permission each of the resources.
func cross(rules []permission, resources [][]string) []permission {
	var list []permission
	for _, rule := range rules {
		for _, on := range resources {
			rule.Resource = on
			list = append(list, rule)
		}
	}
	return list
}

// tuples are selectors of one kind as the API takes them.
func tuples(ctx context.Context, kind string, tags, refs []string, all bool, find func(context.Context, string) (string, error)) ([][]string, error) {
	list, err := tagTuples(kind, tags)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		id, err := find(ctx, ref)
		if err != nil {
			return nil, err
		}
		list = append(list, []string{kind, "id", id})
	}
	if all {
		list = append(list, []string{kind})
	}
	return list, nil
}

func tagTuples(kind string, pairs []string) ([][]string, error) {
	tags, err := parseTags(pairs)
	if err != nil {
		return nil, usage("--analysis-tag and --secret-tag: want k=v")
	}
	var list [][]string
	for _, t := range tags {
		list = append(list, []string{kind, "tag.key", t.Key, "tag.value", t.Value})
	}
	return list, nil
}

// findSecret returns the id of the secret that ref names by its id or key.
func (c *client) findSecret(ctx context.Context, ref string) (string, error) {
	if isID(ref) {
		return ref, nil
	}
	var s secretInfo
	err := c.call(ctx, http.MethodGet, secretPath(ref), nil, &s)
	return s.ID, err
}
