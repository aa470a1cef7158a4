package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/secrets/redact"
)

func (a *app) analysisCommand() *cobra.Command {
	return group("analysis", "Create, list and change analyses",
		a.analysisCreate(), a.analysisList(), a.analysisInfo(), a.analysisEdit(), a.analysisRemove(), a.analysisToken())
}

// variable is a variable of an analysis as the API has it. It is configuration
// that admins read back, and no secret.
type variable struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// analysisInfo is what these commands show of an analysis: all but its token.
type analysisInfo struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Active      bool       `json:"active"`
	RunOn       string     `json:"run_on"`
	Runtime     string     `json:"runtime"`
	Variables   []variable `json:"variables"`
	Tags        []tag      `json:"tags"`
	LastRun     string     `json:"last_run"`
	CreatedAt   string     `json:"created_at"`
	UpdatedAt   string     `json:"updated_at"`
}

// analysisFlags are the flags of create and edit.
type analysisFlags struct {
	name, description, runOn string
	active                   bool
	tags, vars               []string
	noTags, noVars           bool
}

func (f *analysisFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.description, "description", "", "what it is for")
	cmd.Flags().StringVar(&f.runOn, "run-on", "external", "external (it listens) or tago (a worker starts it); an edit that changes it makes a new token")
	cmd.Flags().BoolVar(&f.active, "active", true, "an inactive analysis gets no environment")
	cmd.Flags().StringArrayVar(&f.tags, "tag", nil, "k=v, may be repeated; an edit replaces all tags")
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "K=V, a variable of its own, may be repeated; an edit replaces all of them")
	settingFlags(cmd, clientSettings()...)
}

// body holds the fields whose flags were given.
func (f *analysisFlags) body(cmd *cobra.Command) (map[string]any, error) {
	body := map[string]any{}
	for flag, field := range map[string]string{"name": "name", "description": "description", "run-on": "run_on"} {
		if cmd.Flags().Changed(flag) {
			body[field] = cmd.Flags().Lookup(flag).Value.String()
		}
	}
	if cmd.Flags().Changed("active") {
		body["active"] = f.active
	}
	tags, err := parseTags(f.tags)
	if err != nil {
		return nil, err
	}
	vars, err := parseVars(f.vars)
	switch {
	case err != nil:
		return nil, err
	case f.noTags && tags != nil, f.noVars && vars != nil:
		return nil, usage("--no-tags and --no-vars take all away; do not give --tag or --var with them")
	}
	if tags != nil || f.noTags {
		body["tags"] = append([]tag{}, tags...)
	}
	if vars != nil || f.noVars {
		body["variables"] = append([]variable{}, vars...)
	}
	return body, nil
}

// parseVars reads K=V pairs; the value may be empty and may hold further =.
func parseVars(pairs []string) ([]variable, error) {
	var list []variable
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usage("--var: want K=V")
		}
		list = append(list, variable{Key: key, Value: value})
	}
	return list, nil
}

func (a *app) analysisCreate() *cobra.Command {
	var f analysisFlags
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an analysis; prints its id and its token",
		Example: "  sealpost analysis create report --tag team=ops --var REGION=eu\n" +
			"  sealpost policy create --name ops --analysis-tag team=ops --allow secrets:access --secret-tag team=ops",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(cmd)
			if err != nil {
				return err
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			// External by default: a worker starts scripts only if it is told where they are.
			body["name"], body["run_on"] = args[0], f.runOn
			var made struct {
				ID    string        `json:"id"`
				Token redact.String `json:"token"`
			}
			if err := c.call(cmd.Context(), http.MethodPost, "/analysis", body, &made); err != nil {
				return err
			}
			if made.Token.IsZero() {
				if made.Token, err = c.tokenFor(cmd.Context(), made.ID); err != nil {
					return fmt.Errorf("created %s, but its token cannot be read: %w", made.ID, err)
				}
			}
			if a.asJSON() {
				return a.printJSON(map[string]string{"id": made.ID, "token": made.Token.Reveal()})
			}
			_, err = fmt.Fprintf(a.stdout, "%s\n%s\n", made.ID, made.Token.Reveal())
			return err
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) analysisEdit() *cobra.Command {
	var f analysisFlags
	cmd := &cobra.Command{
		Use: "edit ANALYSIS", Short: "Change the given fields of an analysis", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := f.body(cmd)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usage("nothing to change: give --name, --tag, --var or another flag")
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id, err := c.findAnalysis(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodPut, analysisPath(id), body, nil)
		},
	}
	cmd.Flags().StringVar(&f.name, "name", "", "another name")
	cmd.Flags().BoolVar(&f.noTags, "no-tags", false, "take all tags away")
	cmd.Flags().BoolVar(&f.noVars, "no-vars", false, "take all variables away")
	f.add(cmd)
	return cmd
}

