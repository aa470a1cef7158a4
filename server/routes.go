package server

import (
	"net/http"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// Body limits and timeouts of the routes.
const (
	noBody      = 4 << 10  // bytes; some clients send {} with everything
	smallBody   = 64 << 10 // a secret's value has at most some KiB
	idsBody     = 256 << 10
	policyBytes = 1 << 20  // 200 permissions of 64 actions each
	jobsBody    = 16 << 20 // a batch; one job may have queue.MaxJobBytes

	quick    = 10 * time.Second // a few round trips to Redis
	bulk     = time.Minute      // thousands of jobs
	longPoll = maxWait + quick
	testTime = time.Minute // a dial, TLS and a login at a slow server
)

// A batch must be able to hold some jobs of full size.
var _ [jobsBody - 8*queue.MaxJobBytes]struct{}

// routes is the table of everything the API listener answers.
func routes() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return append(analysisRoutes(), []route{
		{get, "/info", anyToken, noBody, quick, (*API).whoAmI},
		{get, "/openapi.json", anyToken, noBody, quick, (*API).openAPI},
		{get, "/account", canWatch, noBody, quick, (*API).account},
		{get, "/tags/keys/{type}", canWatch, noBody, quick, (*API).tagKeys},

		{get, "/am", canWatch, noBody, quick, (*API).listPolicies},
		{post, "/am", isAdmin, policyBytes, quick, (*API).createPolicy},
		{get, "/am/settings", canWatch, noBody, quick, (*API).policySettings},
		{get, "/am/{id}", canWatch, noBody, quick, (*API).showPolicy},
		{put, "/am/{id}", isAdmin, policyBytes, quick, (*API).updatePolicy},
		{del, "/am/{id}", isAdmin, noBody, quick, (*API).deletePolicy},

		{post, "/jobs", canSend, jobsBody, bulk, (*API).sendJobs},
		{get, "/jobs", canRead, noBody, quick, (*API).listJobs},
		{get, "/jobs/{id}", canRead, noBody, longPoll, (*API).showJob},
		{del, "/jobs/{id}", canSend, noBody, quick, (*API).cancelJob},

		{get, "/secrets", watchOrAnalysis, noBody, quick, (*API).listSecrets},
		{post, "/secrets", adminOrAnalysis, smallBody, quick, (*API).createSecret},
		{get, "/secrets/{id}", watchOrAnalysis, noBody, quick, (*API).showSecret},
		{put, "/secrets/{id}", adminOrAnalysis, smallBody, quick, (*API).updateSecret},
		{del, "/secrets/{id}", adminOrAnalysis, noBody, quick, (*API).deleteSecret},
		{get, "/secrets/{id}/usage", canWatch, noBody, bulk, (*API).secretUsage},
		{get, "/secrets/{id}/versions", canWatch, noBody, quick, (*API).listVersions},
		{post, "/secrets/{id}/promote", isAdmin, noBody, bulk, (*API).promoteSecret},
		{post, "/secrets/{id}/rollback", isAdmin, noBody, bulk, (*API).rollbackSecret},
		{post, "/secrets/{id}/discard", isAdmin, noBody, quick, (*API).discardSecret},
		{post, "/secrets/{id}/test", isAdmin, noBody, testTime, (*API).testSecret},

		{get, "/am/explain", canWatch, noBody, quick, (*API).explainAccess},

		{get, "/deliveries", canWatch, noBody, bulk, (*API).listDeliveries},
		{get, "/queue", canWatch, noBody, quick, (*API).queueStats},
		{post, "/queue/pause", isAdmin, smallBody, quick, (*API).pauseQueue},
		{post, "/queue/resume", isAdmin, smallBody, quick, (*API).resumeQueue},
		{get, "/parked", canWatch, noBody, bulk, (*API).listParked},
		{post, "/parked/release", isAdmin, noBody, bulk, (*API).releaseParked},
		{get, "/dead", canWatch, noBody, bulk, (*API).listDead},
		{post, "/dead/retry", isAdmin, idsBody, bulk, (*API).retryDead},
		{del, "/dead", isAdmin, idsBody, bulk, (*API).removeDead},

		{get, "/tokens", isAdmin, noBody, quick, (*API).listTokens},
		{get, "/audit", isAdmin, noBody, quick, (*API).listAudit},
	}...)
}
