package post

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets/redact"
)

// What a person can do about a refusal.
const (
	adviceSecret   = "store a version of the secret that the receiver takes (\"sealpost secret put\"); the job then goes on by itself"
	adviceNoSecret = "the receiver wants a login: put it into a secret and name it in \"header_secrets\" or \"signing_secret\""
	adviceProxy    = "the receiver's proxy wants a login, which Sealpost never sends; give a URL that needs none"
	adviceGone     = "the receiver wants no more of these: take the action out"
	adviceURL      = "see whether \"url\" is right"
	adviceRedirect = "redirects are not followed; give the final URL"
	adviceShorter  = "send less data in one job"
)

// statusSecret is the Status of a secret that cannot be a header or a key.
const statusSecret = "secret.unusable"

// limitWords are in refusals that mean "too much" under another code: GitHub's
// limits come as 403.
var limitWords = regexp.MustCompile(`(?i)rate.?limit|too many requests|quota (has been )?exceeded|throttl`)

// replies is the table of what receivers answer; the first row that matches
// wins. 200 to 209 never gets here. testdata/replies.json has answers with
// where each is from. 504 and Cloudflare's 524 say that the receiver itself did
// not answer in time: it may have acted.
var replies = slices.Concat(webclient.Network, actions.Table{
	{Name: "secret-unusable", Status: statusSecret, Reason: actions.Config},

	{Name: "limit-403", Min: http.StatusForbidden, Text: limitWords, Reason: actions.Throttled, Lesson: queue.RateLimit, After: time.Minute},
	{Name: "throttled", Min: http.StatusTooManyRequests, Reason: actions.Throttled, Lesson: queue.RateLimit},
	{Name: "request-timeout", Min: http.StatusRequestTimeout, Reason: actions.Transient},
	{Name: "too-early", Min: http.StatusTooEarly, Reason: actions.Transient},

	{Name: "unauthorized", Min: http.StatusUnauthorized, Reason: actions.Credential, Advice: adviceSecret},
	{Name: "forbidden", Min: http.StatusForbidden, Reason: actions.Credential, Advice: adviceSecret},
	{Name: "proxy-login", Min: http.StatusProxyAuthRequired, Reason: actions.Config, Advice: adviceProxy},

	{Name: "redirect", Min: 300, Max: 399, Reason: actions.Config, Advice: adviceRedirect},
	{Name: "gone", Min: http.StatusGone, Reason: actions.Config, Advice: adviceGone},
	{Name: "not-found", Min: http.StatusNotFound, Max: http.StatusMethodNotAllowed, Reason: actions.Payload, Advice: adviceURL},
	{Name: "too-large", Min: http.StatusRequestEntityTooLarge, Reason: actions.Payload, Advice: adviceShorter},
	{Name: "url-too-long", Min: http.StatusRequestURITooLong, Reason: actions.Payload},
	{Name: "headers-too-large", Min: http.StatusRequestHeaderFieldsTooLarge, Reason: actions.Payload},
	{Name: "refused", Min: 400, Max: 499, Reason: actions.Payload},

	{Name: "not-implemented", Min: http.StatusNotImplemented, Reason: actions.Payload, Advice: adviceURL},
	{Name: "http-version", Min: http.StatusHTTPVersionNotSupported, Reason: actions.Payload},
	{Name: "gateway-timeout", Min: http.StatusGatewayTimeout, Reason: actions.Ambiguous},
	{Name: "edge-timeout", Min: 524, Reason: actions.Ambiguous},
	{Name: "server-error", Min: 500, Max: 599, Reason: actions.Transient},

	{Name: "not-plain-success", Min: 210, Max: 299, Reason: actions.Payload, Advice: "only 200 to 209 counts as success"},
	{Name: "unlisted", Reason: actions.Payload, Advice: adviceURL},
})

// Codes of success.
const (
	minSuccess = 200
	maxSuccess = 209
)

// verdict is what came of an exchange.
type verdict struct {
	actions.Verdict
	accepted    bool
	stage, code string
	text        string // scrubbed
	cause       error  // for callers that look for it; nil otherwise
}

// judge says what an answer means.
func judge(resp *webclient.Response, hide []redact.String) verdict {
	v := verdict{stage: webclient.StageSend, code: strconv.Itoa(resp.Status), text: resp.Text(hide...)}
	if resp.Status >= minSuccess && resp.Status <= maxSuccess {
		v.accepted, v.stage = true, webclient.StageDone
		return v
	}
	v.Verdict = classify(resp.Answer())
	v.After = max(v.After, resp.RetryAfter)
	return v
}

// judgeFailure says what an exchange without an answer means.
func judgeFailure(err error) verdict {
	f, ok := errors.AsType[*webclient.Failure](err)
	if !ok { // it gives no others
		f = &webclient.Failure{Stage: webclient.StageSend, Status: "net.closed"}
	}
	return verdict{Verdict: classify(f.Answer()), stage: f.Stage, text: f.Text(), cause: f.Err}
}

// unusable is the verdict of a secret that cannot be used. words hold no value.
func unusable(words string) verdict {
	a := actions.Answer{Stage: "secret", Status: statusSecret}
	return verdict{Verdict: classify(a), stage: a.Stage, text: words}
}

func classify(a actions.Answer) actions.Verdict {
	v, ok := replies.Classify(a)
	if !ok { // the table ends with a row that matches all
		v = actions.Verdict{Reason: actions.Payload, Rule: "unlisted"}
	}
	return v
}

// failure is the error of a verdict. It holds no secret value.
type failure struct{ verdict verdict }

// Error names the code and the receiver's words, or the stage and ours.
func (f *failure) Error() string {
	what := "post: " + f.verdict.stage
	if f.verdict.code != "" {
		what = "post: HTTP " + f.verdict.code
	}
	return strings.TrimSuffix(what+": "+f.verdict.text, ": ")
}

// Unwrap returns the cause that the queue looks for.
func (f *failure) Unwrap() error { return f.verdict.cause }
