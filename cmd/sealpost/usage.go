package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// usageInfo is what uses a secret.
type usageInfo struct {
	Actions  []namedInfo `json:"actions"`
	Analyses []namedInfo `json:"analyses"`
	Jobs     struct {
		Ready    int  `json:"ready"`
		Running  int  `json:"running"`
		Delayed  int  `json:"delayed"`
		Parked   int  `json:"parked"`
		Dead     int  `json:"dead"`
		Complete bool `json:"complete"`
	} `json:"jobs"`
}

type namedInfo struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (a *app) secretUsage() *cobra.Command {
	cmd := &cobra.Command{
		Use: "usage KEY|ID", Short: "Show what uses a secret: actions, analyses and jobs that are not done", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			var u usageInfo
			if err := c.call(cmd.Context(), http.MethodGet, secretPath(args[0])+"/usage", nil, &u); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(u)
			}
			return a.printTable([]string{"USED BY", "ID", "NAME"}, u.rows())
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// rows are the uses as a table: one for each action and analysis, and one for
// each state in which jobs are.
func (u usageInfo) rows() [][]string {
	var rows [][]string
	for _, item := range u.Actions {
		rows = append(rows, []string{"action", item.ID, item.Name})
	}
	for _, item := range u.Analyses {
		rows = append(rows, []string{"analysis", item.ID, item.Name})
	}
	more := ""
	if !u.Jobs.Complete {
		more = " or more"
	}
	for _, jobs := range []struct {
		state string
		n     int
	}{{"ready", u.Jobs.Ready}, {"running", u.Jobs.Running}, {"delayed", u.Jobs.Delayed}, {"parked", u.Jobs.Parked}, {"dead", u.Jobs.Dead}} {
		if jobs.n > 0 {
			rows = append(rows, []string{"jobs", "-", strconv.Itoa(jobs.n) + more + " " + jobs.state})
		}
	}
	return rows
}

// unlessUsed does what breaks those who use a secret only if force says so, or
// a person at a terminal who has been told of them.
func (a *app) unlessUsed(force bool, question string, do func(force bool) error) error {
	err := do(force)
	used, ok := errors.AsType[*apiError](err)
	if !ok || used.status != http.StatusConflict || !strings.Contains(used.message, "force=true") || force || !isTerminal(a.stdin) {
		return err
	}
	fmt.Fprintf(a.stderr, "%s\n%s [y/N] ", clean(used.message), question)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n') // no answer is no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return do(true)
}
