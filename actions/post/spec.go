package post

import (
	"regexp"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// urlForm is how a URL begins.
var urlForm = regexp.MustCompile(`^(?i:https?)://[^/]`)

// Spec describes the action.
func (a *Action) Spec() actions.Spec {
	return actions.Spec{
		Kind:     Kind,
		Attempts: maxAttempts,
		Title:    "Sends the job's data, as a JSON array, to a URL.",
		Fields: []actions.Field{
			{
				Name: "url", Form: actions.LineForm, Need: true, Match: urlForm, Vars: true,
				Doc: "`https://` on port 443 or 8443; `http://` and other ports only for addresses that `SEALPOST_ALLOW_NET` names. Variables fill the path and the query, escaped; never scheme, host or port. No user or password, no `..`.",
			},
			{
				Name: "headers", Form: actions.HeadersForm, Vars: true,
				Doc: "Up to 50. Not `Host`, `Content-*`, `User-Agent`, `Idempotency-Key`, `webhook-*` and those of the connection. `TagoIO-Retries` is overwritten by the number of the attempt.",
			},
			{
				Name: "header_secrets", Form: actions.SecretsForm, Secret: secrets.TypeText,
				Doc: "For each header a secret whose text is the whole value, such as `Bearer ...`.",
			},
			{
				Name: "signing_secret", Form: actions.SecretForm, Secret: secrets.TypeText,
				Doc: "Signs by Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`. The text is `whsec_` and base64, or the key itself; several with blanks between give several signatures.",
			},
			{Name: "http_post_fallback_enabled", Form: actions.FlagForm, Doc: "Whether a dead letter's data goes to `fallback_action`."},
			{
				Name: "fallback_action", Form: actions.ActionForm,
				Doc: "Gets the data when the job ends as a dead letter, with `_http_error`, `_http_url` (without path and query) and `_http_attempts` in the metadata of each datum. Data that has `_http_attempts` gets no second fallback.",
			},
			{Name: "fallback_token", Form: actions.LineForm, Doc: "Accepted and not used: it names a device elsewhere. Use `fallback_action`."},
		},
		Limits:     "64 KiB of an answer are read, within 30 s; 8,000 bytes of URL; no redirects, no proxies, TLS 1.2 or better.",
		Retries:    "200 to 209 is success. 408, 425, 429, 5xx but 501 and 505, and broken connections are tried again, up to 10 times, not before `Retry-After`. 401 and 403 wait for a new version of the secret.",
		Duplicates: "When the connection breaks after the request was written, and after 504: the receiver may have acted. With `on_ambiguous` `park` such a job waits for a person.",
		Key:        "`Idempotency-Key` and `webhook-id`: the id of the job, the same in all attempts.",
	}
}
