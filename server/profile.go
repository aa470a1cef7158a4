package server

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// whoView says whose token came with the request. Type is what existing clients
// know: profile or analysis; Kind is what the token may do.
type whoView struct {
	ID   string      `json:"id"`
	Name string      `json:"name"`
	Type string      `json:"type"`
	Kind access.Kind `json:"kind"`
}

// analysisInfo is what an analysis is told about itself before it listens.
type analysisInfo struct {
	whoView
	Active bool         `json:"active"`
	RunOn  access.RunOn `json:"run_on"`
}

func (a *API) whoAmI(r *http.Request, who access.Principal) (any, error) {
	view := whoView{ID: who.ID, Name: who.Name, Type: "profile", Kind: who.Kind}
	if who.Kind != analysisKind {
		return view, nil
	}
	view.Type = string(analysisKind)
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := vault.Directory.Analysis(r.Context(), who.ID)
	if errors.Is(err, access.ErrAnalysisNotFound) {
		return nil, access.ErrUnauthorized // deleted since its token was looked at
	}
	if err != nil {
		return nil, err
	}
	return analysisInfo{whoView: view, Active: found.Active, RunOn: found.RunOn}, nil
}

// accountView is what clients ask for at their start, to see whether their
// token is good. A Sealpost has one account with one profile.
type accountView struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Active   bool          `json:"active"`
	Timezone string        `json:"timezone"`
	Profiles []profileView `json:"profiles"`
}

type profileView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func (a *API) account(*http.Request, access.Principal) (any, error) {
	return accountView{ID: profileID, Name: "Sealpost", Active: true, Timezone: "UTC",
		Profiles: []profileView{{ID: profileID, Name: "Sealpost"}}}, nil
}

// tagKeys lists the tag keys in use on one kind of resource. A kind that exists
// with other servers only has none here.
func (a *API) tagKeys(r *http.Request, _ access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found := map[string]struct{}{}
	note := func(tags []secrets.Tag) {
		for _, t := range tags {
			found[t.Key] = struct{}{}
		}
	}
	switch r.PathValue("type") {
	case "secrets", "secret":
		err = eachOf(note, func(s secrets.Secret) []secrets.Tag { return s.Tags })(vault.Directory.Secrets(r.Context()))
	case "analysis":
		err = eachOf(note, func(a access.Analysis) []secrets.Tag { return a.Tags })(vault.Directory.Analyses(r.Context()))
	case "action":
		err = eachOf(note, func(d actions.Definition) []secrets.Tag { return d.Tags })(vault.Definitions.List(r.Context()))
	case "am", "access_management":
		err = eachOf(note, func(p access.Policy) []secrets.Tag { return p.Tags })(vault.Directory.Policies(r.Context()))
	}
	if err != nil {
		return nil, err
	}
	keys := slices.Collect(maps.Keys(found))
	slices.SortFunc(keys, strings.Compare)
	return notNil(keys), nil
}

// eachOf returns a function that notes the tags of a whole list.
func eachOf[T any](note func([]secrets.Tag), tags func(T) []secrets.Tag) func([]T, error) error {
	return func(list []T, err error) error {
		for _, item := range list {
			note(tags(item))
		}
		return err
	}
}
