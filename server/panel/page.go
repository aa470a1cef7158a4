package panel

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/secrets"
)

// call is one request. The fields before who are there in every page.
type call struct {
	panel *panel
	w     http.ResponseWriter
	r     *http.Request
	vault *Vault           // nil while sealed
	who   access.Principal // zero without a login
}

// Admin reports whether the caller may change things. Templates ask.
func (c *call) Admin() bool { return c.who.Kind == access.Admin }

// actor is the caller's name in the audit stream.
func (c *call) actor() string { return string(c.who.Kind) + " " + c.who.ID }

// pages are the parsed templates by name.
type pages map[string]*template.Template

// pageNames are the files in templates, without layout.html and shared.html.
func pageNames() []string {
	return []string{"login", "message", "confirm", "secrets", "secret", "secret_form", "secret_tags",
		"analyses", "analysis", "analysis_form", "token", "policies", "policy", "policy_form", "explain"}
}

// loadPages parses the templates, which are part of the program: a mistake in
// one is a programmer's and panics at the start.
func loadPages() pages {
	funcs := template.FuncMap{"day": day, "stamp": stamp, "count": count, "inc": func(i int) int { return i + 1 }}
	layout := template.Must(template.New("layout").Funcs(funcs).ParseFS(assets, "templates/layout.html", "templates/shared.html"))
	all := pages{}
	for _, name := range pageNames() {
		all[name] = template.Must(template.Must(layout.Clone()).ParseFS(assets, "templates/"+name+".html"))
	}
	return all
}

// day and stamp write a time for people and for machines.
func day(t time.Time) string   { return t.UTC().Format("2006-01-02 15:04") }
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// count writes a number of things: "1 tag", "2 tags".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// view is what every template gets.
type view struct {
	Title string
	Nav   string // the part of the panel: "secrets", "analyses", "access" or ""
	Who   access.Principal
	Admin bool
	Done  string // what the caller did a moment ago
	Data  any
}

// render writes a page. It is built whole first, so that an error in a
// template is an error page and not half of one.
func (c *call) render(status int, page, title string, data any) error {
	v := view{Title: title, Who: c.who, Admin: c.Admin(), Data: data, Done: doneText(c.r.URL.Query().Get("done"))}
	if rest, ok := strings.CutPrefix(c.r.URL.Path, "/panel/"); ok {
		v.Nav, _, _ = strings.Cut(rest, "/")
	}
	var buf bytes.Buffer
	if err := c.panel.pages[page].ExecuteTemplate(&buf, "layout", v); err != nil {
		return fmt.Errorf("render %s: %w", page, err)
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	_, _ = buf.WriteTo(c.w) // the browser has gone
	return nil
}

// doneText is the sentence for a word in the address: a closed list, so that a
// link cannot put words into our mouth.
func doneText(word string) string {
	switch word {
	case "created":
		return "Created."
	case "saved":
		return "Saved."
	case "deleted":
		return "Deleted."
	case "staged":
		return "Stored beside the current version. Test it, then promote it."
	case "version":
		return "The new value is stored. Jobs that waited for it go on."
	}
	return ""
}

// redirect sends the browser to a page of ours by GET, with what was done.
func (c *call) redirect(to, done string) error {
	if done != "" {
		to += "?done=" + url.QueryEscape(done)
	}
	http.Redirect(c.w, c.r, to, http.StatusSeeOther)
	return nil
}

// confirmView asks before something that cannot be undone.
type confirmView struct {
	Title, Question, Text, Button, Back string
	Danger                              bool
	List                                []string // who is concerned
	ListTitle                           string
}

func (c *call) confirm(v confirmView) error { return c.render(http.StatusOK, "confirm", v.Title, v) }

// refusal is an error with its page.
type refusal struct {
	status int
	title  string
	text   string
}

// Error is the title of the page that says no.
func (e *refusal) Error() string { return e.title }

func refuse(status int, title, text string) error {
	return &refusal{status: status, title: title, text: text}
}

// fail shows the page for err, and logs it when it is nobody's mistake.
func (c *call) fail(err error) {
	if errors.Is(err, errLogin) {
		to := "/panel/login"
		if c.r.Method == http.MethodGet {
			to += "?next=" + url.QueryEscape(c.r.URL.RequestURI())
		}
		http.Redirect(c.w, c.r, to, http.StatusSeeOther)
		return
	}
	shown, known := refusalFor(err)
	if !known {
		attrs := []any{slog.String("page", c.r.Pattern), slog.Any("err", err)}
		if p, ok := errors.AsType[*panicked](err); ok {
			attrs = append(attrs, slog.String("stack", p.stack))
		}
		c.panel.log.ErrorContext(c.r.Context(), "panel page failed", attrs...)
	}
	if err := c.render(shown.status, "message", shown.title, shown.text); err != nil {
		http.Error(c.w, "internal error", http.StatusInternalServerError)
	}
}

// refusalFor returns the page for an error, and whether the error is one that
// a user can act on.
func refusalFor(err error) (*refusal, bool) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r, true
	}
	for _, row := range []struct {
		is   error
		page refusal
	}{
		{secrets.ErrNotFound, refusal{http.StatusNotFound, "There is no such secret", "It may have been deleted."}},
		{access.ErrAnalysisNotFound, refusal{http.StatusNotFound, "There is no such analysis", "It may have been deleted."}},
		{access.ErrPolicyNotFound, refusal{http.StatusNotFound, "There is no such policy", "It may have been deleted."}},
		{access.ErrProtected, refusal{http.StatusConflict, "Protected from deletion", "One of its tags forbids it. Take the tag away first."}},
		{secrets.ErrNoVersion, refusal{http.StatusNotFound, "There is no such version", "It may have been promoted or discarded, or kept for long enough."}},
		{secrets.ErrConflict, refusal{http.StatusConflict, "Somebody else changed it in between", "Nothing was changed by you. Open the page again and look."}},
		{secrets.ErrSealBroken, refusal{http.StatusConflict, "A record was changed behind our back",
			"What is stored in Redis does not verify, so it is not shown. Run sealpost doctor and read the log."}},
	} {
		if errors.Is(err, row.is) {
			return &row.page, true
		}
	}
	if errors.Is(err, secrets.ErrSealed) {
		return &refusal{http.StatusServiceUnavailable, "Sealed", plain(err, secrets.ErrSealed)}, true
	}
	return &refusal{http.StatusInternalServerError, "This did not work", "The reason is in the log of the server. Try again."}, false
}

// plain is the text of err after that of the sentinel.
func plain(err, sentinel error) string {
	text := err.Error()
	if _, rest, ok := strings.Cut(text, sentinel.Error()+": "); ok {
		text = rest
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
