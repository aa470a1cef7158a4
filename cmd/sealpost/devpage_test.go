package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/sink"
)

func TestTheDevPageShowsWhatArrivedAndNoSecret(t *testing.T) {
	s, err := startDevSinks(func(sink.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	get := func() (string, http.Header) {
		t.Helper()
		r, err := http.Get(s.page.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("got %d, %v", r.StatusCode, err)
		}
		return string(body), r.Header
	}
	empty, h := get()
	if n := strings.Count(empty, "Nothing yet."); n != 5 {
		t.Errorf("got %d empty sections, want 5", n)
	}
	if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	req, err := http.NewRequest(http.MethodPost, s.http.URL()+"/hook?x=<script>alert(1)</script>", strings.NewReader(`["<img src=x onerror=alert(2)>"]`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", devHookKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	page, _ := get()
	for _, want := range []string{"POST /hook?x=", "X-Api-Key: [redacted]", "&lt;img src=x"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	for _, not := range []string{devHookKey, "<script", "<img"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
}
