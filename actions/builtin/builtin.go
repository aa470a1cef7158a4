// Package builtin is the list of all actions that a process can do. An action
// that is not in it does not exist: metrics, commands and documents follow
// from the list.
package builtin

import (
	"log/slog"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/email"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/post"
	"github.com/sealpost/sealpost/actions/script"
	"github.com/sealpost/sealpost/actions/sendgrid"
	"github.com/sealpost/sealpost/actions/sqs"
	"github.com/sealpost/sealpost/actions/twilio"
)

// Vault is the part of the secret store that the actions need between them: a
// mail may be signed, so what it needs opens texts, too.
type Vault interface {
	email.Vault
	sqs.Vault
}

// Deps is what actions are made of.
type Deps struct {
	Vault  Vault
	Guard  *netguard.Guard // nil: the public internet only
	Worker string          // name of this process in the audit log
	Logger *slog.Logger    // nil: no log
	Script script.Config   // Worker and Logger are those above

	// Refused is asked before a login. nil: nobody is asked.
	Refused actions.Refused

	SendgridURL string // "" means sendgrid.DefaultURL
	TwilioURL   string // "" means twilio.DefaultURL
}

// New returns THE LIST. They connect to nothing before their first job.
func New(d Deps) []actions.Action {
	d.Script.Worker, d.Script.Logger = d.Worker, d.Logger
	text := twilio.Config{Vault: d.Vault, Guard: d.Guard, Worker: d.Worker, URL: d.TwilioURL}
	return []actions.Action{
		email.New(email.Config{Vault: d.Vault, Guard: d.Guard, Worker: d.Worker, Logger: d.Logger, Refused: d.Refused}),
		post.New(post.Config{Vault: d.Vault, Guard: d.Guard, Worker: d.Worker, Logger: d.Logger}),
		sendgrid.New(sendgrid.Config{Vault: d.Vault, Guard: d.Guard, Worker: d.Worker, URL: d.SendgridURL}),
		sqs.New(sqs.Config{Vault: d.Vault, Guard: d.Guard, Worker: d.Worker, Logger: d.Logger}),
		script.New(d.Script),
		twilio.NewSMS(text),
		twilio.NewWhatsApp(text),
	}
}
