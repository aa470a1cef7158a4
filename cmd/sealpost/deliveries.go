package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/queue"
)

func (a *app) deliveriesCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "deliveries", Short: "List what was tried: by job, secret, destination, kind, outcome or time", Args: cobra.NoArgs,
		Long: "Attempts of the youngest jobs come first. How long they are kept is said on stderr\n" +
			"(SEALPOST_LOG_RETENTION of the server). An attempt of a job that is more than a week older\n" +
			"than --from is found with --job only.",
	}
	flags := cmd.Flags()
	text := map[string]*string{}
	for _, f := range [][2]string{
		{"job", "of this job, by any of its ids"},
		{"secret", "with this secret, by id or key"},
		{"kind", "of this kind of action, such as email-smtp"},
		{"outcome", "after which the job was done, delayed, parked, dead, ready, cancelled or expired"},
		{"destination", "to this lane: kind, slash, and the secret as the job names it, or the origin of a URL"},
		{"certainty", "of which the other side is known to have it (accepted), not to (rejected), or neither (unknown)"},
		{"reason", "that failed for this reason, such as transient"},
		{"from", "that began then or later: RFC 3339, or a duration before now such as 2h"},
		{"to", "that began before: as --from"},
		{"cursor", "where the last list ended"},
	} {
		text[f[0]] = flags.String(f[0], "", f[1])
	}
	flags.IntVar(&limit, "limit", 100, "attempts at most, 1 to 1000")
	settingFlags(cmd, clientSettings()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		for name, value := range text {
			if *value != "" {
				query.Set(name, *value)
			}
		}
		return a.printDeliveries(cmd, query)
	}
	return cmd
}

func (a *app) printDeliveries(cmd *cobra.Command, query url.Values) error {
	c, err := a.client(cmd)
	if err != nil {
		return err
	}
	var page queue.Deliveries
	if err := c.call(cmd.Context(), http.MethodGet, "/deliveries?"+query.Encode(), nil, &page); err != nil {
		return err
	}
	if a.asJSON() {
		err = a.printJSON(page.Deliveries)
	} else {
		var rows [][]string
		for _, d := range page.Deliveries {
			rows = append(rows, []string{d.At.Format(time.RFC3339), d.Job, d.Kind, strconv.Itoa(d.Number), strconv.FormatInt(d.DurationMS, 10) + "ms",
				string(d.State), d.Stage, strings.TrimSpace(d.Code + " " + d.Text)})
		}
		err = a.printTable([]string{"AT", "JOB", "KIND", "ATTEMPT", "TOOK", "OUTCOME", "STAGE", "ANSWER"}, rows)
	}
	kept := time.Duration(page.Retention) * time.Second
	fmt.Fprintf(a.stderr, "sealpost: attempts are kept for %v\n", kept)
	if page.Dropped != nil {
		fmt.Fprintf(a.stderr, "sealpost: those of jobs enqueued before %s were dropped: there were more than SEALPOST_LOG_MAX\n", page.Dropped.Format(time.RFC3339))
	}
	if page.Cursor != "" {
		fmt.Fprintf(a.stderr, "sealpost: there are more: --cursor %s\n", clean(page.Cursor))
	}
	return err
}
