// Package builtin is the list of all actions that a process can do. An action
// that is not in it does not exist: metrics, commands and documents follow
// from the list.
package builtin

import (
	"context"
	"log/slog"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/email"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sqs"
	"github.com/sealpost/sealpost/secrets"
)

// Vault is the part of the secret store that the actions need between them.
type Vault interface {
	// Lookup returns the current version of a secret by its id or key.
	Lookup(ctx context.Context, ref string) (secrets.Ref, error)
	// OpenSMTP unseals a secret of type smtp.
	OpenSMTP(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.SMTP, error)
	// OpenSQS unseals a secret of type sqs.
	OpenSQS(ctx context.Context, ref secrets.Ref, use secrets.Use) (secrets.SQS, error)
}

// Deps is what actions are made of.
type Deps struct {
	Vault  Vault
	Guard  *netguard.Guard // nil: the public internet only
	Worker string          // name of this process in the audit log
	Logger *slog.Logger    // nil: no log
}

// New returns THE LIST. They connect to nothing before their first job.
func New(d Deps) []actions.Action {
	return []actions.Action{
		email.New(email.Config{Vault: d.Vault, Guard: d.Guard, Worker: d.Worker, Logger: d.Logger}),
		sqs.New(sqs.Config{Vault: d.Vault, Guard: d.Guard, Worker: d.Worker, Logger: d.Logger}),
	}
}
