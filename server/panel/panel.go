// Package panel is the admin panel: pages that a browser shows without any
// script. It keeps no state of its own but the sessions, which live sealed in
// Redis, so that any process of the site answers any request.
//
// routes.go is the table of its pages; page.go renders them and their errors;
// there is one file for each resource, and one for each of its forms.
package panel

import (
	"context"
	"embed"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"golang.org/x/time/rate"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

//go:embed templates static
var assets embed.FS

// Limits of a request. Numbers: ours.
const (
	maxBody    = 256 << 10        // bytes; a policy of 200 rows has some 60 KiB
	quick      = 15 * time.Second // a few round trips to Redis
	testTime   = time.Minute      // a dial, TLS and a login at a slow server
	writeSlack = 15 * time.Second // to write the answer after that
)

// Wrong tokens that are answered as such: 10 at once and then one a second, for
// the whole process. A right token always passes, so nobody is locked out.
const (
	wrongBurst     = 10
	wrongPerSecond = 1
)

// Vault is what needs the keyring: there is none while the store is sealed.
type Vault struct {
	Secrets   *secrets.Store
	Directory *access.Directory
	Tokens    *access.Store
	Sessions  *Sessions
}

// testers finds the action that can try secrets of a type.
type testers interface {
	Tester(t secrets.Type) (actions.Tester, bool)
}

// Config is what a panel needs. All fields are required.
type Config struct {
	Testers testers // an *actions.Registry
	// Vault returns the opened stores, or an error that is secrets.ErrSealed
	// and says what to do.
	Vault func() (*Vault, error)
	Log   *slog.Logger
}

// panel answers all requests below /panel/.
type panel struct {
	testers testers
	vault   func() (*Vault, error)
	log     *slog.Logger
	pages   pages
	wrong   *rate.Limiter
	mux     *http.ServeMux
	origin  *http.CrossOriginProtection
}

// New returns the handler of /panel and everything below it.
func New(cfg Config) http.Handler {
	p := &panel{testers: cfg.Testers, vault: cfg.Vault, log: cfg.Log, pages: loadPages(),
		wrong: rate.NewLimiter(wrongPerSecond, wrongBurst), mux: http.NewServeMux(), origin: http.NewCrossOriginProtection()}
	for _, row := range routes() {
		p.mux.Handle(row.method+" "+row.pattern, p.serve(row))
	}
	for _, name := range []string{"panel.css", "mark.svg"} {
		p.mux.Handle("GET /panel/static/"+name, http.HandlerFunc(static))
	}
	return p
}

// ServeHTTP answers one request, with the headers that no page may lack.
func (p *panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secureHeaders(w.Header())
	c := &call{panel: p, w: w, r: r}
	if err := p.origin.Check(r); err != nil {
		c.fail(refuse(http.StatusForbidden, "Another site sent this form", "Nothing was changed. Open the page here and try again."))
		return
	}
	if _, pattern := p.mux.Handler(r); pattern == "" {
		// Also for a method that the page does not have: a form never sends one.
		c.fail(refuse(http.StatusNotFound, "There is no such page", "The address may be misspelt, or what it showed was deleted."))
		return
	}
	p.mux.ServeHTTP(w, r)
}

// secureHeaders let a browser load our own style sheet and images, send forms
// to us, and nothing else: no script runs at all, whatever a page shows.
func secureHeaders(h http.Header) {
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// serve returns the handler of one row: limits, login, scope, errors.
func (p *panel) serve(row route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), row.timeout)
		defer cancel()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(row.timeout + writeSlack))
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		c := &call{panel: p, w: w, r: r}
		if err := c.run(row); err != nil {
			c.fail(err)
		}
	})
}

// run logs the caller in and shows the row's page. A panic there becomes an
// error with its stack; the value may hold a secret and is dropped.
func (c *call) run(row route) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{stack: string(debug.Stack())}
		}
	}()
	if c.vault, err = c.panel.vault(); err != nil {
		return err
	}
	if row.scope != everybody {
		if err := c.authenticate(); err != nil {
			return err
		}
	}
	if row.scope == admins && !c.Admin() {
		return refuse(http.StatusForbidden, "This token may only look", "Log in with an admin token to change anything.")
	}
	if c.r.Method == http.MethodPost {
		if err := c.r.ParseForm(); err != nil {
			return refuse(http.StatusBadRequest, "This form cannot be read", "It is broken or too long. Nothing was changed.")
		}
	}
	return row.show(c)
}

// static answers the style sheet and the images. They need no login.
func static(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300")
	http.ServeFileFS(w, r, assets, r.URL.Path[len("/panel/"):])
}

// panicked is a panic of a page, without its value.
type panicked struct{ stack string }

// Error does not say what was thrown: it may hold what must not be seen.
func (e *panicked) Error() string { return "panic in a page" }
