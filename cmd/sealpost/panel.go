package main

import (
	"fmt"
	"net/http"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/server/panel"
)

// panel returns the handler of the admin panel.
func (p *process) panel() http.Handler {
	return panel.New(panel.Config{Testers: p.actions, Log: p.log, Vault: func() (*panel.Vault, error) {
		o := p.opened.Load()
		if o == nil {
			return nil, fmt.Errorf("%w: %s", secrets.ErrSealed, *p.sealed.Load())
		}
		return &panel.Vault{Secrets: o.secrets, Directory: o.directory, Tokens: o.tokens, Sessions: o.sessions}, nil
	}})
}
