package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/sealpost/sealpost/secrets/redact"
)

// maxAnswer bounds what is read of an answer: a list of 1000 jobs is well below.
const maxAnswer = 64 << 20

// answerTime is the longest that a request may take; the slowest route of the
// server, a batch of jobs, has a minute.
const answerTime = 90 * time.Second

// client speaks to the API of a running `sealpost serve`.
type client struct {
	base  string
	token redact.String
	http  *http.Client
	said  atomic.Pointer[string] // beside the result of the last answer: a warning; nil before the first
}

// apiError is a refusal of the API.
type apiError struct {
	status  int
	message string
}

// Error is the message of the server.
func (e *apiError) Error() string { return e.message }

// client returns a client for the settings of cmd.
func (a *app) client(cmd *cobra.Command) (*client, error) {
	cfg, err := a.load(cmd)
	if err != nil {
		return nil, err
	}
	if cfg.Token.IsZero() {
		return nil, errors.New("no token: set SEALPOST_TOKEN or SEALPOST_TOKEN_FILE; `sealpost token create` makes one")
	}
	return newClient(cfg.URL, cfg.Token), nil
}

func newClient(base string, token redact.String) *client {
	return &client{
		base:  strings.TrimSuffix(base, "/"),
		token: token,
		http: &http.Client{
			Timeout: answerTime,
			// A redirect would carry the token to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// call asks the API and decodes the result of the envelope into result, which
// may be nil. body may be nil, or raw JSON, or anything to encode.
func (c *client) call(ctx context.Context, method, path string, body, result any) error {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	var envelope struct {
		Status  bool            `json:"status"`
		Result  json.RawMessage `json:"result"`
		Message string          `json:"message"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return fmt.Errorf("%s answered HTTP %d, but not as Sealpost does; is SEALPOST_URL right?", c.base, resp.StatusCode)
	}
	if !envelope.Status {
		return refusal(resp.StatusCode, envelope.Message)
	}
	c.said.Store(&envelope.Message) // several goroutines may ask
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(envelope.Result, result); err != nil {
		return fmt.Errorf("%s gave an answer that this version does not understand; are both of the same version?", c.base)
	}
	return nil
}

func (c *client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		content = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, errors.New("SEALPOST_URL and this path do not make a URL")
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	return req, nil
}

// refusal adds to the server's message what this user can do.
func refusal(status int, message string) error {
	switch status {
	case http.StatusUnauthorized:
		message += ": SEALPOST_TOKEN is wrong, has expired or was revoked; `sealpost token create` makes one"
	case http.StatusTooManyRequests:
		message += "; try again in a while"
	}
	return &apiError{status: status, message: message}
}

// unreachable says where nobody answered. The URL in net/http's own error
// could hold more than the host.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("no answer from %s: %w; is `sealpost serve` running there? SEALPOST_URL says where", c.base, err)
}
