package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// repeat shows on stderr what the API said beside the result.
func (a *app) repeat(c *client) {
	if said := c.said.Load(); said != nil && *said != "" {
		fmt.Fprintln(a.stderr, *said)
	}
}

func (a *app) secretTest() *cobra.Command {
	var staged bool
	var version int
	var kind string
	cmd := &cobra.Command{
		Use: "test KEY|ID", Short: "Connect and log in as a sender would, and send nothing", Args: cobra.ExactArgs(1),
		Long: "Tries the current version, or with --staged the one that waits to be promoted. What came of it\n" +
			"is kept with the version. A text does not say whose key it is: --kind email-sendgrid tries one of\n" +
			"SendGrid; keys of other services cannot be tested without sending.",
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if staged {
				query.Set("staged", "true")
			}
			if version != 0 {
				query.Set("version", strconv.Itoa(version))
			}
			if kind != "" {
				query.Set("kind", kind)
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			var result testInfo
			if err := c.call(cmd.Context(), http.MethodPost, secretPath(args[0])+"/test?"+query.Encode(), nil, &result); err != nil {
				return err
			}
			a.repeat(c)
			return a.printTest(result, staged)
		},
	}
	cmd.Flags().BoolVar(&staged, "staged", false, "test the version that waits to be promoted")
	cmd.Flags().IntVar(&version, "version", 0, "test this version, the current or the staged one")
	cmd.Flags().StringVar(&kind, "kind", "", "of a text: the kind of jobs whose key it is, email-sendgrid")
	cmd.MarkFlagsMutuallyExclusive("staged", "version")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// testInfo is what came of a test.
type testInfo struct {
	OK    bool `json:"ok"`
	Steps []struct {
		Name string `json:"name"`
		OK   bool   `json:"ok"`
		Text string `json:"text,omitempty"`
	} `json:"steps"`
}

// printTest shows the steps; the error says that the test failed.
func (a *app) printTest(result testInfo, staged bool) error {
	var err error
	if a.asJSON() {
		err = a.printJSON(result)
	} else {
		var rows [][]string
		for _, step := range result.Steps {
			rows = append(rows, []string{step.Name, map[bool]string{true: "ok", false: "FAILED"}[step.OK], step.Text})
		}
		err = a.printTable([]string{"STEP", "RESULT", "TEXT"}, rows)
	}
	switch {
	case err != nil || result.OK:
		return err
	case staged:
		return errors.New("the test failed at the last step above; nothing has changed for jobs")
	}
	return errors.New("the test failed at the last step above; jobs that use this secret would wait")
}

// versionInfo is what the API tells of one version.
type versionInfo struct {
	Version     int64             `json:"version"`
	State       string            `json:"state"`
	Type        string            `json:"type"`
	ValueLength int               `json:"value_length"`
	Destination map[string]string `json:"destination,omitempty"`
	CreatedAt   string            `json:"created_at"`
	CreatedBy   string            `json:"created_by"`
	Verdict     *verdictInfo      `json:"verdict,omitempty"`
}

type verdictInfo struct {
	At   string `json:"at"`
	By   string `json:"by"`
	OK   bool   `json:"ok"`
	Step string `json:"step,omitempty"`
	Text string `json:"text,omitempty"`
}

// result is the verdict in a table.
func (v *verdictInfo) result() string {
	switch {
	case v == nil:
		return "never"
	case v.OK:
		return "passed " + v.At
	}
	return "FAILED at " + v.Step + " " + v.At
}

func (a *app) secretVersions() *cobra.Command {
	cmd := &cobra.Command{
		Use: "versions KEY|ID", Short: "Show the staged, the current and the previous version", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			list := []versionInfo{}
			if err := c.call(cmd.Context(), http.MethodGet, secretPath(args[0])+"/versions", nil, &list); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(list)
			}
			var rows [][]string
			for _, v := range list {
				place := cmp.Or(v.Destination["server"], v.Destination["queue_url"])
				rows = append(rows, []string{strconv.FormatInt(v.Version, 10), v.State, v.CreatedAt, v.CreatedBy, place, v.Verdict.result()})
			}
			return a.printTable([]string{"VERSION", "STATE", "CREATED", "BY", "DESTINATION", "TESTED"}, rows)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) secretPromote() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "promote KEY|ID", Short: "Make the staged version current; parked jobs go on", Args: cobra.ExactArgs(1),
		Long: "Refuses a version whose last test failed or that was never tested (`secret test KEY --staged`),\n" +
			"or that another one has overtaken since, unless --force says so.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeVersion(cmd, args[0], "/promote?force="+strconv.FormatBool(force))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "promote it though no test of it passed")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) secretRollback() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollback KEY|ID", Short: "Make the value of the version before current again", Args: cobra.ExactArgs(1),
		Long: "The value comes back as a new version. The version before is kept for 7 days.",
		RunE: func(cmd *cobra.Command, args []string) error { return a.changeVersion(cmd, args[0], "/rollback") },
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// changeVersion asks for another current version and says which it is.
func (a *app) changeVersion(cmd *cobra.Command, ref, what string) error {
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	var made struct {
		ID      string `json:"id"`
		Version int64  `json:"version"`
	}
	if err := c.call(cmd.Context(), http.MethodPost, secretPath(ref)+what, nil, &made); err != nil {
		return err
	}
	a.repeat(c)
	if a.asJSON() {
		return a.printJSON(made)
	}
	fmt.Fprintf(a.stdout, "version %d is current\n", made.Version)
	return nil
}

func (a *app) secretDiscard() *cobra.Command {
	cmd := &cobra.Command{
		Use: "discard KEY|ID", Short: "Remove the staged version", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodPost, secretPath(args[0])+"/discard", nil, nil)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}
