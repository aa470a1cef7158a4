package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/queue"
)

// printCauses shows the jobs of a list grouped by cause.
func (a *app) printCauses(ctx context.Context, c *client, path string) error {
	bar := a.progress("grouping", 0)
	defer bar.end()
	list, scanned := []queue.Cause{}, int64(0)
	for cursor := ""; ; {
		var page queue.Causes
		if err := c.call(ctx, http.MethodGet, path+"?"+url.Values{"group": {"cause"}, "cursor": {cursor}}.Encode(), nil, &page); err != nil {
			return err
		}
		list = queue.MergeCauses(list, page.Causes)
		scanned += int64(page.Scanned)
		bar.at(scanned, fmt.Sprintf("%d jobs", scanned))
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if a.asJSON() {
		return a.printJSON(list)
	}
	var rows [][]string
	for _, g := range list {
		rows = append(rows, []string{g.Name, strconv.FormatInt(g.Jobs, 10), g.Oldest.Format(time.RFC3339), g.Newest.Format(time.RFC3339), g.ID, g.Text})
	}
	return a.printTable([]string{"CAUSE", "JOBS", "OLDEST", "NEWEST", "EXAMPLE", "TEXT"}, rows)
}

// retryQuery is the body of POST /dead/retry for jobs that have something in common.
type retryQuery struct {
	All    bool   `json:"all,omitempty"`
	Cause  string `json:"cause,omitempty"`
	Secret string `json:"secret,omitempty"`
	Older  string `json:"older,omitempty"`
	Newer  string `json:"newer,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	Cursor string `json:"cursor,omitempty"`
}

func (q *retryQuery) filtered() bool {
	return q.All || q.Cause != "" || q.Secret != "" || q.Older != "" || q.Newer != ""
}

func (a *app) deadRetry() *cobra.Command {
	var q retryQuery
	cmd := &cobra.Command{
		Use: "retry ID...|--all|--cause KIND/REASON[/CODE]", Short: "Try dead jobs again, with all their attempts",
		Long: "By id, or all that have something in common: a cause as `dead list --by-cause` names it, a\n" +
			"secret, an age. --dry-run says how many would go where and moves nothing. A stop keeps what\n" +
			"was retried so far; the same command goes on with the rest.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if q.filtered() == (len(ids) > 0) {
				return usage("want ids of dead jobs, or --all, --cause, --secret, --older or --newer")
			}
			if len(ids) > 0 && q.DryRun {
				return usage("--dry-run goes with --all, --cause, --secret, --older or --newer")
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			if len(ids) > 0 {
				return a.actOnIDs(cmd.Context(), c, http.MethodPost, "/dead/retry", "retried", ids)
			}
			return a.retryBy(cmd.Context(), c, q)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&q.All, "all", false, "all that are dead now")
	flags.StringVar(&q.Cause, "cause", "", "those of this cause, KIND/REASON or KIND/REASON/CODE")
	flags.StringVar(&q.Secret, "secret", "", "those that used this secret, by id or key")
	flags.StringVar(&q.Older, "older", "", "those that died at least so long ago, such as 1h")
	flags.StringVar(&q.Newer, "newer", "", "those that died at most so long ago")
	flags.BoolVar(&q.DryRun, "dry-run", false, "say what would go where, and move nothing")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// retryBy asks page by page. The progress is that of the dead jobs looked at.
func (a *app) retryBy(ctx context.Context, c *client, q retryQuery) error {
	var stats queue.Stats
	if err := c.call(ctx, http.MethodGet, "/queue", nil, &stats); err != nil {
		return err
	}
	bar := a.progress("retrying", stats.Jobs[queue.Dead])
	defer bar.end()
	total := queue.Retried{Where: []queue.Destination{}}
	for {
		var page queue.Retried
		if err := c.call(ctx, http.MethodPost, "/dead/retry", q, &page); err != nil {
			if total.Retried > 0 {
				err = fmt.Errorf("%w; %d jobs were retried before that", err, total.Retried)
			}
			return err
		}
		total.Retried, total.Matched, total.Scanned = total.Retried+page.Retried, total.Matched+page.Matched, total.Scanned+page.Scanned
		total.Where = queue.MergeDestinations(total.Where, page.Where...)
		bar.at(int64(total.Scanned), fmt.Sprintf("%d of %d jobs", total.Retried, total.Scanned))
		if q.Cursor = page.Cursor; q.Cursor == "" {
			break
		}
	}
	bar.end()
	return a.printRetried(total, q.DryRun)
}

func (a *app) printRetried(total queue.Retried, dry bool) error {
	if a.asJSON() {
		return a.printJSON(total)
	}
	var rows [][]string
	for _, d := range total.Where {
		rows = append(rows, []string{orWord(d.Kind, "-"), d.Lane, d.Secret, strconv.FormatInt(d.Jobs, 10)})
	}
	if len(rows) > 0 {
		if err := a.printTable([]string{"KIND", "LANE", "SECRET", "JOBS"}, rows); err != nil {
			return err
		}
	}
	if dry {
		_, err := fmt.Fprintf(a.stdout, "would retry %d of %d dead jobs\n", total.Matched, total.Scanned)
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "retried %d jobs\n", total.Retried)
	return err
}
