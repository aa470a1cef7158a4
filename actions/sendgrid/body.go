package sendgrid

import (
	"encoding/json"
	"net/mail"
)

// jobArgument is the custom argument that carries the job's id.
const jobArgument = "sealpost_job_id"

// request is the body of POST /v3/mail/send.
type request struct {
	Personalizations []personalization `json:"personalizations"`
	From             address           `json:"from"`
	ReplyTo          *address          `json:"reply_to,omitempty"`
	ReplyToList      []address         `json:"reply_to_list,omitempty"` // instead, for several
	Subject          string            `json:"subject"`
	Content          []content         `json:"content"`
	Attachments      []file            `json:"attachments,omitempty"`
}

// personalization is one mail of a request: all recipients see each other, but
// for bcc.
type personalization struct {
	To         []address         `json:"to"`
	Cc         []address         `json:"cc,omitempty"`
	Bcc        []address         `json:"bcc,omitempty"`
	CustomArgs map[string]string `json:"custom_args"`
}

type address struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

type content struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// body writes the request. Nothing is put together by hand: the encoder decides
// what a value may look like.
func (pl *plan) body(jobID string) ([]byte, error) {
	r := request{
		Personalizations: []personalization{{
			To: addresses(pl.to), Cc: addresses(pl.cc), Bcc: addresses(pl.bcc), CustomArgs: map[string]string{jobArgument: jobID},
		}},
		From: addressOf(pl.from), Subject: pl.subject, Attachments: pl.files,
	}
	switch replyTo := addresses(pl.replyTo); len(replyTo) {
	case 0:
	case 1:
		r.ReplyTo = &replyTo[0]
	default:
		r.ReplyToList = replyTo
	}
	if pl.text != "" { // plain text first, else SendGrid refuses
		r.Content = append(r.Content, content{"text/plain", pl.text})
	}
	if pl.html != "" {
		r.Content = append(r.Content, content{"text/html", pl.html})
	}
	return json.Marshal(r)
}

func addresses(list []*mail.Address) []address {
	var out []address
	for _, a := range list {
		out = append(out, addressOf(a))
	}
	return out
}

func addressOf(a *mail.Address) address { return address{Email: a.Address, Name: a.Name} }
