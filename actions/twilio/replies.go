package twilio

import (
	"net/http"
	"slices"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/queue"
)

// What a person can do about a refusal.
const (
	adviceLogin   = "store a version of the secret of twilio_token that works (\"sealpost secret put\"); the job then goes on by itself. If twilio_sid is wrong, store that one and run \"sealpost parked release\""
	adviceAccount = "settle it with Twilio and run \"sealpost parked release\", or store the login of another account (\"sealpost secret put\")"
	adviceSender  = "see whether \"from\" is a sender of this account and for this channel"
	adviceRegion  = "allow the region in Twilio's console (geo permissions), and retry the job"
	adviceTrial   = "a trial account sends to verified numbers only"
	adviceURL     = "see whether SEALPOST_TWILIO_URL is the address of Twilio's API"
)

// Status of what never gets to Twilio.
const (
	statusSecret = "secret.unusable" // a secret cannot be what it is used for
	statusBefore = "part.refused"    // an earlier attempt was told no for good
)

// replies is the table of what Twilio answers; the first row that matches wins.
// 201 never gets here. Twilio asks not to build on its codes (changelog of
// 2024-07-10), which it may change: so the HTTP status decides, and a code only
// refines what a 4xx means. testdata/replies.json has answers with where each is
// from.
var replies = slices.Concat(webclient.Network, actions.Table{
	{Name: "secret-unusable", Status: statusSecret, Reason: actions.Config},
	{Name: "refused-before", Status: statusBefore, Reason: actions.Recipient},

	// Too much. A limit of a day is not over in a minute.
	{Name: "daily-limit", Status: "63038", Reason: actions.Throttled, After: 15 * time.Minute},
	{Name: "queue-full", Status: "21611", Reason: actions.Throttled, After: time.Minute},
	{Name: "rate-code", Status: "20429", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "rate-code", Status: "14107", Reason: actions.Throttled, Lesson: queue.RateLimit, After: time.Minute},
	{Name: "rate-code", Status: "63018", Reason: actions.Throttled, Lesson: queue.RateLimit, After: time.Minute},
	{Name: "throttled", Min: http.StatusTooManyRequests, Reason: actions.Throttled, Lesson: queue.RateLimit},

	// The account and its login.
	{Name: "account-stopped", Status: "10001", Reason: actions.Credential, Advice: adviceAccount},
	{Name: "account-stopped", Status: "20005", Reason: actions.Credential, Advice: adviceAccount},
	{Name: "account-stopped", Status: "30002", Reason: actions.Credential, Advice: adviceAccount},
	{Name: "unauthorized", Min: http.StatusUnauthorized, Reason: actions.Credential, Advice: adviceLogin},
	{Name: "login-code", Status: "20003", Reason: actions.Credential, Advice: adviceLogin},
	{Name: "no-account", Min: http.StatusNotFound, Status: "20404", Reason: actions.Credential, Advice: adviceLogin},

	// The recipient.
	{Name: "no-number", Min: 400, Max: 499, Status: "21211", Reason: actions.Recipient},
	{Name: "no-number", Min: 400, Max: 499, Status: "21217", Reason: actions.Recipient},
	{Name: "no-mobile", Min: 400, Max: 499, Status: "21614", Reason: actions.Recipient},
	{Name: "no-mobile", Min: 400, Max: 499, Status: "21635", Reason: actions.Recipient},
	{Name: "opted-out", Min: 400, Max: 499, Status: "21610", Reason: actions.Recipient},
	{Name: "region", Min: 400, Max: 499, Status: "21408", Reason: actions.Recipient, Advice: adviceRegion},
	{Name: "no-route", Min: 400, Max: 499, Status: "21612", Reason: actions.Recipient},
	{Name: "unverified", Min: 400, Max: 499, Status: "21608", Reason: actions.Recipient, Advice: adviceTrial},
	{Name: "short-code", Min: 400, Max: 499, Status: "21265", Reason: actions.Recipient},
	{Name: "not-on-channel", Min: 400, Max: 499, Status: "63003", Reason: actions.Recipient},
	{Name: "not-on-channel", Min: 400, Max: 499, Status: "63015", Reason: actions.Recipient},
	{Name: "not-on-channel", Min: 400, Max: 499, Status: "63024", Reason: actions.Recipient},

	{Name: "forbidden", Min: http.StatusForbidden, Reason: actions.Credential, Advice: adviceLogin},

	// The sender, which the job names.
	{Name: "sender", Min: http.StatusBadRequest, Status: "21212", Reason: actions.Payload, Advice: adviceSender},
	{Name: "sender", Min: http.StatusBadRequest, Status: "21606", Reason: actions.Payload, Advice: adviceSender},
	{Name: "sender", Min: http.StatusBadRequest, Status: "21659", Reason: actions.Payload, Advice: adviceSender},
	{Name: "sender", Min: http.StatusBadRequest, Status: "21660", Reason: actions.Payload, Advice: adviceSender},
	{Name: "sender", Min: http.StatusBadRequest, Status: "2170?", Reason: actions.Payload, Advice: adviceSender},
	{Name: "sender", Min: http.StatusBadRequest, Status: "21910", Reason: actions.Payload, Advice: adviceSender},
	{Name: "sender", Min: http.StatusBadRequest, Status: "63007", Reason: actions.Payload, Advice: adviceSender},
	{Name: "bad-request", Min: http.StatusBadRequest, Reason: actions.Payload},
	{Name: "request-timeout", Min: http.StatusRequestTimeout, Reason: actions.Transient},
	{Name: "conflict", Min: http.StatusConflict, Reason: actions.Transient},
	{Name: "too-large", Min: http.StatusRequestEntityTooLarge, Reason: actions.Payload},

	// What Twilio never answers to this request: somebody else is there.
	{Name: "redirect", Min: 300, Max: 399, Reason: actions.Config, Advice: adviceURL},
	{Name: "not-there", Min: http.StatusNotFound, Max: http.StatusMethodNotAllowed, Reason: actions.Config, Advice: adviceURL},
	{Name: "proxy-login", Min: http.StatusProxyAuthRequired, Reason: actions.Config, Advice: adviceURL},
	{Name: "refused", Min: 400, Max: 499, Reason: actions.Payload},

	{Name: "not-implemented", Min: http.StatusNotImplemented, Reason: actions.Config, Advice: adviceURL},
	{Name: "gateway-timeout", Min: http.StatusGatewayTimeout, Reason: actions.Ambiguous},
	{Name: "server-error", Min: 500, Max: 599, Reason: actions.Transient},
	{Name: "odd-success", Min: 200, Max: 299, Reason: actions.Ambiguous, Advice: adviceURL},
	{Name: "unlisted", Reason: actions.Config, Advice: adviceURL},
})
