package server

import (
	"net/http"
	"strconv"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// profileID names the one profile of a Sealpost. Clients copy it, and ask
// nothing about it.
const profileID = "5ea1b0570000000000000001"

// policyView is a policy as clients know it.
type policyView struct {
	ID          string              `json:"id"`
	Profile     string              `json:"profile"`
	Name        string              `json:"name"`
	Active      bool                `json:"active"`
	Permissions []access.Permission `json:"permissions"` // allows before denies
	Targets     []access.Tuple      `json:"targets"`
	Tags        []secrets.Tag       `json:"tags"`
	CreatedAt   string              `json:"created_at"`
	UpdatedAt   string              `json:"updated_at"`
}

func viewPolicy(p access.Policy) policyView {
	return policyView{ID: p.ID, Profile: profileID, Name: p.Name, Active: p.Active, Permissions: notNil(p.Permissions),
		Targets: notNil(p.Targets), Tags: notNil(p.Tags), CreatedAt: stamp(p.Created), UpdatedAt: stamp(p.Updated)}
}

// policyList is the list of policies. It never has permissions and targets: the
// service that clients know leaves them out, too.
func policyList() listSpec[access.Policy] {
	id := func(p access.Policy) string { return p.ID }
	name := func(p access.Policy) string { return p.Name }
	active := func(p access.Policy) string { return strconv.FormatBool(p.Active) }
	return listSpec[access.Policy]{
		order: "name", id: id, tags: func(p access.Policy) []secrets.Tag { return p.Tags },
		columns: []column[access.Policy]{
			{name: "id", always: true, text: id, show: func(p access.Policy) any { return p.ID }},
			{name: "profile", always: true, show: func(access.Policy) any { return profileID }},
			{name: "tags", always: true, show: func(p access.Policy) any { return notNil(p.Tags) }},
			{name: "name", text: name, compare: byText(name), show: func(p access.Policy) any { return p.Name }},
			{name: "active", text: active, compare: byText(active), show: func(p access.Policy) any { return p.Active }},
			{name: "created_at", compare: func(a, b access.Policy) int { return a.Created.Compare(b.Created) },
				show: func(p access.Policy) any { return stamp(p.Created) }},
			{name: "updated_at", compare: func(a, b access.Policy) int { return a.Updated.Compare(b.Updated) },
				show: func(p access.Policy) any { return stamp(p.Updated) }},
		},
	}
}

func (a *API) listPolicies(r *http.Request, _ access.Principal) (any, error) {
	spec := policyList()
	q, err := parseList(r, spec)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	all, err := vault.Directory.Policies(r.Context())
	if err != nil {
		return nil, err
	}
	return spec.page(q, all), nil
}

func (a *API) showPolicy(r *http.Request, _ access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	found, err := vault.Directory.Policy(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return viewPolicy(found), nil
}

// policyBody reads a policy as clients send it.
func policyBody(r *http.Request) (access.PolicyChange, error) {
	body, err := readBody(r)
	if err != nil {
		return access.PolicyChange{}, err
	}
	if body == nil {
		return access.PolicyChange{}, refuse(http.StatusBadRequest, "A JSON body is required")
	}
	return access.DecodePolicy(body)
}

// madePolicy names a new policy.
type madePolicy struct {
	ID string `json:"am_id"`
}

func (a *API) createPolicy(r *http.Request, who access.Principal) (any, error) {
	change, err := policyBody(r)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	made, err := vault.Directory.CreatePolicy(r.Context(), actor(who), change)
	if err != nil {
		return nil, err
	}
	return madePolicy{ID: made.ID}, nil
}

func (a *API) updatePolicy(r *http.Request, who access.Principal) (any, error) {
	change, err := policyBody(r)
	if err != nil {
		return nil, err
	}
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if _, err := vault.Directory.EditPolicy(r.Context(), actor(who), r.PathValue("id"), change); err != nil {
		return nil, err
	}
	return "Access Management " + updated, nil
}

func (a *API) deletePolicy(r *http.Request, who access.Principal) (any, error) {
	vault, err := a.vault()
	if err != nil {
		return nil, err
	}
	if err := vault.Directory.DeletePolicy(r.Context(), actor(who), r.PathValue("id")); err != nil {
		return nil, err
	}
	return removed, nil
}
