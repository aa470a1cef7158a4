package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
)

// maxWait is the longest that GET /jobs/{id}?wait= waits. Numbers: ours; proxies
// commonly cut a silent request after 60 s.
const maxWait = 30 * time.Second

// receiptView says where an accepted job can be found.
type receiptView struct {
	ID        string `json:"id"`
	Duplicate bool   `json:"duplicate,omitempty"` // the job was there already
}

// sendJobs takes one job or an array of them. Either all are accepted or none.
func (a *API) sendJobs(r *http.Request, who access.Principal) (any, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, refuse(http.StatusBadRequest, "A JSON job, or an array of them, is required")
	}
	if body[0] != '[' {
		views, err := a.enqueue(r.Context(), who, json.RawMessage(body))
		if invalid, ok := errors.AsType[*queue.InvalidJobError](err); ok {
			return nil, refuse(http.StatusBadRequest, "%s", ownText(invalid.Err)) // there is only one
		}
		if err != nil {
			return nil, err
		}
		return views[0], nil
	}
	var jobs []json.RawMessage
	if err := json.Unmarshal(body, &jobs); err != nil {
		return nil, refuse(http.StatusBadRequest, "%s", decodeText(err))
	}
	if len(jobs) > queue.MaxBatch {
		return nil, refuse(http.StatusBadRequest, "At most %d jobs at once, not %d", queue.MaxBatch, len(jobs))
	}
	if len(jobs) == 0 {
		return []receiptView{}, nil
	}
	return a.enqueue(r.Context(), who, jobs...)
}

// enqueue accepts all jobs or none. What a worker would give up at once is
// refused here, where somebody reads the answer, as is what the token may not send.
func (a *API) enqueue(ctx context.Context, who access.Principal, jobs ...json.RawMessage) ([]receiptView, error) {
	if err := a.check(ctx, who.Scopes, jobs); err != nil {
		return nil, err
	}
	receipts, err := a.queue.Enqueue(ctx, jobs...)
	if err != nil {
		return nil, err
	}
	views := make([]receiptView, len(receipts))
	for i, receipt := range receipts {
		views[i] = receiptView{ID: receipt.ID, Duplicate: receipt.Duplicate}
	}
	return views, nil
}

// jobsView is a page of a list; Cursor is "" at its end.
type jobsView struct {
	Jobs   any    `json:"jobs"`
	Cursor string `json:"cursor"`
}

func (a *API) listJobs(r *http.Request, _ access.Principal) (any, error) {
	limit, err := queryInt(r, "limit", 100, 1, 1000)
	if err != nil {
		return nil, err
	}
	state := queue.State(r.URL.Query().Get("state"))
	if state == "" {
		state = queue.Ready
	}
	jobs, next, err := a.queue.List(r.Context(), queue.Filter{State: state, Limit: limit, Cursor: r.URL.Query().Get("cursor"),
		Kind: r.URL.Query().Get("kind")})
	if err != nil {
		return nil, err
	}
	return jobsView{Jobs: jobs, Cursor: next}, nil
}

// showJob answers at once, or with ?wait=30s when the job has come to an end
// or to a place where it waits for a person, at the latest after that time.
func (a *API) showJob(r *http.Request, _ access.Principal) (any, error) {
	wait, err := waitTime(r)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(wait)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		status, err := a.queue.Show(r.Context(), r.PathValue("id"))
		if err != nil {
			return nil, err
		}
		if settled(status.State) || !time.Now().Add(pause).Before(deadline) {
			return status, nil
		}
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
	}
}

func waitTime(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, refuse(http.StatusBadRequest, "wait must be a duration such as 30s")
	}
	return min(wait, maxWait), nil
}

// settled reports whether a job stays in this state unless a person acts.
func settled(state queue.State) bool {
	switch state {
	case queue.Done, queue.Dead, queue.Cancelled, queue.Expired, queue.Parked:
		return true
	}
	return false
}

func (a *API) cancelJob(r *http.Request, _ access.Principal) (any, error) {
	if err := a.queue.Cancel(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	return "Successfully Cancelled", nil
}
