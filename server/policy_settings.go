package server

import (
	"net/http"

	"github.com/sealpost/sealpost/access"
)

// settingsView tells clients which permissions a policy can hold.
type settingsView struct {
	Resources map[string]resourceLabel          `json:"resources"`
	Settings  map[string]map[string][]actionHow `json:"settings"` // kind of target -> resource -> actions
}

type resourceLabel struct {
	Label string `json:"label"`
}

// actionHow is one action and the ways in which a permission selects what it
// is about.
type actionHow struct {
	Label       string   `json:"label"`
	Value       string   `json:"value"`
	Description string   `json:"description"`
	MatchBy     []string `json:"match_by"`
}

// policySettings lists what Sealpost asks policies about: secrets. Policies on
// other resources that clients know are stored and decide nothing here.
func (a *API) policySettings(*http.Request, access.Principal) (any, error) {
	every := []string{"id", "tag", "tag_match", "any"}
	unborn := every[1:] // what is not there yet has no id
	return settingsView{
		Resources: map[string]resourceLabel{access.KindSecrets: {Label: "Secrets"}},
		Settings: map[string]map[string][]actionHow{
			access.KindRunUser: {},
			access.KindAnalysis: {access.KindSecrets: {
				{"Access", access.ActionAccess, "See the secret in lists and have its value in the environment", every},
				{"Create", access.ActionCreate, "Make secrets with these tags", unborn},
				{"Edit", access.ActionEdit, "Change the secret's value and tags", every},
				{"Delete", access.ActionDelete, "Remove the secret", every},
			}},
		},
	}, nil
}
