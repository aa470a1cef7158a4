package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets/redact"
)

// analysisKind is the kind of a principal that came with the token of an
// analysis; its ID is the analysis'. What such a principal may do with a
// resource is for policies to say, in the handlers.
const analysisKind access.Kind = "analysis"

// analysisPrefix begins every token of an analysis, as clients expect.
const analysisPrefix = "a-"

// scope says which kinds of token may use a route.
type scope int

// The scopes, from wide to narrow. Admin tokens may do everything.
const (
	anyToken scope = iota + 1 // who am I
	canRead                   // admin, producer, reader: the state of jobs
	canWatch                  // admin, reader: the state of everything, no values
	canSend                   // admin, producer: jobs
	isAdmin                   // admin

	isAnalysis      // analysis, about itself
	adminOrAnalysis // admin; analysis as policies say
	watchOrAnalysis // admin, reader; analysis as policies say
)

// allows reports whether a token of this kind is in the scope. The zero scope
// allows nobody.
func (s scope) allows(kind access.Kind) bool {
	switch s {
	case anyToken:
		return kind == access.Admin || kind == access.Producer || kind == access.Reader || kind == analysisKind
	case canRead:
		return kind == access.Admin || kind == access.Producer || kind == access.Reader
	case canWatch:
		return kind == access.Admin || kind == access.Reader
	case canSend:
		return kind == access.Admin || kind == access.Producer
	case isAdmin:
		return kind == access.Admin
	case isAnalysis:
		return kind == analysisKind
	case adminOrAnalysis:
		return kind == access.Admin || kind == analysisKind
	case watchOrAnalysis:
		return kind == access.Admin || kind == access.Reader || kind == analysisKind
	}
	return false
}

// String says in words what a token of the scope is.
func (s scope) String() string {
	switch s {
	case canWatch:
		return "an admin or reader token"
	case canSend:
		return "an admin or producer token"
	case isAdmin:
		return "an admin token"
	case isAnalysis:
		return "the token of an analysis"
	case adminOrAnalysis:
		return "an admin token or the token of an analysis"
	case watchOrAnalysis:
		return "an admin or reader token or the token of an analysis"
	}
	return "a token"
}

// authenticate returns who asks. The answer to a wrong token never says why
// it is wrong.
func (a *API) authenticate(r *http.Request) (access.Principal, error) {
	vault, err := a.vault()
	if err != nil {
		return access.Principal{}, err
	}
	who, err := vault.verify(r.Context(), presented(r))
	if err == nil {
		return who, nil
	}
	if own, ok := errors.AsType[*refused](err); ok {
		return access.Principal{}, own
	}
	if !errors.Is(err, access.ErrUnauthorized) {
		return access.Principal{}, fmt.Errorf("verify token: %w", err)
	}
	if !a.failed.allow(clientAddr(r)) {
		return access.Principal{}, refuse(http.StatusTooManyRequests, "Too many requests (Retry-After: 1)")
	}
	return access.Principal{}, access.ErrUnauthorized
}

// verify returns whose token this is. The token of an analysis that is switched
// off is good for nothing. Error access.ErrUnauthorized, or the network's.
func (v *Vault) verify(ctx context.Context, token string) (access.Principal, error) {
	if !strings.HasPrefix(token, analysisPrefix) {
		return v.Tokens.Verify(ctx, token)
	}
	found, err := v.Directory.VerifyToken(ctx, redact.New(token))
	if errors.Is(err, access.ErrNoAnalysisToken) {
		return access.Principal{}, access.ErrUnauthorized
	}
	if err != nil {
		return access.Principal{}, err
	}
	if !found.Active {
		return access.Principal{}, refuse(http.StatusUnauthorized, "%s: the analysis is not active", denied)
	}
	return access.Principal{ID: found.ID, Kind: analysisKind, Name: found.Name}, nil
}

// presented is the token that came with the request: the token header that
// existing clients send, or a bearer token.
func presented(r *http.Request) string {
	if token := r.Header.Get("Token"); token != "" {
		return token
	}
	if token := r.URL.Query().Get("token"); token != "" && r.URL.Path == eventsPath {
		return token
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}
