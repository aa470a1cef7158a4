package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/queue"
)

func (a *app) parkedCommand() *cobra.Command {
	return group("parked", "Jobs that wait for a credential", a.parkedList(), a.parkedRelease())
}

// parkedGroup is all jobs that wait for one secret to change.
type parkedGroup struct {
	Secret  string `json:"secret"`
	Key     string `json:"key"` // "" when the secret was deleted
	Version int64  `json:"version"`
	Jobs    int64  `json:"jobs"`
	Oldest  string `json:"oldest"`
	Reason  string `json:"reason"`
	Text    string `json:"text"`
}

func (a *app) parkedList() *cobra.Command {
	var byCause bool
	cmd := &cobra.Command{
		Use: "list", Short: "List what waits for which version of which secret", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			if byCause {
				return a.printCauses(cmd.Context(), c, "/parked")
			}
			if a.asJSON() {
				return a.passJSON(cmd.Context(), c, "/parked")
			}
			var list []parkedGroup
			if err := c.call(cmd.Context(), http.MethodGet, "/parked", nil, &list); err != nil {
				return err
			}
			var rows [][]string
			for _, g := range list {
				rows = append(rows, []string{g.Secret, g.Key, strconv.FormatInt(g.Version, 10), strconv.FormatInt(g.Jobs, 10), g.Oldest, g.Text})
			}
			return a.printTable([]string{"SECRET", "KEY", "VERSION", "JOBS", "OLDEST", "REASON"}, rows)
		},
	}
	cmd.Flags().BoolVar(&byCause, "by-cause", false, "how many jobs there are of each cause, with an example")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) parkedRelease() *cobra.Command {
	var version int64
	cmd := &cobra.Command{
		Use: "release KEY|ID", Short: "Try the jobs again that wait for this secret", Args: cobra.ExactArgs(1),
		Long: "Storing a new version of the secret does this by itself. Release by hand when the other\n" +
			"side was mended: a certificate, a mailbox that was locked.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			var result struct {
				Released int64 `json:"released"`
			}
			body := map[string]any{"secret": args[0], "version": version}
			if err := c.call(cmd.Context(), http.MethodPost, "/parked/release", body, &result); err != nil {
				return err
			}
			return a.printCount("released", result.Released, result)
		},
	}
	cmd.Flags().Int64Var(&version, "version", 0, "only jobs that wait for this version; 0 for any")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// printCount says how many jobs something was done to.
func (a *app) printCount(verb string, n int64, result any) error {
	if a.asJSON() {
		return a.printJSON(result)
	}
	_, err := fmt.Fprintf(a.stdout, "%s %d jobs\n", verb, n)
	return err
}

func (a *app) deadCommand() *cobra.Command {
	return group("dead", "Jobs that were given up", a.deadList(), a.jobShow("show"),
		a.deadRetry(), a.deadRemove())
}

func (a *app) deadList() *cobra.Command {
	var cursor string
	var limit int
	var byCause bool
	cmd := &cobra.Command{
		Use: "list", Short: "List dead jobs with the reason, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			if byCause {
				return a.printCauses(cmd.Context(), c, "/dead")
			}
			return a.listJobs(cmd.Context(), c, deadPath(limit, cursor))
		},
	}
	cmd.Flags().BoolVar(&byCause, "by-cause", false, "how many there are of each cause, with an example")
	cmd.Flags().IntVar(&limit, "limit", 100, "jobs at most, 1 to 1000")
	cmd.Flags().StringVar(&cursor, "cursor", "", "where the last list ended")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func deadPath(limit int, cursor string) string {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	return "/dead?" + query.Encode()
}

func (a *app) deadRemove() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "rm ID...|--all", Short: "Remove dead jobs for good",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return usage("want ids of dead jobs, or --all")
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			if !all {
				return a.actOnIDs(cmd.Context(), c, http.MethodDelete, "/dead", "removed", ids)
			}
			if ids, err = deadIDs(cmd.Context(), c); err != nil {
				return err
			}
			n, err := a.actOnDead(cmd.Context(), c, http.MethodDelete, "/dead", "removed", ids)
			if err != nil {
				return err
			}
			return a.printCount("removed", n, map[string]int64{"removed": n})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that are dead now")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// actOnIDs is for ids that somebody named: one that is no dead job is an error.
func (a *app) actOnIDs(ctx context.Context, c *client, method, path, done string, ids []string) error {
	n, err := a.actOnDead(ctx, c, method, path, done, ids)
	if err != nil {
		return err
	}
	if err := a.printCount(done, n, map[string]int64{done: n}); err != nil {
		return err
	}
	if missing := int64(len(ids)) - n; missing > 0 {
		return &apiError{status: http.StatusNotFound, message: fmt.Sprintf("%d of %d are not dead jobs", missing, len(ids))}
	}
	return nil
}

// deadIDs returns the refs of all dead jobs. They are gathered before anything
// is done to them: a job that is retried and dies again comes in front.
func deadIDs(ctx context.Context, c *client) ([]string, error) {
	var ids []string
	for cursor := ""; ; {
		var page jobPage
		if err := c.call(ctx, http.MethodGet, deadPath(batchJobs, cursor), nil, &page); err != nil {
			return nil, err
		}
		for _, job := range page.Jobs {
			ids = append(ids, job.Ref) // a job that came straight to Redis is not found by its own id
		}
		if page.Cursor == "" {
			return ids, nil
		}
		cursor = page.Cursor
	}
}

// actOnDead sends the ids to the route in batches and returns how many of them
// were dead jobs.
func (a *app) actOnDead(ctx context.Context, c *client, method, path, done string, ids []string) (int64, error) {
	bar := a.progress(done, int64(len(ids)))
	defer bar.end()
	var total int64
	for batch := range slices.Chunk(ids, batchJobs) {
		var result map[string]int64
		if err := c.call(ctx, method, path, map[string]any{"ids": batch}, &result); err != nil {
			if total > 0 {
				err = fmt.Errorf("%w; %d jobs were %s before that", err, total, done)
			}
			return total, err
		}
		total += result[done]
		bar.at(total, fmt.Sprintf("%d jobs", total))
	}
	return total, nil
}

func (a *app) queueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats", Short: "Show how many jobs are in which state", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.passJSON(cmd.Context(), c, "/queue")
			}
			var stats struct {
				Jobs   map[string]int64   `json:"jobs"`
				Oldest map[string]float64 `json:"oldest_seconds"`
				Paused []queue.Pause      `json:"paused"`
				Kept   float64            `json:"log_retention_seconds"`
				Lanes  []queue.LaneState  `json:"lanes"`
			}
			if err := c.call(cmd.Context(), http.MethodGet, "/queue", nil, &stats); err != nil {
				return err
			}
			var rows [][]string
			for _, state := range []string{"ready", "running", "delayed", "parked", "dead"} {
				oldest := "-"
				if stats.Jobs[state] > 0 {
					oldest = ago(stats.Oldest[state])
				}
				rows = append(rows, []string{state, strconv.FormatInt(stats.Jobs[state], 10), oldest})
			}
			if err := a.printTable([]string{"STATE", "JOBS", "OLDEST"}, rows); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "sealpost: attempts are kept for %v (SEALPOST_LOG_RETENTION of the server)\n", time.Duration(stats.Kept)*time.Second)
			if err := a.printPaused(stats.Paused); err != nil {
				return err
			}
			return a.printLanes(stats.Lanes)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return group("queue", "Look at the queue, pause and resume it", cmd, a.pauseCommand("pause"), a.pauseCommand("resume"))
}
