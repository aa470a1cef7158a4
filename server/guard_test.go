package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/access"
)

func TestSealedAnswers503(t *testing.T) {
	s := newSite(t)
	s.sealed.Store(true)
	for _, path := range []string{"/secrets", "/jobs", "/info"} {
		got := s.do(access.Admin, "GET", path, "")
		if got.status != http.StatusServiceUnavailable || got.message != "sealed: wrong master key" {
			t.Errorf("GET %s: got %d %q, want 503 and the reason", path, got.status, got.message)
		}
	}
	if got := s.do(access.Producer, "POST", "/jobs", goodJob); got.status != http.StatusServiceUnavailable {
		t.Errorf("POST /jobs: got %d, want 503", got.status)
	}
	if got := s.do("", "GET", "/nothing", ""); got.status != http.StatusNotFound {
		t.Errorf("unknown route: got %d, want 404", got.status)
	}
}

func TestTokensAreTakenFromBothHeaders(t *testing.T) {
	s := newSite(t)
	tests := []struct {
		name, header, value string
		status              int
	}{
		{"token", "token", s.token[access.Reader], 200},
		{"bearer", "Authorization", "Bearer " + s.token[access.Reader], 200},
		{"bearer in lower case", "Authorization", "bearer " + s.token[access.Reader], 200},
		{"another scheme", "Authorization", "Basic " + s.token[access.Reader], 401},
		{"without a scheme", "Authorization", s.token[access.Reader], 401},
		{"wrong token", "token", "sprd_wrong", 401},
		{"token with a tail", "token", s.token[access.Reader] + "x", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do("", "GET", "/info", "", func(r *http.Request) { r.Header.Set(tt.header, tt.value) })
			if got.status != tt.status {
				t.Errorf("status: got %d %s, want %d", got.status, got.body, tt.status)
			}
			if got.status == 401 && got.message != denied {
				t.Errorf("message: got %q, want %q for every wrong token", got.message, denied)
			}
		})
	}
	var who struct{ ID, Name, Type, Kind string }
	s.mustDo("GET", "/info", "", &who)
	if who.Kind != "admin" || who.Type != "profile" || who.Name != "test-admin" || who.ID != s.tokenID[access.Admin] {
		t.Errorf("info: got %+v, want the admin token", who)
	}
}

func TestWrongTokensAreLimitedAndRightOnesAreNot(t *testing.T) {
	s := newSite(t)
	limited := 0
	for range 2 * failBurst {
		got := s.do("", "GET", "/info", "", func(r *http.Request) { r.Header.Set("token", "wrong") })
		if got.status == http.StatusTooManyRequests && got.header.Get("Retry-After") != "" {
			limited++
		}
	}
	if limited < failBurst/2 {
		t.Errorf("limited: got %d of %d, want about half", limited, 2*failBurst)
	}
	if got := s.do(access.Admin, "GET", "/info", ""); got.status != http.StatusOK {
		t.Errorf("right token of the same address: got %d, want 200", got.status)
	}
}

func TestFailuresRememberAFewAddressesOnly(t *testing.T) {
	now := time.Unix(1, 0)
	f := newFailures(func() time.Time { return now })
	first := netip.MustParseAddr("10.0.0.1")
	for range failBurst {
		f.allow(first)
	}
	if f.allow(first) {
		t.Error("a failure over the burst is allowed")
	}
	now = now.Add(time.Second)
	if !f.allow(first) {
		t.Error("a failure a second later is not allowed")
	}
	addr := netip.MustParseAddr("11.0.0.0")
	for range failTracked + 10 {
		addr = addr.Next()
		f.allow(addr)
	}
	if len(f.byIP) != failTracked || f.order.Len() != failTracked {
		t.Errorf("remembered: got %d and %d, want %d", len(f.byIP), f.order.Len(), failTracked)
	}
}

