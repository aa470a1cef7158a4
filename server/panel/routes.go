package panel

import (
	"net/http"
	"time"
)

// scope says who may open a page.
type scope int

// The scopes. A producer's token opens nothing.
const (
	everybody scope = iota + 1 // without a login
	watchers                   // admin and reader
	admins                     // admin: whatever changes something, and its forms
)

// route is one row of the table of pages. All fields are given in each row.
type route struct {
	method  string
	pattern string // of http.ServeMux, without the method
	scope   scope
	timeout time.Duration
	show    func(c *call) error
}

// routes is the table of all pages. A page that changes something is a POST;
// a GET with the same name asks first.
func routes() []route {
	const get, post = http.MethodGet, http.MethodPost
	return []route{
		{get, "/panel", everybody, quick, (*call).home},
		{get, "/panel/{$}", everybody, quick, (*call).home},
		{get, "/panel/login", everybody, quick, (*call).loginPage},
		{post, "/panel/login", everybody, quick, (*call).login},
		{get, "/panel/logout", watchers, quick, (*call).logoutPage},
		{post, "/panel/logout", watchers, quick, (*call).logout},

		{get, "/panel/secrets", watchers, quick, (*call).listSecrets},
		{post, "/panel/secrets", admins, quick, (*call).createSecret},
		{get, "/panel/secrets/new", admins, quick, (*call).newSecret},
		{get, "/panel/secrets/{id}", watchers, quick, (*call).showSecret},
		{get, "/panel/secrets/{id}/value", admins, quick, (*call).secretValuePage},
		{post, "/panel/secrets/{id}/value", admins, quick, (*call).changeSecretValue},
		{get, "/panel/secrets/{id}/tags", admins, quick, (*call).secretTagsPage},
		{post, "/panel/secrets/{id}/tags", admins, quick, (*call).changeSecretTags},
		{post, "/panel/secrets/{id}/test", admins, testTime, (*call).testSecret},
		{post, "/panel/secrets/{id}/promote", admins, quick, (*call).promoteSecret},
		{get, "/panel/secrets/{id}/rollback", admins, quick, (*call).rollbackSecretPage},
		{post, "/panel/secrets/{id}/rollback", admins, quick, (*call).rollbackSecret},
		{get, "/panel/secrets/{id}/discard", admins, quick, (*call).discardSecretPage},
		{post, "/panel/secrets/{id}/discard", admins, quick, (*call).discardSecret},
		{get, "/panel/secrets/{id}/delete", admins, quick, (*call).deleteSecretPage},
		{post, "/panel/secrets/{id}/delete", admins, quick, (*call).deleteSecret},

		{get, "/panel/analyses", watchers, quick, (*call).listAnalyses},
		{post, "/panel/analyses", admins, quick, (*call).createAnalysis},
		{get, "/panel/analyses/new", admins, quick, (*call).newAnalysis},
		{get, "/panel/analyses/{id}", watchers, quick, (*call).showAnalysis},
		{get, "/panel/analyses/{id}/edit", admins, quick, (*call).editAnalysisPage},
		{post, "/panel/analyses/{id}/edit", admins, quick, (*call).editAnalysis},
		{get, "/panel/analyses/{id}/token", admins, quick, (*call).rotateTokenPage},
		{post, "/panel/analyses/{id}/token", admins, quick, (*call).rotateToken},
		{get, "/panel/analyses/{id}/delete", admins, quick, (*call).deleteAnalysisPage},
		{post, "/panel/analyses/{id}/delete", admins, quick, (*call).deleteAnalysis},

		{get, "/panel/access", watchers, quick, (*call).listPolicies},
		{post, "/panel/access", admins, quick, (*call).createPolicy},
		{get, "/panel/access/new", admins, quick, (*call).newPolicy},
		{get, "/panel/access/explain", watchers, quick, (*call).explain},
		{get, "/panel/access/{id}", watchers, quick, (*call).showPolicy},
		{get, "/panel/access/{id}/edit", admins, quick, (*call).editPolicyPage},
		{post, "/panel/access/{id}/edit", admins, quick, (*call).editPolicy},
		{get, "/panel/access/{id}/delete", admins, quick, (*call).deletePolicyPage},
		{post, "/panel/access/{id}/delete", admins, quick, (*call).deletePolicy},
	}
}
