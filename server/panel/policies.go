package panel

import (
	"net/http"

	"github.com/sealpost/sealpost/access"
)

type policiesView struct {
	Policies []access.Policy
	Pager    pager
}

func (c *call) listPolicies() error {
	all, err := c.vault.Directory.Policies(c.r.Context())
	if err != nil {
		return err
	}
	page := c.pageNumber()
	part := cut(all, page)
	return c.render(http.StatusOK, "policies", "Access", policiesView{part, newPager(page, len(part), len(all))})
}

// policyView is one policy with its tuples in words.
type policyView struct {
	Policy      access.Policy
	Targets     []string
	Permissions []permissionView
}

type permissionView struct {
	Effect   access.Effect
	Actions  []string
	Resource string
}

func (c *call) showPolicy() error {
	return c.withPolicy(func(p access.Policy) error {
		v := policyView{Policy: p}
		for _, t := range p.Targets {
			v.Targets = append(v.Targets, inWords(t))
		}
		for _, perm := range p.Permissions {
			v.Permissions = append(v.Permissions, permissionView{perm.Effect, perm.Action, inWords(perm.Resource)})
		}
		return c.render(http.StatusOK, "policy", p.Name, v)
	})
}

// withPolicy runs f with the policy that the address names.
func (c *call) withPolicy(f func(p access.Policy) error) error {
	p, err := c.vault.Directory.Policy(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return f(p)
}

func (c *call) newPolicy() error {
	v := newPolicyForm(access.Policy{Active: true})
	return c.render(http.StatusOK, "policy_form", "New policy", v)
}

func (c *call) createPolicy() error {
	change, view, faults := readPolicy(c.r.PostForm, access.Policy{})
	if faults == nil {
		made, err := c.vault.Directory.CreatePolicy(c.r.Context(), c.actor(), change)
		if err == nil {
			return c.redirect("/panel/access/"+made.ID, "created")
		}
		if faults = faultsOf(err); faults == nil {
			return err
		}
	}
	view.Faults = faults
	return c.render(http.StatusUnprocessableEntity, "policy_form", "New policy", view)
}

func (c *call) editPolicyPage() error {
	return c.withPolicy(func(p access.Policy) error {
		return c.render(http.StatusOK, "policy_form", "Edit "+p.Name, newPolicyForm(p))
	})
}

func (c *call) editPolicy() error {
	return c.withPolicy(func(p access.Policy) error {
		if err := c.unchanged(p.Version); err != nil {
			return err
		}
		change, view, faults := readPolicy(c.r.PostForm, p)
		if faults == nil {
			_, err := c.vault.Directory.EditPolicy(c.r.Context(), c.actor(), p.ID, change)
			if err == nil {
				return c.redirect("/panel/access/"+p.ID, "saved")
			}
			if faults = faultsOf(err); faults == nil {
				return err
			}
		}
		view.Faults = faults
		return c.render(http.StatusUnprocessableEntity, "policy_form", "Edit "+p.Name, view)
	})
}

func (c *call) deletePolicyPage() error {
	return c.withPolicy(func(p access.Policy) error {
		v := confirmView{Title: "Delete " + p.Name, Question: "Delete the policy " + p.Name + "?", Button: "Delete policy", Danger: true,
			Text: "What it allows is refused from the next request on.", Back: "/panel/access/" + p.ID}
		for _, perm := range p.Permissions {
			if perm.Effect == access.Deny {
				v.Text = "What it allows is refused from the next request on. What it denies may then be allowed by another policy."
			}
		}
		return c.confirm(v)
	})
}

func (c *call) deletePolicy() error {
	if err := c.vault.Directory.DeletePolicy(c.r.Context(), c.actor(), c.r.PathValue("id")); err != nil {
		return err
	}
	return c.redirect("/panel/access", "deleted")
}
