package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// usageView says what would be hit if a secret went away.
type usageView struct {
	Actions  []namedView `json:"actions"`  // stored actions that name it
	Analyses []namedView `json:"analyses"` // analyses that have it in their environment
	Jobs     jobsUse     `json:"jobs"`     // jobs that have not ended and name it, themselves or by their action
}

// namedView is one thing of a list.
type namedView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// jobsUse counts jobs by their place.
type jobsUse struct {
	Ready    int  `json:"ready"`
	Running  int  `json:"running"`
	Delayed  int  `json:"delayed"`
	Parked   int  `json:"parked"`
	Dead     int  `json:"dead"`
	Complete bool `json:"complete"` // false: there are more jobs than were looked at
}

// maxJobsRead bounds how many jobs of each state are looked at: some 2 s.
const maxJobsRead = 20_000

func (a *API) secretUsage(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := vault.secretFor(r.Context(), who, r.PathValue("id"), access.ActionAccess)
	if err != nil {
		return nil, err
	}
	return a.usage(r.Context(), vault, found)
}

// usage gathers what uses the secret.
func (a *API) usage(ctx context.Context, vault *Vault, s secrets.Secret) (usageView, error) {
	readers, err := vault.Directory.Readers(ctx, s)
	if err != nil {
		return usageView{}, err
	}
	users, err := vault.Definitions.Users(ctx, s)
	if err != nil {
		return usageView{}, err
	}
	view := usageView{
		Actions:  viewNamed(users, func(d actions.Definition) namedView { return namedView{d.ID, d.Name} }),
		Analyses: viewNamed(readers, func(a access.Analysis) namedView { return namedView{a.ID, a.Name} }),
	}
	view.Jobs, err = a.jobsUsing(ctx, s, users)
	return view, err
}

func viewNamed[T any](list []T, view func(T) namedView) []namedView {
	out := make([]namedView, 0, len(list))
	for _, item := range list {
		out = append(out, view(item))
	}
	return out
}

// jobsUsing counts the jobs that name the secret or one of the actions.
func (a *API) jobsUsing(ctx context.Context, s secrets.Secret, users []actions.Definition) (jobsUse, error) {
	use := jobsUse{Complete: true}
	for state, count := range map[queue.State]*int{
		queue.Ready: &use.Ready, queue.Running: &use.Running, queue.Delayed: &use.Delayed, queue.Parked: &use.Parked, queue.Dead: &use.Dead,
	} {
		cursor := ""
		for read := 0; ; {
			jobs, next, err := a.queue.ListDetails(ctx, queue.Filter{State: state, Limit: queue.MaxBatch, Cursor: cursor})
			if err != nil {
				return use, err
			}
			for _, job := range jobs {
				if a.jobUses(job.Job, s, users) {
					*count++
				}
			}
			if read += len(jobs); next == "" {
				break
			}
			if cursor = next; read >= maxJobsRead {
				use.Complete = false
				break
			}
		}
	}
	return use, nil
}

// jobUses reports whether a job names the secret, itself or by its action.
func (a *API) jobUses(raw json.RawMessage, s secrets.Secret, users []actions.Definition) bool {
	var job struct {
		Action   json.RawMessage `json:"action"`
		ActionID string          `json:"action_id"`
	}
	if json.Unmarshal(raw, &job) != nil {
		return false
	}
	if job.ActionID != "" {
		return slices.ContainsFunc(users, func(d actions.Definition) bool { return d.ID == job.ActionID })
	}
	return slices.ContainsFunc(a.actions.Catalog().References(job.Action), func(ref actions.Reference) bool {
		return ref.To == actions.ToSecret && (ref.ID == s.ID || strings.EqualFold(ref.ID, s.Key))
	})
}

// maxNamed bounds how many of a kind a warning names.
const maxNamed = 5

// says tells in words, to go after "is", what uses the secret; "" if nothing does.
func (u usageView) says() string {
	var parts []string
	if len(u.Analyses) > 0 {
		parts = append(parts, "in the environment of "+names(u.Analyses))
	}
	if len(u.Actions) > 0 {
		parts = append(parts, "used by the actions "+names(u.Actions))
	}
	if n := u.Jobs.Ready + u.Jobs.Running + u.Jobs.Delayed + u.Jobs.Parked; n > 0 {
		more := ""
		if !u.Jobs.Complete {
			more = " or more"
		}
		parts = append(parts, fmt.Sprintf("named by %d%s jobs that are not done", n, more))
	}
	return strings.Join(parts, " and ")
}

func names(list []namedView) string {
	return named(list, func(n namedView) string { return n.Name })
}

func named[T any](list []T, name func(T) string) string {
	out := make([]string, 0, maxNamed+1)
	for _, item := range list[:min(len(list), maxNamed)] {
		out = append(out, name(item))
	}
	if more := len(list) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}
