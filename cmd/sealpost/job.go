package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) jobCommand() *cobra.Command {
	return group("job", "Send, show, list and cancel jobs", a.jobSend(), a.jobShow("show"), a.jobList(), a.jobCancel())
}

// jobStatus is what the API tells of a job.
type jobStatus struct {
	Ref           string       `json:"ref"` // finds the job also when its producer's id does not
	ID            string       `json:"id"`
	State         string       `json:"state"`
	Kind          string       `json:"kind"`
	Attempts      []jobAttempt `json:"attempts"`
	AttemptCount  int          `json:"attempt_count"`
	HandbackCount int          `json:"handback_count"`
	CrashCount    int          `json:"crash_count"`
	EnqueuedAt    string       `json:"enqueued_at"`
	DueAt         string       `json:"due_at"`
	Parked        *struct {
		Secret  string `json:"secret"`
		Version int64  `json:"version"`
	} `json:"parked"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

type jobAttempt struct {
	At            string  `json:"at"`
	SecretVersion int64   `json:"secret_version"`
	Stage         string  `json:"stage"`
	Code          string  `json:"code"`
	Text          string  `json:"text"`
	Reason        string  `json:"reason"`
	Certainty     string  `json:"certainty"`
	DurationMS    float64 `json:"duration_ms"`
}

// ended reports whether the job stays where it is unless a person acts.
func (s jobStatus) ended() bool {
	switch s.State {
	case "done", "dead", "cancelled", "expired", "parked":
		return true
	}
	return false
}

// last is the last thing that the other side, or we, said of the job.
func (s jobStatus) last() string {
	if s.Text != "" {
		return s.Text
	}
	if n := len(s.Attempts); n > 0 {
		return strings.TrimSpace(s.Attempts[n-1].Code + " " + s.Attempts[n-1].Text)
	}
	return ""
}

func jobPath(id string) string { return "/jobs/" + url.PathEscape(id) }

// jobShow is a command of its own and also `dead show`.
func (a *app) jobShow(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " ID", Short: "Show a job with every attempt", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.passJSON(cmd.Context(), c, jobPath(args[0]))
			}
			var s jobStatus
			if err := c.call(cmd.Context(), http.MethodGet, jobPath(args[0]), nil, &s); err != nil {
				return err
			}
			return a.printJob(s)
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// passJSON prints the result of a GET as the API gave it.
func (a *app) passJSON(ctx context.Context, c *client, path string) error {
	var result json.RawMessage
	if err := c.call(ctx, http.MethodGet, path, nil, &result); err != nil {
		return err
	}
	return a.printJSON(result)
}

func (a *app) printJob(s jobStatus) error {
	parked := ""
	if s.Parked != nil {
		parked = fmt.Sprintf("on version %d of secret %s", s.Parked.Version, s.Parked.Secret)
	}
	err := a.printPairs([2]string{"id", s.ID}, [2]string{"ref", s.Ref}, [2]string{"state", s.State}, [2]string{"kind", s.Kind},
		[2]string{"enqueued", s.EnqueuedAt}, [2]string{"due", s.DueAt}, [2]string{"parked", parked}, [2]string{"reason", s.Reason},
		[2]string{"text", s.Text},
		[2]string{"attempts", fmt.Sprintf("%d (handed back %d, crashes %d)", s.AttemptCount, s.HandbackCount, s.CrashCount)})
	if err != nil || len(s.Attempts) == 0 {
		return err
	}
	var rows [][]string
	for _, at := range s.Attempts {
		rows = append(rows, []string{at.At, strconv.FormatFloat(at.DurationMS, 'f', 0, 64) + "ms", at.Stage, orWord(at.Reason, "accepted"),
			strconv.FormatInt(at.SecretVersion, 10), strings.TrimSpace(at.Code + " " + at.Text)})
	}
	fmt.Fprintln(a.stdout)
	return a.printTable([]string{"AT", "TOOK", "STAGE", "RESULT", "SECRET VERSION", "ANSWER"}, rows)
}

func orWord(text, missing string) string {
	if text == "" {
		return missing
	}
	return text
}

func (a *app) jobList() *cobra.Command {
	var state, kind, cursor string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List jobs of one state", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			query := url.Values{"state": {state}, "limit": {strconv.Itoa(limit)}}
			if cursor != "" {
				query.Set("cursor", cursor)
			}
			if kind != "" {
				query.Set("kind", kind)
			}
			return a.listJobs(cmd.Context(), c, "/jobs?"+query.Encode())
		},
	}
	cmd.Flags().StringVar(&state, "state", "ready", "ready, running, delayed, parked, dead, done, cancelled or expired")
	cmd.Flags().StringVar(&kind, "kind", "", "of this kind of action only; a page may then be short")
	cmd.Flags().IntVar(&limit, "limit", 100, "jobs at most, 1 to 1000")
	cmd.Flags().StringVar(&cursor, "cursor", "", "where the last list ended")
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// jobPage is one page of a list of jobs.
type jobPage struct {
	Jobs   []jobStatus `json:"jobs"`
	Cursor string      `json:"cursor"`
}

// listJobs prints one page; where it goes on is said on stderr.
func (a *app) listJobs(ctx context.Context, c *client, path string) error {
	var raw struct {
		Jobs   []json.RawMessage `json:"jobs"`
		Cursor string            `json:"cursor"`
	}
	var page jobPage
	var err error
	if a.asJSON() {
		err = c.call(ctx, http.MethodGet, path, nil, &raw)
		page.Cursor = raw.Cursor
	} else {
		err = c.call(ctx, http.MethodGet, path, nil, &page)
	}
	if err != nil {
		return err
	}
	if a.asJSON() {
		err = a.printJSON(append([]json.RawMessage{}, raw.Jobs...))
	} else {
		var rows [][]string
		for _, s := range page.Jobs {
			rows = append(rows, []string{s.Ref, s.ID, s.State, s.Kind, strconv.Itoa(s.AttemptCount), s.EnqueuedAt, s.last()})
		}
		err = a.printTable([]string{"REF", "ID", "STATE", "KIND", "ATTEMPTS", "ENQUEUED", "REASON"}, rows)
	}
	if page.Cursor != "" {
		fmt.Fprintf(a.stderr, "sealpost: there are more: --cursor %s\n", clean(page.Cursor))
	}
	return err
}

func (a *app) jobCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel ID...", Short: "Take jobs back that are not done", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := c.call(cmd.Context(), http.MethodDelete, jobPath(id), nil, nil); err != nil {
					return fmt.Errorf("cancel %s: %w", id, err)
				}
			}
			return nil
		},
	}
	settingFlags(cmd, clientSettings()...)
	return cmd
}

// waitTick is how long one question of --wait waits at the server.
const waitTick = 30 * time.Second

// waitFor asks until the job has ended or the deadline is over.
func waitFor(ctx context.Context, c *client, id string, deadline time.Time) (jobStatus, error) {
	for {
		var s jobStatus
		wait := min(max(time.Until(deadline), 0), waitTick)
		path := fmt.Sprintf("%s?wait=%dms", jobPath(id), wait.Milliseconds())
		if err := c.call(ctx, http.MethodGet, path, nil, &s); err != nil {
			return s, err
		}
		if s.ended() || !time.Now().Before(deadline) {
			return s, nil
		}
	}
}