func (a *app) analysisList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List all analyses", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			query := url.Values{"fields": {"id", "name", "active", "run_on", "tags", "last_run", "created_at", "updated_at"}}
			list, err := listAll[analysisRow](cmd.Context(), c, "/analysis", query)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(list)
			}
			var rows [][]string
			for _, s := range list {
				rows = append(rows, []string{s.ID, s.Name, yesNo(s.Active), s.RunOn, joinTags(s.Tags), s.LastRun})
			}
			return a.printTable([]string{"ID", "NAME", "ACTIVE", "RUN ON", "TAGS", "LAST RUN"}, rows)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// analysisRow is an analysis in a list.
type analysisRow struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Active    bool   `json:"active"`
	RunOn     string `json:"run_on"`
	Tags      []tag  `json:"tags"`
	LastRun   string `json:"last_run"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func (a *app) analysisInfo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "info ANALYSIS", Short: "Show an analysis, without its token", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id, err := c.findAnalysis(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var s analysisInfo
			if err := c.call(cmd.Context(), http.MethodGet, analysisPath(id), nil, &s); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(s)
			}
			var names []string
			for _, v := range s.Variables {
				names = append(names, v.Key)
			}
			return a.printPairs([2]string{"id", s.ID}, [2]string{"name", s.Name}, [2]string{"description", s.Description},
				[2]string{"active", yesNo(s.Active)}, [2]string{"run on", s.RunOn}, [2]string{"runtime", s.Runtime},
				[2]string{"variables", strings.Join(names, ",")}, [2]string{"tags", joinTags(s.Tags)}, [2]string{"last run", s.LastRun},
				[2]string{"created", s.CreatedAt}, [2]string{"updated", s.UpdatedAt})
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) analysisRemove() *cobra.Command {
	return a.onAnalysis("rm ANALYSIS", "Remove an analysis; its token ends with it", func(ctx context.Context, c *client, id string) error {
		return c.call(ctx, http.MethodDelete, analysisPath(id), nil, nil)
	})
}

func (a *app) analysisToken() *cobra.Command {
	return a.onAnalysis("token ANALYSIS", "Print the token of an analysis", func(ctx context.Context, c *client, id string) error {
		token, err := c.tokenFor(ctx, id)
		if err != nil {
			return err
		}
		if a.asJSON() {
			return a.printJSON(map[string]string{"id": id, "token": token.Reveal()})
		}
		_, err = fmt.Fprintln(a.stdout, token.Reveal())
		return err
	})
}

// onAnalysis is a command that does one thing to one analysis.
func (a *app) onAnalysis(use, short string, do func(context.Context, *client, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			id, err := c.findAnalysis(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return do(cmd.Context(), c, id)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// findAnalysis returns the id of the analysis that ref names: by its id, or by
// its name, which has to be the only one then. The token of an analysis finds
// its own.
func (c *client) findAnalysis(ctx context.Context, ref string) (string, error) {
	if isID(ref) {
		return ref, nil
	}
	if c.isAnalysis() {
		var self struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		}
		if err := c.call(ctx, http.MethodGet, "/info", nil, &self); err != nil {
			return "", err
		}
		if self.Name != ref {
			return "", &apiError{http.StatusForbidden, fmt.Sprintf("SEALPOST_TOKEN is of the analysis %s, and sees no other", clean(self.Name))}
		}
		return self.ID, nil
	}
	return c.findByName(ctx, "/analysis", "analysis", ref)
}

// findByName returns the id of the only row with this name.
func (c *client) findByName(ctx context.Context, path, kind, name string) (string, error) {
	list, err := listAll[analysisRow](ctx, c, path, url.Values{"fields": {"id", "name"}, "filter[name]": {name}})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, s := range list {
		if s.Name == name { // the filter ignores case and knows wildcards
			ids = append(ids, s.ID)
		}
	}
	switch len(ids) {
	case 0:
		return "", &apiError{http.StatusNotFound, fmt.Sprintf("no %s has the id or name %s", kind, clean(name))}
	case 1:
		return ids[0], nil
	}
	return "", errors.New(strconv.Itoa(len(ids)) + " have the name " + clean(name) + "; give the id: " + strings.Join(ids, ", "))
}

// listAll reads a list page after page. It is never nil.
func listAll[T any](ctx context.Context, c *client, path string, query url.Values) ([]T, error) {
	const amount = 1000 // rows a page
	query.Set("amount", strconv.Itoa(amount))
	all := []T{}
	for page := 1; ; page++ {
		query.Set("page", strconv.Itoa(page))
		var list []T
		if err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &list); err != nil {
			return nil, err
		}
		all = append(all, list...)
		if len(list) < amount {
			return all, nil
		}
	}
}

func yesNo(b bool) string { return map[bool]string{true: "yes", false: "no"}[b] }
