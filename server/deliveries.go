package server

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
)

// outcomes are where an attempt may leave a job.
func outcomes() []queue.State {
	return []queue.State{queue.Done, queue.Delayed, queue.Parked, queue.Dead, queue.Ready, queue.Cancelled, queue.Expired}
}

func certainties() []queue.Certainty {
	return []queue.Certainty{queue.Accepted, queue.Rejected, queue.Unknown}
}

func (a *API) listDeliveries(r *http.Request, _ access.Principal) (any, error) {
	q := r.URL.Query()
	f := queue.DeliveryFilter{Job: q.Get("job"), Kind: q.Get("kind"), Outcome: queue.State(q.Get("outcome")), Reason: q.Get("reason"), Cursor: q.Get("cursor")}
	var err error
	if f.Limit, err = queryInt(r, "limit", 100, 1, queue.MaxBatch); err != nil {
		return nil, err
	}
	f.Lane, f.Certainty = q.Get("destination"), queue.Certainty(q.Get("certainty"))
	if f.Certainty != "" && !slices.Contains(certainties(), f.Certainty) {
		return nil, refuse(http.StatusBadRequest, "certainty must be one of %v", certainties())
	}
	if f.Outcome != "" && !slices.Contains(outcomes(), f.Outcome) {
		return nil, refuse(http.StatusBadRequest, "outcome must be one of %v", outcomes())
	}
	now := time.Now()
	if f.From, err = moment(q, "from", now); err != nil {
		return nil, err
	}
	if f.To, err = moment(q, "to", now); err != nil {
		return nil, err
	}
	names, err := a.secretNames(r, q.Get("secret"))
	if err != nil {
		return nil, err
	}
	if names != nil {
		f.Secret = names[0]
	}
	return a.queue.Deliveries(r.Context(), f)
}

// moment reads a time, or how long before now it is; zero if it is not given.
func moment(q url.Values, name string, now time.Time) (time.Time, error) {
	text := q.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, refuse(http.StatusBadRequest, "%s must be a time such as 2026-01-31T15:04:05Z, or a duration before now such as 2h", name)
	}
	return at, nil
}