func TestClientAddress(t *testing.T) {
	tests := []struct{ name, remote, want string }{
		{"IPv4", "192.0.2.7:4711", "192.0.2.7"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.7]:4711", "192.0.2.7"},
		{"IPv6 counts by its /64", "[2001:db8:1:2:3:4:5:6]:4711", "2001:db8:1:2::"},
		{"IPv6 with a zone", "[fe80::1%eth0]:4711", "fe80::"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.remote
			r.Header.Set("X-Forwarded-For", "1.1.1.1")
			if got := clientAddr(r); got.String() != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBrowsersOfOtherSitesAreRefused(t *testing.T) {
	s := newSite(t)
	tests := []struct {
		name, header, value string
		status              int
	}{
		{"cross-site fetch", "Sec-Fetch-Site", "cross-site", 403},
		{"same-site fetch", "Sec-Fetch-Site", "same-site", 403},
		{"foreign origin", "Origin", "https://evil.test", 403},
		{"null origin", "Origin", "null", 403},
		{"same-origin fetch", "Sec-Fetch-Site", "same-origin", 200},
		{"no browser at all", "X-Nothing", "", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(access.Producer, "POST", "/jobs", goodJob, func(r *http.Request) { r.Header.Set(tt.header, tt.value) })
			if got.status != tt.status {
				t.Errorf("status: got %d %s, want %d", got.status, got.body, tt.status)
			}
		})
	}
}

func TestAnswersCarryTheHeadersAgainstBrowsers(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/info", "/nothing"} {
		h := s.do(access.Admin, "GET", path, "").header
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"X-Frame-Options": "DENY", "Content-Type": "application/json; charset=utf-8"} {
			if got := h.Get(name); got != want {
				t.Errorf("GET %s: %s: got %q, want %q", path, name, got, want)
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("GET %s: Content-Security-Policy: got %q", path, csp)
		}
	}
}

func TestAPanicIsLoggedWithoutItsValue(t *testing.T) {
	s := newSite(t)
	got := s.do(access.Producer, "POST", "/jobs", `{"action":{"type":"note","text":"panic"}}`)
	if got.status != http.StatusInternalServerError {
		t.Fatalf("status: got %d, want 500", got.status)
	}
	log := s.log.String()
	if strings.Contains(got.body+log, "SECRET-IN-PANIC") {
		t.Errorf("the value of the panic is shown: %s %s", got.body, log)
	}
	if !strings.Contains(log, "POST /jobs") || !strings.Contains(log, "panic of type string") {
		t.Errorf("log: got %s, want the route and the type", log)
	}
}

func TestRedisGoneIsA503WithoutDetail(t *testing.T) {
	s := newSite(t)
	s.mustDo("GET", "/queue", "", nil)
	s.redis.Close()
	got := s.do(access.Admin, "POST", "/jobs", goodJob)
	if got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "127.0.0.1") {
		t.Errorf("got %d %s, want 503 that does not tell where Redis is", got.status, got.body)
	}
}

func TestReadiness(t *testing.T) {
	fine := Check{"fine", func(context.Context) (string, error) { return "very", nil }}
	bad := Check{"keyring", func(context.Context) (string, error) { return "", errors.New("secrets: sealed: no key") }}
	tests := []struct {
		name, path string
		checks     []Check
		status     int
		want, not  string
	}{
		{"alive without checks", "/livez", []Check{bad}, 200, "ok\n", "sealed"},
		{"ready", "/readyz", []Check{fine}, 200, "ok\n", "fine"},
		{"ready and verbose", "/readyz?verbose", []Check{fine}, 200, "[+] fine: very\nok\n", "[-]"},
		{"sealed", "/readyz", []Check{fine, bad}, 503, "[-] keyring: sealed: no key\nnot ready\n", "fine"},
		{"sealed and verbose", "/readyz?verbose", []Check{fine, bad}, 503, "[+] fine: very\n[-] keyring", "ok\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Ops(http.NotFoundHandler(), tt.checks).ServeHTTP(w, httptest.NewRequest("GET", tt.path, nil))
			if got := w.Body.String(); w.Code != tt.status || !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
				t.Errorf("got %d %q, want %d with %q without %q", w.Code, got, tt.status, tt.want, tt.not)
			}
		})
	}
}

func TestARevokedTokenIsRefusedAtOnce(t *testing.T) {
	s := newSite(t)
	if got := s.do(access.Reader, "GET", "/info", ""); got.status != http.StatusOK {
		t.Fatalf("before: got %d, want 200", got.status)
	}
	if err := s.tokens.Revoke(t.Context(), s.tokenID[access.Reader]); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
	if got := s.do(access.Reader, "GET", "/info", ""); got.status != http.StatusUnauthorized {
		t.Errorf("after: got %d, want 401", got.status)
	}
	var list []tokenView
	s.mustDo("GET", "/tokens", "", &list)
	if len(list) != 2 {
		t.Errorf("tokens: got %d, want the 2 others", len(list))
	}
}
