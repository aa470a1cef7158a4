package sendgrid

import (
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// Spec describes the action.
func (a *Action) Spec() actions.Spec {
	return actions.Spec{
		Kind:  Kind,
		Title: "Sends a mail by SendGrid's API.",
		Fields: []actions.Field{
			{Name: "sendgrid_api_key", Form: actions.SecretForm, Need: true, Secret: secrets.TypeText, Doc: "A text secret that holds an API key with the permission Mail Send."},
			{Name: "from", Form: actions.LineForm, Need: true, Doc: "An address or `Name <address>`; SendGrid must have verified it or its domain."},
			{Name: "to", Form: actions.LineForm, Need: true, Doc: "Addresses with `,` or `;` between. An address that stands twice in `to`, `cc` and `bcc` counts where it comes first."},
			{Name: "cc", Form: actions.LineForm, Doc: "As `to`."},
			{Name: "bcc", Form: actions.LineForm, Doc: "As `to`, and not shown in the mail."},
			{Name: "reply_to", Form: actions.LineForm, Doc: "Where answers go."},
			{Name: "subject", Form: actions.LineForm, Need: true, Vars: true, Doc: "One line. SendGrid takes no mail without."},
			{Name: "message", Form: actions.TextForm, Vars: true, Doc: "Plain text."},
			{Name: "html", Form: actions.TextForm, Vars: true, Doc: "With `message`: both, as alternatives."},
			{Name: "attachments", Form: actions.ArrayForm, Doc: "Up to 20 of `{\"filename\", \"content\" (base64), \"type\" (media type; without it that of the name)}`."},
		},
		Either:     []string{"message", "html"},
		Limits:     "100 recipients a mail.",
		Retries:    "Only 202 is success. 429 waits until `X-RateLimit-Reset`, used-up credits for 15 minutes; 5xx and broken connections are tried again. 401 and 403 wait for a new version of the secret.",
		Duplicates: "When the connection breaks after the request was written, and after 504: SendGrid may have the mail. With `on_ambiguous` `park` such a job waits for a person.",
		Key:        "The custom argument `sealpost_job_id`, which SendGrid repeats in its events.",
	}
}
