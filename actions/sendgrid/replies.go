package sendgrid

import (
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/queue"
)

// What a person can do about a refusal.
const (
	adviceKey     = "store a version of the secret with a key that may send mail (\"sealpost secret put\"); the job then goes on by itself"
	adviceAccount = "settle it with SendGrid and run \"sealpost parked release\", or store a key of another account (\"sealpost secret put\")"
	adviceSender  = "verify the sender or its domain at SendGrid, and retry the job"
	adviceRegion  = "the account is pinned to another region: set SEALPOST_SENDGRID_URL to the API of that region"
	adviceURL     = "see whether SEALPOST_SENDGRID_URL is the address of SendGrid's API"
	adviceShorter = "send a smaller mail: SendGrid takes 30 MB, attachments included"
)

// Status of what never gets to SendGrid.
const (
	statusSecret = "secret.unusable" // the secret cannot be a key
	statusMail   = "mail.unusable"   // the mail cannot be written
)

// Words that decide where one code means several things: SendGrid has no error
// codes, and its texts are the only difference.
var (
	creditWords  = regexp.MustCompile(`(?i)maximum credits exceeded|exceeded your messaging limits|exceeded.{0,30}(daily|monthly|sending|message|email) (limit|quota)`)
	blockWords   = regexp.MustCompile(`(?i)too many (bad )?requests|temporar(y|ily) block|rate limit`)
	senderWords  = regexp.MustCompile(`(?i)verified sender identity|sender identity|from (address|domain) (is|does|has) not|not authorized to send from`)
	accountWords = regexp.MustCompile(`(?i)account.{0,40}(suspended|disabled|deactivated|banned|frozen|under review|not been activated|locked)`)
	addressWords = regexp.MustCompile(`(?is)does not contain a valid address.{0,80}"personalizations|"personalizations[^"]*\.email"`)
)

// replies is the table of what SendGrid answers; the first row that matches wins.
// 202 never gets here. testdata/replies.json has answers with where each is from.
var replies = slices.Concat(webclient.Network, actions.Table{
	{Name: "secret-unusable", Status: statusSecret, Reason: actions.Config},
	{Name: "mail-unusable", Status: statusMail, Reason: actions.Payload},

	// Credits come back at midnight or at the month's end, so a new key of the
	// same account would not help, and waiting does.
	{Name: "credits-used-up", Min: 400, Max: 499, Text: creditWords, Reason: actions.Throttled, After: 15 * time.Minute},
	{Name: "blocked-for-a-while", Min: http.StatusForbidden, Text: blockWords, Reason: actions.Throttled, After: 5 * time.Minute},
	{Name: "throttled", Min: http.StatusTooManyRequests, Reason: actions.Throttled, Lesson: queue.RateLimit},

	{Name: "sender-unverified", Min: 400, Max: 403, Text: senderWords, Reason: actions.Policy, Advice: adviceSender},
	{Name: "account-stopped", Min: 401, Max: 403, Text: accountWords, Reason: actions.Credential, Advice: adviceAccount},
	{Name: "unauthorized", Min: http.StatusUnauthorized, Reason: actions.Credential, Advice: adviceKey},
	{Name: "payment", Min: http.StatusPaymentRequired, Reason: actions.Credential, Advice: adviceAccount},
	{Name: "forbidden", Min: http.StatusForbidden, Reason: actions.Credential, Advice: adviceKey},

	{Name: "address", Min: http.StatusBadRequest, Text: addressWords, Reason: actions.Recipient},
	{Name: "bad-request", Min: http.StatusBadRequest, Reason: actions.Payload},
	{Name: "not-acceptable", Min: http.StatusNotAcceptable, Reason: actions.Payload},
	{Name: "too-large", Min: http.StatusRequestEntityTooLarge, Reason: actions.Payload, Advice: adviceShorter},
	{Name: "media-type", Min: http.StatusUnsupportedMediaType, Reason: actions.Payload},
	{Name: "region", Min: http.StatusUnavailableForLegalReasons, Reason: actions.Config, Advice: adviceRegion},
	{Name: "request-timeout", Min: http.StatusRequestTimeout, Reason: actions.Transient},

	// What SendGrid never answers to this request: somebody else is there.
	{Name: "redirect", Min: 300, Max: 399, Reason: actions.Config, Advice: adviceURL},
	{Name: "not-there", Min: http.StatusNotFound, Max: http.StatusMethodNotAllowed, Reason: actions.Config, Advice: adviceURL},
	{Name: "proxy-login", Min: http.StatusProxyAuthRequired, Reason: actions.Config, Advice: adviceURL},
	{Name: "refused", Min: 400, Max: 499, Reason: actions.Payload},

	{Name: "not-implemented", Min: http.StatusNotImplemented, Reason: actions.Config, Advice: adviceURL},
	{Name: "gateway-timeout", Min: http.StatusGatewayTimeout, Reason: actions.Ambiguous},
	{Name: "server-error", Min: 500, Max: 599, Reason: actions.Transient},

	// 200 is the answer of the sandbox: checked and thrown away.
	{Name: "sandbox", Min: http.StatusOK, Reason: actions.Config, Advice: "SendGrid checked the mail and does not send it (sandbox mode); " + adviceURL},
	{Name: "odd-success", Min: 201, Max: 299, Reason: actions.Ambiguous, Advice: adviceURL},
	{Name: "unlisted", Reason: actions.Config, Advice: adviceURL},
})
