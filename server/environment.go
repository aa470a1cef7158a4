package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// entryView is one key of an environment, as clients know it.
type entryView struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// reveal shows an environment to the analysis that policies grant it.
func reveal(env []access.Entry) []entryView {
	views := make([]entryView, len(env))
	for i, e := range env {
		views[i] = entryView{Key: e.Key, Value: e.Value.Reveal()}
	}
	return views
}

// originView says where a key comes from, and by which rule. It has no value.
type originView struct {
	Key     string       `json:"key"`
	Origin  string       `json:"origin"` // "variable" or "secret"
	Secret  string       `json:"secret,omitempty"`
	Version int64        `json:"version,omitempty"`
	Policy  *access.Rule `json:"policy,omitempty"` // that grants or denies it
}

// explainedView is an environment without values.
type explainedView struct {
	Analysis explainAnalysis `json:"analysis"`
	Keys     []originView    `json:"keys"`
	Shadowed []originView    `json:"shadowed"` // granted, and overridden by a variable
	Denied   []originView    `json:"denied"`   // allowed by one rule and denied by another
}

func viewResolution(res access.Resolution) explainedView {
	view := explainedView{
		Analysis: explainAnalysis{ID: res.Analysis.ID, Name: res.Analysis.Name, Active: res.Analysis.Active},
		Keys:     make([]originView, len(res.Names)), Shadowed: viewGrants(res.Shadowed), Denied: viewGrants(res.Denied),
	}
	for i, name := range res.Names {
		view.Keys[i] = viewOrigin(name, res.Origins[i])
	}
	return view
}

func viewOrigin(key string, o access.Origin) originView {
	if o.Own {
		return originView{Key: key, Origin: "variable"}
	}
	return originView{Key: key, Origin: "secret", Secret: o.Secret.ID, Version: o.Secret.Version, Policy: &o.Rule}
}

func viewGrants(grants []access.Grant) []originView {
	views := make([]originView, len(grants))
	for i, g := range grants {
		views[i] = viewOrigin(g.Secret.Key, access.Origin{Secret: g.Secret.Ref, Rule: g.Rule})
	}
	return views
}

// ownEnvironment is the environment of the analysis that asks.
func (a *API) ownEnvironment(r *http.Request, who access.Principal) (any, error) {
	return a.environment(r, who, who.ID)
}

// analysisEnvironment is the environment of the analysis in the path.
func (a *API) analysisEnvironment(r *http.Request, who access.Principal) (any, error) {
	id := r.PathValue("id")
	if who.Kind == analysisKind && who.ID != id {
		return nil, errDenied()
	}
	return a.environment(r, who, id)
}

// envQuery is what a request wants of an environment.
type envQuery struct {
	format  string // "" is the envelope
	wait    time.Duration
	explain bool
	known   []string // entity tags that the client has
}

func parseEnvQuery(r *http.Request) (envQuery, error) {
	var query url.Values // most requests have none
	if r.URL.RawQuery != "" {
		query = r.URL.Query()
	}
	q := envQuery{format: query.Get("format"), explain: query.Get("explain") == "true"}
	if !slices.Contains([]string{"", "json", "dotenv", "shell"}, q.format) {
		return q, refuse(http.StatusBadRequest, "format must be json, dotenv or shell")
	}
	if e := query.Get("explain"); e != "" && e != "true" && e != "false" {
		return q, refuse(http.StatusBadRequest, "explain must be true or false")
	}
	for _, line := range r.Header.Values("If-None-Match") {
		for _, tag := range strings.Split(line, ",") {
			q.known = append(q.known, strings.TrimPrefix(strings.TrimSpace(tag), "W/"))
		}
	}
	if query == nil {
		return q, nil
	}
	var err error
	q.wait, err = waitTime(r)
	return q, err
}

// etag is the entity tag of an environment in the query's format. It is made of
// ids and versions, so it tells nothing of values.
func (q envQuery) etag(tag string) string {
	if q.format == "" {
		return `"` + tag + `"`
	}
	return `"` + tag + "-" + q.format + `"`
}

func (q envQuery) knows(etag string) bool {
	return slices.Contains(q.known, etag) || slices.Contains(q.known, "*")
}

// environment answers with the environment of the analysis, or 304 when the
// client has it already; with ?wait, only after that time without a change.
func (a *API) environment(r *http.Request, who access.Principal, id string) (any, error) {
	q, err := parseEnvQuery(r)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if q.explain {
		res, err := vault.Directory.Resolve(r.Context(), id)
		if err != nil {
			return nil, err
		}
		return viewResolution(res), nil
	}
	if q.known != nil {
		etag, same, err := a.awaitChange(r, vault.Directory, id, q)
		if err != nil {
			return nil, err
		}
		if same {
			return plainAnswer{status: http.StatusNotModified, etag: etag}, nil
		}
		// The token may have been revoked while we waited.
		if again, err := a.authenticate(r); err != nil || !again.Same(who) {
			return nil, access.ErrUnauthorized
		}
	}
	answer, err := vault.Directory.Written(r.Context(), id, secrets.Use{Actor: actor(who), Why: "environment"}, q.form())
	if err != nil {
		return nil, err
	}
	return q.answer(answer), nil
}

// Pauses between two looks at whether an environment has changed. All waiting
// requests of a process share one read of Redis.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = 500 * time.Millisecond
)

// awaitChange returns when the environment is none that the client has, or the
// time to wait is over: then same is true.
func (a *API) awaitChange(r *http.Request, dir *access.Directory, id string, q envQuery) (etag string, same bool, err error) {
	deadline := time.Now().Add(q.wait)
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		res, err := dir.Resolve(r.Context(), id)
		if err != nil {
			return "", false, err
		}
		if !res.Analysis.Active {
			return "", false, fmt.Errorf("%w: %s", access.ErrInactive, id)
		}
		if etag = q.etag(res.Tag); !q.knows(etag) {
			return etag, false, nil
		}
		if !time.Now().Add(pause).Before(deadline) {
			return etag, true, nil
		}
		select {
		case <-time.After(pause):
		case <-a.stopping:
			return etag, true, nil
		case <-r.Context().Done():
			return "", false, context.Cause(r.Context())
		}
	}
}
