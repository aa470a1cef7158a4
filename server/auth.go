package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/access"
)

// scope says which kinds of token may use a route.
type scope int

// The scopes, from wide to narrow. Admin tokens may do everything.
const (
	anyToken scope = iota + 1 // who am I
	canRead                   // admin, producer, reader: the state of jobs
	canWatch                  // admin, reader: the state of everything, no values
	canSend                   // admin, producer: jobs
	isAdmin                   // admin
)

// allows reports whether a token of this kind is in the scope. The zero scope
// allows nobody.
func (s scope) allows(kind access.Kind) bool {
	switch s {
	case anyToken, canRead:
		return kind == access.Admin || kind == access.Producer || kind == access.Reader
	case canWatch:
		return kind == access.Admin || kind == access.Reader
	case canSend:
		return kind == access.Admin || kind == access.Producer
	case isAdmin:
		return kind == access.Admin
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
	who, err := vault.Tokens.Verify(r.Context(), presented(r))
	if err == nil {
		return who, nil
	}
	if !errors.Is(err, access.ErrUnauthorized) {
		return access.Principal{}, fmt.Errorf("verify token: %w", err)
	}
	if !a.failed.allow(clientAddr(r)) {
		return access.Principal{}, refuse(http.StatusTooManyRequests, "Too many requests (Retry-After: 1)")
	}
	return access.Principal{}, access.ErrUnauthorized
}

// presented is the token that came with the request: the token header that
// existing clients send, or a bearer token.
func presented(r *http.Request) string {
	if token := r.Header.Get("token"); token != "" {
		return token
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}
