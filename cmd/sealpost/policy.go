package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "Say which analyses may read which secrets",
		a.policyCreate(), a.policyList(), a.policyInfo(), a.policyEdit(), a.policyRemove(), a.policyExplain())
}

// policyInfo is what the API tells of a policy.
type policyInfo struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Active      bool         `json:"active"`
	Targets     [][]string   `json:"targets"`
	Permissions []permission `json:"permissions"`
	Tags        []tag        `json:"tags"`
	CreatedAt   string       `json:"created_at"`
	UpdatedAt   string       `json:"updated_at"`
}

// permission is one rule of a policy, as the API has it.
type permission struct {
	Effect   string   `json:"effect"`
	Action   []string `json:"action"`
	Resource []string `json:"resource"`
}

// policyRow is a policy in a list, which never holds rules.
type policyRow struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Active    bool   `json:"active"`
	Tags      []tag  `json:"tags"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func (a *app) policyCreate() *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use:   "create --name N --analysis-tag k=v --allow secrets:access --secret-tag k=v",
		Short: "Create a policy; prints its id",
		Long: "The policy is about the analyses that any --analysis flag selects, and allows and denies\n" +
			"them the given actions on the secrets that any --secret flag selects. A deny of any policy\n" +
			"wins over every allow. Other rules come from a file, as the API takes them.",
		Example: "  sealpost policy create --name ops --analysis-tag team=ops --allow secrets:access --secret-tag team=ops\n" +
			"  sealpost policy create --name no-root --any-analysis --deny secrets:access,edit --secret-id ROOT_PASSWORD\n" +
			"  sealpost policy create --from-file policy.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, body, err := a.policyBody(cmd, &f)
			if err != nil {
				return err
			}
			if f.file == "" {
				if err := f.complete(); err != nil {
					return err
				}
			}
			var made struct {
				ID string `json:"am_id"`
			}
			if err := c.call(cmd.Context(), http.MethodPost, "/am", body, &made); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(map[string]string{"id": made.ID})
			}
			_, err = fmt.Fprintln(a.stdout, made.ID)
			return err
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) policyEdit() *cobra.Command {
	var f policyFlags
	cmd := &cobra.Command{
		Use: "edit POLICY", Short: "Change the given fields of a policy",
		Long: "Any --analysis flag replaces whom the policy is about, and --allow and --deny with the\n" +
			"--secret flags replace all its rules; what is not given stays.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, body, err := a.policyBody(cmd, &f)
			if err != nil {
				return err
			}
			if fields, ok := body.(map[string]any); ok && len(fields) == 0 {
				return usage("nothing to change: give --name, --active, --analysis-tag, --allow or another flag")
			}
			id, err := c.findPolicy(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodPut, policyPath(id), body, nil)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) policyList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List all policies", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			query := url.Values{"fields": {"id", "name", "active", "tags", "created_at", "updated_at"}}
			list, err := listAll[policyRow](cmd.Context(), c, "/am", query)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(list)
			}
			var rows [][]string
			for _, p := range list {
				rows = append(rows, []string{p.ID, p.Name, yesNo(p.Active), joinTags(p.Tags), p.UpdatedAt})
			}
			return a.printTable([]string{"ID", "NAME", "ACTIVE", "TAGS", "UPDATED"}, rows)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) policyInfo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "info POLICY", Short: "Show a policy with its rules", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id, err := c.findPolicy(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var p policyInfo
			if err := c.call(cmd.Context(), http.MethodGet, policyPath(id), nil, &p); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(p)
			}
			pairs := [][2]string{{"id", p.ID}, {"name", p.Name}, {"active", yesNo(p.Active)}, {"tags", joinTags(p.Tags)}}
			for _, t := range p.Targets {
				pairs = append(pairs, [2]string{"target", strings.Join(t, " ")})
			}
			for i, rule := range p.Permissions {
				pairs = append(pairs, [2]string{fmt.Sprintf("rule %d", i+1),
					rule.Effect + " " + strings.Join(rule.Action, ",") + " on " + strings.Join(rule.Resource, " ")})
			}
			return a.printPairs(append(pairs, [2]string{"created", p.CreatedAt}, [2]string{"updated", p.UpdatedAt})...)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) policyRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm POLICY", Short: "Remove a policy; what it alone granted is no longer granted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id, err := c.findPolicy(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, policyPath(id), nil, nil)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func policyPath(id string) string { return "/am/" + url.PathEscape(id) }

// findPolicy returns the id of the policy that ref names by its id or name.
func (c *client) findPolicy(ctx context.Context, ref string) (string, error) {
	if isID(ref) {
		return ref, nil
	}
	return c.findByName(ctx, "/am", "policy", ref)
}

// explanation is the API's answer to who may do what, and why.
type explanation struct {
	Allowed  bool   `json:"allowed"`
	Action   string `json:"action"`
	Rule     *rule  `json:"rule"` // nil: nothing matched
	Analysis struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Active bool   `json:"active"`
	} `json:"analysis"`
	Secret struct {
		ID  string `json:"id"`
		Key string `json:"key"`
	} `json:"secret"`
	Findings []struct {
		Rule   rule   `json:"rule"`
		Result string `json:"result"`
	} `json:"findings"`
	Omitted int `json:"omitted"`
}

// rule names one rule of one policy. Permission counts from 0, as an index in
// JSON does; people are told the number from 1, as in the panel.
type rule struct {
	Policy     string `json:"policy"`
	Name       string `json:"name"`
	Permission int    `json:"permission"`
	Effect     string `json:"effect"`
}

func (a *app) policyExplain() *cobra.Command {
	var action string
	cmd := &cobra.Command{
		Use:   "explain ANALYSIS SECRET",
		Short: "Say if this analysis may read that secret, and by which rule",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id, err := c.findAnalysis(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			path := "/am/explain?" + url.Values{"analysis": {id}, "secret": {args[1]}, "action": {action}}.Encode()
			if a.asJSON() {
				return a.passJSON(cmd.Context(), c, path)
			}
			var e explanation
			if err := c.call(cmd.Context(), http.MethodGet, path, nil, &e); err != nil {
				return err
			}
			return a.printExplanation(e)
		},
	}
	cmd.Flags().StringVar(&action, "action", "access", "access (to read), create, edit or delete")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) printExplanation(e explanation) error {
	answer, because := "no", "no rule allows it"
	if e.Allowed {
		answer = "yes"
	}
	if e.Rule != nil {
		because = fmt.Sprintf("rule %d of policy %s (%s) says %s", e.Rule.Permission+1, e.Rule.Name, e.Rule.Policy, e.Rule.Effect)
	}
	note := ""
	if !e.Analysis.Active {
		note = "the analysis is inactive and gets no environment, whatever the policies say"
	}
	err := a.printPairs([2]string{"analysis", e.Analysis.Name + " (" + e.Analysis.ID + ")"},
		[2]string{"secret", e.Secret.Key + " (" + e.Secret.ID + ")"}, [2]string{"action", e.Action},
		[2]string{"allowed", answer}, [2]string{"because", because}, [2]string{"note", note})
	if err != nil || len(e.Findings) == 0 {
		return err
	}
	var rows [][]string
	for _, f := range e.Findings {
		rows = append(rows, []string{f.Rule.Name, f.Rule.Policy, strconv.Itoa(f.Rule.Permission + 1), f.Rule.Effect, f.Result})
	}
	fmt.Fprintln(a.stdout)
	if err := a.printTable([]string{"POLICY", "ID", "RULE", "EFFECT", "RESULT"}, rows); err != nil || e.Omitted == 0 {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "and %d more\n", e.Omitted)
	return err
}
