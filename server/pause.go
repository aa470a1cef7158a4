package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/queue"
)

// pauseBody names what to hold back; neither a kind nor a lane is everything.
type pauseBody struct {
	Kind string `json:"kind,omitempty"`
	Lane string `json:"lane,omitempty"`
}

// pausedView is what is held back after a change.
type pausedView struct {
	Changed bool          `json:"changed"` // false: it was so before
	Paused  []queue.Pause `json:"paused"`
}

func (a *API) pauseQueue(r *http.Request, _ access.Principal) (any, error) {
	var body pauseBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	// A mistyped kind would hold nothing back, and nobody would notice.
	if kinds := a.actions.Kinds(); body.Kind != "" && !slices.Contains(kinds, body.Kind) {
		return nil, refuse(http.StatusBadRequest, "kind must be one of %s", strings.Join(kinds, ", "))
	}
	changed, err := a.queue.Pause(r.Context(), queue.Pause{Kind: body.Kind, Lane: body.Lane})
	return a.paused(r, changed, err)
}

func (a *API) resumeQueue(r *http.Request, _ access.Principal) (any, error) {
	var body pauseBody
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	changed, err := a.queue.Resume(r.Context(), queue.Pause{Kind: body.Kind, Lane: body.Lane})
	return a.paused(r, changed, err)
}

func (a *API) paused(r *http.Request, changed bool, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	list, err := a.queue.Paused(r.Context())
	if err != nil {
		return nil, err
	}
	return pausedView{Changed: changed, Paused: list}, nil
}
