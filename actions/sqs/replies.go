package sqs

import (
	"net/http"
	"regexp"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// What a person can do about a refusal.
const (
	adviceKeys   = "store a new version of the secret (sealpost secret put), or mend the user at AWS and run sealpost parked release"
	adviceQueue  = "make the queue, or store a version of the secret with the right queue_url, then run sealpost parked release"
	adviceAllow  = "the user needs sqs:SendMessage on this queue, and kms:GenerateDataKey and kms:Decrypt when it is encrypted with a key of its own"
	adviceClock  = "set the clock of this machine (NTP)"
	adviceTLS    = "mend the endpoint's certificate or have the system trust its authority (SSL_CERT_FILE), then run sealpost parked release"
	adviceTarget = "store a version of the secret with the right endpoint"
)

// clockWords are in refusals for the clock's sake, which come under the code of
// a wrong key.
var clockWords = regexp.MustCompile(`(?i)signature (expired|not yet current)|request(time| has) (expired|too skewed)|clock skew`)

// replies is the table of what the service answers. Codes come in two
// spellings, "QueueDoesNotExist" and "AWS.SimpleQueueService.NonExistentQueue";
// what is in front of the last part is taken off before. Codes and limits are
// those of AWS' SDK for SQS and of the list of common errors in its reference.
var replies = actions.Table{
	// The network, before the service was asked.
	{Name: "endpoint-rule", Status: "endpoint", Reason: actions.Credential, Advice: adviceTarget},
	{Name: "address-blocked", Status: "net.blocked", Reason: actions.Policy},
	{Name: "plain-http", Status: "net.plain", Reason: actions.Policy, Advice: adviceTarget},
	{Name: "tls-refused", Status: "tls.*", Reason: actions.Credential, Advice: adviceTLS},
	{Name: "claim-lost", Status: "local.claim", Reason: actions.Transient},
	{Name: "attempt-ended", Status: "local.ended", Reason: actions.Transient},
	{Name: "no-such-host", Status: "net.nohost", Reason: actions.Transient, After: 30 * time.Second},
	{Name: "no-answer", Status: "net.unknown", Reason: actions.Ambiguous},
	{Name: "unreadable", Status: "answer.unreadable", Reason: actions.Ambiguous},
	{Name: "no-connection", Status: "net.*", Reason: actions.Transient},

	// Its words are "the security token included in the request has expired",
	// which must not be taken for the clock's.
	{Name: "expired-token", Status: "ExpiredToken*", Reason: actions.Credential, Advice: adviceKeys},

	// The clock: the key is right.
	{Name: "clock", Text: clockWords, Reason: actions.Transient, After: 10 * time.Second, Advice: adviceClock},
	{Name: "clock", Status: "RequestTimeTooSkewed", Reason: actions.Transient, After: 10 * time.Second, Advice: adviceClock},
	{Name: "clock", Status: "RequestExpired", Reason: actions.Transient, After: 10 * time.Second, Advice: adviceClock},

	// Too much, whatever the HTTP status: AWS sends 400, 403 and 503.
	{Name: "throttled", Status: "RequestThrottled*", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "Throttl*", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "KmsThrottled", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "KMS.Throttl*", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "TooManyRequests*", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "RequestLimitExceeded", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "LimitExceeded*", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "SlowDown", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "PriorRequestNotComplete", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Status: "OverLimit", Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "throttled", Min: http.StatusTooManyRequests, Reason: actions.Throttled, Lesson: queue.RateLimit},

	// The credential, or what it may do.
	{Name: "unknown-key", Status: "InvalidClientTokenId", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "unknown-key", Status: "InvalidAccessKeyId", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "unknown-key", Status: "UnrecognizedClient*", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "unknown-key", Status: "AuthFailure", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "unknown-key", Status: "MissingAuthenticationToken*", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "unknown-key", Status: "InvalidSecurity", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "wrong-secret-key", Status: "SignatureDoesNotMatch", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "wrong-secret-key", Status: "InvalidSignature*", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "wrong-secret-key", Status: "IncompleteSignature*", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "expired-token", Status: "TokenRefreshRequired", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "not-allowed", Status: "AccessDenied*", Reason: actions.Credential, Advice: adviceAllow},
	{Name: "not-allowed", Status: "UnauthorizedOperation", Reason: actions.Credential, Advice: adviceAllow},
	{Name: "not-allowed", Status: "NotAuthorized*", Reason: actions.Credential, Advice: adviceAllow},
	{Name: "not-signed-up", Status: "OptInRequired", Reason: actions.Credential, Advice: adviceKeys},
	{Name: "not-signed-up", Status: "SubscriptionRequired*", Reason: actions.Credential, Advice: adviceKeys},

	// The queue, which the secret names.
	{Name: "no-queue", Status: "QueueDoesNotExist", Reason: actions.Credential, Advice: adviceQueue},
	{Name: "no-queue", Status: "NonExistentQueue", Reason: actions.Credential, Advice: adviceQueue},
	{Name: "no-queue", Status: "QueueDeletedRecently", Reason: actions.Credential, Advice: adviceQueue},
	{Name: "no-queue", Status: "InvalidAddress", Reason: actions.Credential, Advice: adviceQueue},
	{Name: "queue-key", Status: "Kms*", Reason: actions.Credential, Advice: adviceAllow},
	{Name: "queue-key", Status: "KMS.*", Reason: actions.Credential, Advice: adviceAllow},

	// The message.
	{Name: "bad-message", Status: "InvalidMessageContents", Reason: actions.Payload},
	{Name: "too-long", Status: "BatchRequestTooLong", Reason: actions.Payload},
	{Name: "too-long", Status: "RequestEntityTooLarge*", Reason: actions.Payload},
	{Name: "bad-message", Status: "InvalidParameter*", Reason: actions.Payload},
	{Name: "bad-message", Status: "MissingParameter", Reason: actions.Payload},
	{Name: "bad-message", Status: "InvalidAttribute*", Reason: actions.Payload},
	{Name: "bad-message", Status: "UnsupportedOperation", Reason: actions.Payload},
	{Name: "bad-message", Status: "Validation*", Reason: actions.Payload},

	// The service.
	{Name: "service", Status: "Internal*", Reason: actions.Transient},
	{Name: "service", Status: "ServiceUnavailable*", Reason: actions.Transient},
	{Name: "service", Status: "ServiceFailure", Reason: actions.Transient},
	{Name: "service", Status: "RequestTimeout*", Reason: actions.Transient},

	// By HTTP status: codes that we do not know, and answers of proxies.
	{Name: "http-timeout", Min: http.StatusRequestTimeout, Reason: actions.Transient},
	{Name: "http-auth", Min: http.StatusUnauthorized, Reason: actions.Credential, Advice: adviceKeys},
	{Name: "http-auth", Min: http.StatusForbidden, Reason: actions.Credential, Advice: adviceKeys},
	{Name: "http-target", Min: http.StatusNotFound, Reason: actions.Credential, Advice: adviceTarget},
	{Name: "http-target", Min: http.StatusMethodNotAllowed, Reason: actions.Credential, Advice: adviceTarget},
	{Name: "http-target", Min: http.StatusProxyAuthRequired, Reason: actions.Credential, Advice: adviceTarget},
	{Name: "http-redirect", Min: 300, Max: 399, Reason: actions.Credential, Advice: adviceTarget},
	{Name: "http-busy", Min: http.StatusServiceUnavailable, Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "http-gateway", Min: http.StatusBadGateway, Reason: actions.Ambiguous},
	{Name: "http-gateway", Min: http.StatusGatewayTimeout, Reason: actions.Ambiguous},
	{Name: "http-5xx", Min: 500, Max: 599, Reason: actions.Transient},
	{Name: "http-4xx", Min: 400, Max: 499, Reason: actions.Payload},
	{Name: "unlisted", Reason: actions.Transient},
}
