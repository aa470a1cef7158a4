package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/queue"
)

// pauseCommand is `queue pause` and `queue resume`, which differ in their route only.
func (a *app) pauseCommand(name string) *cobra.Command {
	short, long := "Hold back all jobs, those of a kind, or those of a lane", "Running jobs finish. It holds for all processes, also after a restart, until `queue resume`."
	if name == "resume" {
		short, long = "End a pause", "Ends the pause of the same words, and no other: without a flag that of everything."
	}
	var body struct {
		Kind string `json:"kind,omitempty"`
		Lane string `json:"lane,omitempty"`
	}
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if body.Kind != "" && body.Lane != "" {
				return usage("want --kind or --lane: a lane is of one kind")
			}
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			var result struct {
				Changed bool          `json:"changed"`
				Paused  []queue.Pause `json:"paused"`
			}
			if err := c.call(cmd.Context(), http.MethodPost, "/queue/"+name, body, &result); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(result)
			}
			if !result.Changed {
				fmt.Fprintln(a.stdout, "it was so before")
			}
			if len(result.Paused) == 0 {
				_, err = fmt.Fprintln(a.stdout, "nothing is paused")
				return err
			}
			return a.printPaused(result.Paused)
		},
	}
	cmd.Flags().StringVar(&body.Kind, "kind", "", "jobs of this kind, such as email-smtp")
	cmd.Flags().StringVar(&body.Lane, "lane", "", "jobs of this lane, such as email-smtp/MAIL_PROD")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

func (a *app) printPaused(list []queue.Pause) error {
	for _, p := range list {
		what := "everything"
		switch {
		case p.Kind != "":
			what = "kind " + p.Kind
		case p.Lane != "":
			what = "lane " + p.Lane
		}
		if _, err := fmt.Fprintf(a.stdout, "paused: %s since %s\n", clean(what), p.Since.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}
