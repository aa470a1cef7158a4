package panel

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/access"
)

func TestLogin(t *testing.T) {
	s := newSite(t)
	for _, row := range []struct {
		name, token string
		status      int
		text        string
	}{
		{"an admin token opens the panel", s.token[access.Admin], http.StatusSeeOther, ""},
		{"a reader token does", s.token[access.Reader], http.StatusSeeOther, ""},
		{"with white space around it", " " + s.token[access.Admin] + "\n", http.StatusSeeOther, ""},
		{"a producer token is refused", s.token[access.Producer], http.StatusForbidden, "needs an admin or reader token"},
		{"a wrong token is refused", s.token[access.Admin][:60] + "x", http.StatusUnauthorized, "not good"},
		{"no token is refused", "", http.StatusUnauthorized, "not good"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := s.browser("").post("/panel/login", "token", row.token)
			if got.status != row.status {
				t.Errorf("got %d, want %d", got.status, row.status)
			}
			got.has(t, row.text)
			if cookie := got.header.Get("Set-Cookie"); (cookie != "") != (row.status == http.StatusSeeOther) {
				t.Errorf("cookie is %q after %d", cookie, got.status)
			}
			if row.token != "" {
				got.lacks(t, strings.TrimSpace(row.token))
			}
		})
	}
}

func TestWrongTokensAreSlowedDownAndRightOnesAreNot(t *testing.T) {
	s := newSite(t)
	status := 0
	for range wrongBurst + 5 {
		status = s.browser("").post("/panel/login", "token", "wrong").status
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("after many wrong tokens: got %d, want 429", status)
	}
	s.browser(access.Admin) // fails the test if it does not get in
}

func TestTheCookieIsStrict(t *testing.T) {
	s := newSite(t)
	plain := s.browser("").post("/panel/login", "token", s.token[access.Admin]).header.Get("Set-Cookie")
	for _, want := range []string{plainCookie + "=", "HttpOnly", "SameSite=Strict", "Max-Age=28800", "Path=/"} {
		if !strings.Contains(plain, want) {
			t.Errorf("cookie %q lacks %q", plain, want)
		}
	}
	if strings.Contains(plain, "Secure") || strings.Contains(plain, s.token[access.Admin]) {
		t.Errorf("cookie over http is %q: it must be neither Secure nor the token", plain)
	}
	srv := httptest.NewTLSServer(s.handler())
	defer srv.Close()
	s.url = srv.URL
	b := s.browser("")
	b.Transport = srv.Client().Transport
	over := b.post("/panel/login", "token", s.token[access.Admin]).header.Get("Set-Cookie")
	if !strings.HasPrefix(over, "__Host-") || !strings.Contains(over, "; Secure") || !strings.Contains(over, "Path=/;") {
		t.Errorf("cookie over TLS is %q, want __Host-, Secure and Path=/", over)
	}
	if got := b.get("/panel/secrets"); got.status != http.StatusOK {
		t.Errorf("page over TLS: got %d, want 200", got.status)
	}
}

func TestASessionEnds(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(s *site, b *browser)
	}{
		{"when its token is revoked", func(s *site, _ *browser) {
			if err := s.vault.Tokens.Revoke(s.t.Context(), s.id[access.Admin]); err != nil {
				s.t.Fatalf("revoke: %v", err)
			}
		}},
		{"when its browser logs out", func(_ *site, b *browser) { b.must(b.post("/panel/logout")) }},
		{"after eight hours, in Redis", func(s *site, _ *browser) { s.redis.FastForward(SessionLife + time.Second) }},
		{"after eight hours, even if Redis keeps it", func(s *site, _ *browser) {
			s.vault.Sessions.now = func() time.Time { return time.Now().Add(SessionLife + time.Second) }
		}},
		{"when its record is changed in Redis", func(s *site, _ *browser) {
			for _, key := range s.redis.Keys() {
				if strings.Contains(key, ":session:") {
					text, err := s.redis.Get(key)
					if err != nil {
						s.t.Fatalf("read session: %v", err)
					}
					_ = s.redis.Set(key, text[:len(text)-1]+string(text[len(text)-1]^1))
				}
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			b := s.browser(access.Admin)
			if got := b.get("/panel/secrets"); got.status != http.StatusOK {
				t.Fatalf("before: got %d, want 200", got.status)
			}
			row.end(s, b)
			if got := b.get("/panel/secrets"); got.status != http.StatusSeeOther {
				t.Errorf("after: got %d, want 303 to the login", got.status)
			}
		})
	}
}

