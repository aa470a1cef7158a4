package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestClientErrors(t *testing.T) {
	const token = "spad_canary4711"
	tests := []struct {
		name    string
		status  int
		body    string
		header  http.Header
		want    string
		code    int
		noReply bool
	}{
		{name: "not found", status: 404, body: `{"status":false,"message":"Job Not Found"}`, want: "Job Not Found", code: exitNotFound},
		{name: "wrong token", status: 401, body: `{"status":false,"message":"Authorization Denied"}`, want: "SEALPOST_TOKEN is wrong", code: exitRefused},
		{name: "token of another kind", status: 403, body: `{"status":false,"message":"Authorization Denied: admin"}`, want: "admin", code: exitRefused},
		{name: "sealed", status: 503, body: `{"status":false,"message":"sealed: no key"}`, want: "sealed: no key", code: exitSealed},
		{name: "Redis is gone", status: 503, body: `{"status":false,"message":"Redis does not answer"}`, want: "Redis", code: exitError},
		{name: "full", status: 429, body: `{"status":false,"message":"full"}`, want: "try again", code: exitError},
		{name: "another program", status: 200, body: `<html>`, want: "is SEALPOST_URL right?", code: exitError},
		{name: "redirect is not followed", status: 302, header: http.Header{"Location": {"http://evil.test/"}}, want: "HTTP 302", code: exitError},
		{name: "result of another form", status: 200, body: `{"status":true,"result":"text"}`, want: "same version", code: exitError},
		{name: "nobody there", noReply: true, want: "is `sealpost serve` running there?", code: exitError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); got != "Bearer "+token {
					t.Errorf("Authorization: got %q", got)
				}
				for name, values := range tt.header {
					w.Header()[name] = values
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer srv.Close()
			if tt.noReply {
				srv.Close()
			}
			var result struct{ ID string }
			err := newClient(srv.URL+"/", redact.New(token)).call(t.Context(), http.MethodGet, "/jobs/1", nil, &result)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v, want %q in it and no token", err, tt.want)
			}
			if got := exitCode(err); got != tt.code {
				t.Errorf("exit code: got %d, want %d", got, tt.code)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"anything", errors.New("x"), exitError},
		{"usage", usage("x"), exitUsage},
		{"wrapped usage", fmt.Errorf("a: %w", usage("x")), exitUsage},
		{"sealed", fmt.Errorf("open: %w: x", secrets.ErrSealed), exitSealed},
		{"wrapped refusal", fmt.Errorf("a: %w", &apiError{status: 403}), exitRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}
