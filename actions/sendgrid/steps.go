package sendgrid

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/provider"
	"github.com/sealpost/sealpost/actions/webclient"
	"github.com/sealpost/sealpost/secrets"
)

const (
	// scopesPath is the operation that lists what the key of the request may do. It
	// changes nothing and every key may call it.
	scopesPath = "/v3/scopes"

	// sendScope is what a key needs to send.
	sendScope = "mail.send"
)

// Probe opens the secret and asks SendGrid what the key may do, through the
// client and guard that send. It sends no mail.
func (a *Action) Probe(ctx context.Context, ref secrets.Ref) []actions.Step {
	key, err := a.openKey(ctx, ref)
	if err != nil {
		_, err = actions.SecretError(ref.Key, secrets.TypeText, err)
		return []actions.Step{{Name: "secret", Text: err.Error()}}
	}
	header, err := headerOf(key.Value)
	if err != nil {
		return []actions.Step{{Name: "secret", Text: err.Error()}}
	}
	steps := []actions.Step{{Name: "secret", OK: true, Text: fmt.Sprintf("version %d", key.Ref.Version)}}
	url := strings.TrimSuffix(a.config.URL, sendPath) + scopesPath
	resp, err := a.client.Do(ctx, nil, webclient.Request{Method: http.MethodGet, URL: url, Header: header})
	if err != nil {
		v := judgeFailure(err)
		return append(steps, failed(v.Stage, v))
	}
	steps = append(steps, actions.Step{Name: "dial", OK: true})
	if resp.Status != http.StatusOK {
		return append(steps, failed("auth", judge(resp, a.now(), hidden(key.Value))))
	}
	var answer struct{ Scopes []string }
	if err := json.Unmarshal(resp.Body, &answer); err != nil {
		return append(steps, actions.Step{Name: "auth", Text: "the answer is not SendGrid's: " + adviceURL})
	}
	steps = append(steps, actions.Step{Name: "auth", OK: true})
	if !slices.Contains(answer.Scopes, sendScope) {
		return append(steps, actions.Step{Name: "scope", Text: "the key may not send mail: give it the permission Mail Send at SendGrid"})
	}
	return append(steps, actions.Step{Name: "scope", OK: true, Text: sendScope})
}

// openKey opens exactly the version that ref names if that one is staged.
func (a *Action) openKey(ctx context.Context, ref secrets.Ref) (secrets.Text, error) {
	if ref.Type != secrets.TypeText {
		return secrets.Text{}, secrets.ErrWrongType
	}
	return a.config.Vault.OpenText(ctx, ref, secrets.Use{Actor: "worker " + a.config.Worker, Why: "test"})
}

func failed(name string, v provider.Verdict) actions.Step {
	s := actions.Step{Name: name, Text: v.Text}
	if v.Advice != "" {
		s.Text += ": " + v.Advice
	}
	return s
}
