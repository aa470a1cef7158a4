package server

import (
	"net/http"

	"github.com/sealpost/sealpost/access"
)

// explainView says if an analysis may do an action on a secret, and why. Rule
// is null when nothing matched, which refuses.
type explainView struct {
	Allowed  bool             `json:"allowed"`
	Action   string           `json:"action"`
	Rule     *access.Rule     `json:"rule"`
	Analysis explainAnalysis  `json:"analysis"`
	Secret   explainSecret    `json:"secret"`
	Findings []access.Finding `json:"findings"`
	Omitted  int              `json:"omitted"`
}

type explainAnalysis struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Active bool   `json:"active"`
}

type explainSecret struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// explainAccess answers ?analysis=ID&secret=ID|KEY&action=access.
func (a *API) explainAccess(r *http.Request, _ access.Principal) (any, error) {
	query := r.URL.Query()
	id, ref, action := query.Get("analysis"), query.Get("secret"), query.Get("action")
	if id == "" || ref == "" {
		return nil, refuse(http.StatusBadRequest, "analysis and secret are required: the id of the one, the id or key of the other")
	}
	if action == "" {
		action = access.ActionAccess
	}
	switch action {
	case access.ActionAccess, access.ActionCreate, access.ActionEdit, access.ActionDelete:
	default:
		return nil, refuse(http.StatusBadRequest, "action must be access, create, edit or delete")
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	analysis, err := vault.Directory.Analysis(r.Context(), id)
	if err != nil {
		return nil, err
	}
	secret, err := vault.Secrets.Info(r.Context(), ref)
	if err != nil {
		return nil, err
	}
	what := access.Resource{Kind: access.KindSecrets, ID: secret.ID, Tags: secret.Tags}
	why, err := vault.Directory.Explain(r.Context(), id, what, action)
	if err != nil {
		return nil, err
	}
	view := explainView{
		Allowed: why.Allowed, Action: action, Findings: why.Findings, Omitted: why.Omitted,
		Analysis: explainAnalysis{ID: analysis.ID, Name: analysis.Name, Active: analysis.Active},
		Secret:   explainSecret{ID: secret.ID, Key: secret.Key},
	}
	if why.Rule != (access.Rule{}) {
		view.Rule = &why.Rule
	}
	return view, nil
}
