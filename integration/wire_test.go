package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// wire is a request as a client writes it.
type wire struct {
	method string // "" is GET
	path   string // with its query, written as the client writes it
	token  string // "" is the admin's
	body   string
	header map[string]string
}

// answer is the envelope of every answer.
type answer struct {
	Code    int             `json:"-"` // of HTTP
	Status  bool            `json:"status"`
	Result  json.RawMessage `json:"result"`
	Message string          `json:"message"`
}

// noRedirects does not follow a redirect: neither does any client here.
var noRedirects = http.Client{Timeout: soon, CheckRedirect: func(*http.Request, []*http.Request) error {
	return http.ErrUseLastResponse
}}

// open sends a request and returns the answer before its body is read. The
// caller closes it.
func (s *site) open(w wire) (*http.Response, error) {
	method := w.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.API+w.path, strings.NewReader(w.body))
	if err != nil {
		return nil, err
	}
	token := w.token
	if token == "" {
		token = s.Token
	}
	req.Header.Set("token", token)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range w.header {
		req.Header.Set(name, value)
	}
	return noRedirects.Do(req)
}

// wire sends a request and ends the test unless the answer is the envelope.
func (s *site) wire(w wire) answer {
	s.t.Helper()
	a, err := s.exchange(w)
	if err != nil {
		s.t.Fatalf("%s %s: %v", w.method, w.path, err)
	}
	return a
}

func (s *site) exchange(w wire) (answer, error) {
	resp, err := s.open(w)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{Code: resp.StatusCode}
	if err := json.Unmarshal(text, &a); err != nil {
		return answer{}, fmt.Errorf("status %d with %q: %w", resp.StatusCode, text, err)
	}
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		return answer{}, fmt.Errorf("the answer is labelled %q, want application/json", got)
	}
	return a, nil
}