func TestASessionCannotBeMovedToAnotherCookie(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	admin, reader := s.browser(access.Admin), s.browser(access.Reader)
	var keys []string
	for _, key := range s.redis.Keys() {
		if strings.Contains(key, ":session:") {
			keys = append(keys, key)
		}
	}
	if len(keys) != 2 {
		t.Fatalf("sessions in Redis: got %d, want 2", len(keys))
	}
	a, _ := s.redis.Get(keys[0])
	b, _ := s.redis.Get(keys[1])
	_ = s.redis.Set(keys[0], b)
	_ = s.redis.Set(keys[1], a)
	for name, got := range map[string]page{"admin": admin.get("/panel/secrets"), "reader": reader.get("/panel/secrets")} {
		if got.status != http.StatusSeeOther {
			t.Errorf("%s with the other's record: got %d, want 303", name, got.status)
		}
	}
	for _, cookie := range []string{"", "x", strings.Repeat("A", 43)} {
		if _, err := s.vault.Sessions.token(ctx, cookie); err != errNoSession {
			t.Errorf("cookie %q: got %v, want errNoSession", cookie, err)
		}
	}
}

func TestASessionInRedisHoldsNeitherTokenNorCookie(t *testing.T) {
	s := newSite(t)
	b := s.browser("")
	cookie := b.post("/panel/login", "token", s.token[access.Admin]).header.Get("Set-Cookie")
	_, value, _ := strings.Cut(strings.Split(cookie, ";")[0], "=")
	dump := s.redis.Dump()
	for name, text := range map[string]string{"token": s.token[access.Admin], "cookie": value} {
		if strings.Contains(dump, text) {
			t.Errorf("Redis holds the %s", name)
		}
	}
}

func TestLocalPath(t *testing.T) {
	for _, row := range []struct{ next, want string }{
		{"/panel/analyses?page=2", "/panel/analyses?page=2"},
		{"/panel/access/explain?secret=A", "/panel/access/explain?secret=A"},
		{"", "/panel/secrets"},
		{"https://evil.test/panel/x", "/panel/secrets"},
		{"//evil.test/panel/x", "/panel/secrets"},
		{`/\evil.test/panel/`, "/panel/secrets"},
		{`/panel/\..\..\x`, "/panel/secrets"},
		{"/panel/../secrets", "/panel/secrets"},
		{"/panel/logout", "/panel/secrets"},
		{"/panel/login", "/panel/secrets"},
		{"/environment", "/panel/secrets"},
		{"javascript:alert(1)", "/panel/secrets"},
	} {
		if got := localPath(row.next); got != row.want {
			t.Errorf("localPath(%q) = %q, want %q", row.next, got, row.want)
		}
	}
}

func TestALoginLeadsBackToThePage(t *testing.T) {
	s := newSite(t)
	b := s.browser("")
	got := b.get("/panel/analyses?page=1")
	if want := "/panel/login?next=%2Fpanel%2Fanalyses%3Fpage%3D1"; got.to() != want {
		t.Errorf("redirected to %q, want %q", got.to(), want)
	}
	b.get(got.to()).has(t, `value="/panel/analyses?page=1"`)
	if got := b.post("/panel/login", "token", s.token[access.Reader], "next", "/panel/analyses?page=1").to(); got != "/panel/analyses?page=1" {
		t.Errorf("after the login: redirected to %q", got)
	}
}

func TestASessionIsGoodInEveryProcess(t *testing.T) {
	s := newSite(t)
	b := s.browser(access.Admin)
	old := *s.vault.Sessions
	s.vault.Sessions = NewSessions(old.rdb, old.keyring)
	other := httptest.NewServer(s.handler())
	defer other.Close()
	s.url = other.URL // the same host, so the browser sends its cookie
	if got := b.get("/panel/secrets"); got.status != http.StatusOK {
		t.Errorf("page of another process: got %d, want 200", got.status)
	}
}
