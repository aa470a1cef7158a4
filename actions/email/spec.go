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
		},
		Either: []string{"message", "html"},
		Key:    "`Message-ID`, the same in all attempts.",
	}
}
