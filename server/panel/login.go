package panel

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets/redact"
)

// Names of the cookie. A browser takes the first only over TLS, for the whole
// host and from the host itself; it would refuse it from http on loopback.
const (
	secureCookie = "__Host-sealpost"
	plainCookie  = "sealpost_panel"
)

// errLogin says that the caller has to log in first.
var errLogin = errors.New("panel: no login")

// authenticate finds out who the caller is, by the cookie and the token behind
// it. Error errLogin.
func (c *call) authenticate() error {
	cookie, err := c.r.Cookie(c.cookieName())
	if err != nil || cookie.Value == "" || len(cookie.Value) > 128 {
		return errLogin
	}
	token, err := c.vault.Sessions.token(c.r.Context(), cookie.Value)
	if errors.Is(err, errNoSession) {
		return errLogin
	}
	if err != nil {
		return err
	}
	who, err := c.vault.Tokens.Verify(c.r.Context(), token.Reveal())
	if errors.Is(err, access.ErrUnauthorized) {
		return errLogin // revoked or expired since
	}
	if err != nil {
		return err
	}
	c.who = who
	return nil
}

func (c *call) cookieName() string {
	if c.r.TLS != nil {
		return secureCookie
	}
	return plainCookie
}

// setCookie stores the cookie in the browser, or removes it when value is "".
func (c *call) setCookie(value string) {
	cookie := &http.Cookie{Name: c.cookieName(), Value: value, Path: "/", HttpOnly: true,
		Secure: c.r.TLS != nil, SameSite: http.SameSiteStrictMode, MaxAge: int(SessionLife.Seconds())}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(c.w, cookie)
}

// loginView is what the login page shows.
type loginView struct {
	Next    string // where to go then
	Problem string
	InClear bool // the token would cross a network without TLS
}

func (c *call) home() error { return c.redirect("/panel/secrets", "") }

func (c *call) loginPage() error {
	return c.showLogin(http.StatusOK, c.r.URL.Query().Get("next"), "")
}

func (c *call) showLogin(status int, next, problem string) error {
	return c.render(status, "login", "Log in", loginView{Next: localPath(next), Problem: problem, InClear: c.inClear()})
}

// inClear reports whether the other end is not on this machine and speaks no
// TLS. A proxy on another machine may do so for the browser; we cannot know.
func (c *call) inClear() bool {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil || c.r.TLS != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && !addr.IsLoopback()
}

// login exchanges a token for a cookie. A token that is not good is answered
// the same whatever is wrong with it.
func (c *call) login() error {
	token := strings.TrimSpace(c.r.PostForm.Get("token"))
	next := localPath(c.r.PostForm.Get("next"))
	who, err := c.vault.Tokens.Verify(c.r.Context(), token)
	if errors.Is(err, access.ErrUnauthorized) {
		if !c.panel.wrong.Allow() {
			c.w.Header().Set("Retry-After", "1")
			return c.showLogin(http.StatusTooManyRequests, next, "Too many wrong tokens. Wait a second and try again.")
		}
		return c.showLogin(http.StatusUnauthorized, next, "This token is not good. It may be misspelt, expired or revoked.")
	}
	if err != nil {
		return err
	}
	if who.Kind != access.Admin && who.Kind != access.Reader {
		return c.showLogin(http.StatusForbidden, next, "The panel needs an admin or reader token; this one is of kind "+string(who.Kind)+".")
	}
	cookie, err := c.vault.Sessions.open(c.r.Context(), redact.New(token))
	if err != nil {
		return err
	}
	c.setCookie(cookie)
	return c.redirect(next, "")
}

func (c *call) logoutPage() error {
	return c.confirm(confirmView{Title: "Log out", Question: "End this session?", Button: "Log out",
		Text: "The token stays good; this browser forgets it.", Back: "/panel/secrets"})
}

func (c *call) logout() error {
	if cookie, err := c.r.Cookie(c.cookieName()); err == nil {
		if err := c.vault.Sessions.end(c.r.Context(), cookie.Value); err != nil {
			return err
		}
	}
	c.setCookie("")
	return c.redirect("/panel/login", "")
}

// localPath returns next if it is a page of the panel, else the first page: a
// link must not lead a fresh login to another site.
func localPath(next string) string {
	const first = "/panel/secrets"
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.Contains(next, "\\") ||
		!strings.HasPrefix(u.Path, "/panel/") || path.Clean(u.Path) != u.Path || u.Path == "/panel/login" || u.Path == "/panel/logout" {
		return first
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}
