package twilio

import (
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// Spec describes the action.
func (a *Action) Spec() actions.Spec {
	s := actions.Spec{
		Kind:       a.kind,
		Limits:     "100 recipients a job, each a request of its own; 1,600 characters a message.",
		Retries:    "429 slows the account down; 5xx and broken connections are tried again. 401 and 403 wait for a new version of the secret of `twilio_token`. With several recipients each is a part: who has the message does not get it again, who is refused for good makes the job a dead letter once the others have it.",
		Duplicates: "When the connection breaks after the request was written, and after 504: Twilio may have the message. With `on_ambiguous` `park` such a job waits for a person.",
		Key:        "None: Twilio takes none.",
	}
	secret := func(name, doc string, need bool) actions.Field {
		return actions.Field{Name: name, Form: actions.SecretForm, Need: need, Secret: secrets.TypeText, Doc: doc}
	}
	from, need := "A number, a sender's name of at most 11 letters and digits, a short code, or the SID of a messaging service (`MG...`).", true
	if a.kind == KindWhatsApp {
		from, need = "A number that WhatsApp knows, or the SID of a messaging service (`MG...`). `whatsapp:` before it may be left out.", false
	}
	s.Fields = []actions.Field{
		{Name: "from", Form: actions.LineForm, Need: true, Doc: from},
		{Name: "to", Form: actions.LineForm, Need: true, Doc: "Numbers with `,` or `;` between. Blanks and `-().` in them do not count; one without a country code gets `+1`."},
		{Name: "message", Form: actions.TextForm, Need: need, Vars: true, Doc: "The text."},
	}
	if a.kind == KindWhatsApp {
		s.Title = "Sends WhatsApp messages by Twilio's API."
		s.Either = []string{"message", "content_sid"}
		s.Fields = append(s.Fields,
			secret("content_sid", "A text secret that holds the SID of a template (`HX...`), which is sent instead of a text.", false),
			actions.Field{Name: "content_variables", Form: actions.PairsForm, Vars: true, Doc: "Variables of the template: `[{\"name\", \"value\"}]`. A job also takes an object of texts."})
	} else {
		s.Title = "Sends text messages by Twilio's API."
	}
	s.Fields = append(s.Fields,
		secret("twilio_sid", "A text secret that holds the account SID (`AC...`).", true),
		secret("twilio_token", "A text secret that holds the auth token.", true))
	return s
}
