package server

import "net/http"

// analysisRoutes are the rows of the table for analyses, for what these may ask,
// and for actions.
func analysisRoutes() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	return []route{
		{get, ownPath, isAnalysis, noBody, longPoll, (*API).ownEnvironment},
		{get, eventsPath, adminOrAnalysis, noBody, streamTime, (*API).events},

		{get, "/analysis", canWatch, noBody, quick, (*API).listAnalyses},
		{post, "/analysis", isAdmin, analysisBody, quick, (*API).createAnalysis},
		{get, "/analysis/{id}", canWatch, noBody, quick, (*API).showAnalysis},
		{put, "/analysis/{id}", isAdmin, analysisBody, quick, (*API).updateAnalysis},
		{del, "/analysis/{id}", isAdmin, noBody, quick, (*API).deleteAnalysis},
		{post, "/analysis/{id}/run", isAdmin, runBody, quick, (*API).runAnalysis},
		{get, "/analysis/{id}/token", isAdmin, noBody, quick, (*API).showAnalysisToken},
		{get, "/analysis/{id}/environment", adminOrAnalysis, noBody, longPoll, (*API).analysisEnvironment},
		{post, "/analysis/{id}/upload", isAdmin, noBody, quick, (*API).noScripts},
		{get, "/analysis/{id}/download", isAdmin, noBody, quick, (*API).noScripts},
		{post, "/analysis/services/email-smtp/send", adminOrAnalysis, serviceBody, serviceTime + quick, (*API).serviceSMTP},
		{post, "/analysis/services/queue-sqs/send", adminOrAnalysis, serviceBody, serviceTime + quick, (*API).serviceSQS},
		{post, "/analysis/services/email-sendgrid/send", adminOrAnalysis, serviceBody, serviceTime + quick, (*API).serviceSendgrid},
		{post, "/analysis/services/sms-twilio/send", adminOrAnalysis, serviceBody, serviceTime + quick, (*API).serviceSMS},
		{post, "/analysis/services/whatsapp-twilio/send", adminOrAnalysis, serviceBody, serviceTime + quick, (*API).serviceWhatsApp},
		{post, "/analysis/services/console/send", isAnalysis, smallBody, quick, (*API).serviceConsole},

		{get, "/action", canWatch, noBody, quick, (*API).listActions},
		{post, "/action", isAdmin, actionBody, quick, (*API).createAction},
		{get, "/action/{id}", canWatch, noBody, quick, (*API).showAction},
		{put, "/action/{id}", isAdmin, actionBody, quick, (*API).updateAction},
		{del, "/action/{id}", isAdmin, noBody, quick, (*API).deleteAction},
		{post, "/action/{id}/trigger", canSend, runBody, quick, (*API).triggerAction},
	}
}
