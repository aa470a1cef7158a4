package email

import (
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// Spec describes the action.
func (a *Action) Spec() actions.Spec {
	return actions.Spec{
		Kind:  Kind,
		Title: "Sends a mail through an SMTP server, over verified TLS.",
		Fields: []actions.Field{
			{Name: "smtp_secret", Form: actions.SecretForm, Need: true, Secret: secrets.TypeSMTP, Doc: "The server and the login."},
			{Name: "from", Form: actions.LineForm, Doc: "An address, `Name <address>`, or only a name; without it the secret's."},
			{Name: "to", Form: actions.LineForm, Doc: "Addresses with `,` or `;` between."},
			{Name: "cc", Form: actions.LineForm, Doc: "As `to`."},
			{Name: "bcc", Form: actions.LineForm, Doc: "As `to`, and not shown in the mail."},
			{Name: "reply_to", Form: actions.LineForm, Doc: "Where answers go."},
			{Name: "subject", Form: actions.LineForm, Vars: true, Doc: "One line."},
			{Name: "message", Form: actions.TextForm, Vars: true, Doc: "Plain text."},
			{Name: "html", Form: actions.TextForm, Vars: true, Doc: "With `message`: both, as alternatives."},
			{Name: "attachments", Form: actions.ArrayForm, Doc: "Each `{\"filename\", \"content\" (base64), \"type\" (media type, else that of the name)}`."},
			{Name: "headers", Form: actions.HeadersForm, Vars: true, Doc: "Further headers: `X-...`, `List-...`, `Auto-Submitted`, `Comments`, `Feedback-Id`, `Importance`, " +
				"`In-Reply-To`, `Keywords`, `Organization`, `Precedence`, `Priority`, `References`, `Sensitivity`."},
			{Name: "list_unsubscribe", Form: actions.LinesForm, Vars: true, Doc: "`https:` or `mailto:` URIs (RFC 2369)."},
			{Name: "list_unsubscribe_post", Form: actions.FlagForm, Doc: "A POST to the `https:` URI unsubscribes (RFC 8058): so unless `false`."},
			{Name: "dkim", Form: actions.ObjectForm, Secret: secrets.TypeText, Doc: "`{\"domain\", \"selector\", \"secret\"}`: signs the mail. " +
				"The secret holds a private key in PEM: RSA of at most 2048 bits (a text holds no more), or Ed25519."},
		},
		Either: []string{"message", "html"},
		Limits: "100 recipients, 20 attachments, 50 further headers; the size that the server offers.",
		Retries: "Recipients, each by itself: those that have the mail do not get it again. A greylisted one after a minute. " +
			"Refused logins wait for a new version of the secret.",
		Duplicates: "When the line broke after the text and before the answer; `on_ambiguous: park` asks a person instead.",
		Key:        "`Message-ID`, the same in all attempts.",
	}
}
