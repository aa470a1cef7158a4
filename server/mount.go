package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sealpost/sealpost/access"
)

// handler answers one request of a principal who may ask. Its result goes into
// the envelope; its error goes through the error table.
type handler func(a *API, r *http.Request, who access.Principal) (any, error)

// route is one row of the route table. All fields are given in each row, by
// position, so that a row without a scope or a limit does not compile.
type route struct {
	method  string
	pattern string        // of http.ServeMux, without the method
	scope   scope         // who may ask
	body    int64         // bytes of body at most
	timeout time.Duration // the context of the handler ends then
	handle  handler
}

// writeSlack is added to a route's timeout to write its answer.
const writeSlack = 15 * time.Second

// mount returns the handler of the whole table. Everything that no route may
// forget is done here: headers, cross-origin check, trailing slashes, panics,
// authentication, limits, the envelope.
func (a *API) mount(table []route) http.Handler {
	mux := http.NewServeMux()
	for _, row := range table {
		mux.Handle(row.method+" "+row.pattern, a.serve(row))
	}
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secureHeaders(w.Header())
		if err := origin.Check(r); err != nil {
			writeRefusal(w, http.StatusForbidden, "A browser on another site may not do this")
			return
		}
		r = withoutSlash(r)
		if r.URL.Path != path.Clean(r.URL.Path) {
			// ServeMux would redirect; clients of this API do not follow.
			writeRefusal(w, http.StatusNotFound, "Route Not Found")
			return
		}
		h, pattern := mux.Handler(r)
		switch {
		case pattern == "":
			a.unknownRoute(w, r, mux)
		case strings.Contains(pattern, "{"):
			mux.ServeHTTP(w, r) // finds it again, and what stands in the path
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// secure are headers for the browser that should not be here.
var secure = map[string][]string{ // :: canonical name → its only value, shared by all answers
	"X-Content-Type-Options":       {"nosniff"},
	"Cache-Control":                {"no-store"},
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
	"X-Frame-Options":              {"DENY"},
	"Referrer-Policy":              {"no-referrer"},
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
}

// secureHeaders sets them. Whoever changes one later sets it anew: the value is
// not theirs.
func secureHeaders(h http.Header) { maps.Copy(h, secure) }

// withoutSlash serves /secrets/ as /secrets: one public client asks for its
// lists with a slash, and none follows a redirect.
func withoutSlash(r *http.Request) *http.Request {
	if len(r.URL.Path) < 2 || !strings.HasSuffix(r.URL.Path, "/") {
		return r
	}
	u := *r.URL
	u.Path = strings.TrimSuffix(u.Path, "/")
	u.RawPath = strings.TrimSuffix(u.RawPath, "/")
	twin := *r // shallow: the body and the context are shared
	twin.URL = &u
	return &twin
}

// unknownRoute answers 404, or 405 with the methods that the path has.
func (a *API) unknownRoute(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		twin := *r
		twin.Method = method
		if _, pattern := mux.Handler(&twin); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		writeRefusal(w, http.StatusNotFound, "Route Not Found")
		return
	}
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	writeRefusal(w, http.StatusMethodNotAllowed, "Method Not Allowed; this path takes "+list)
}

// serve returns the handler of one row.
func (a *API) serve(row route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if row.pattern == ownPath && a.respondKnown(w, r, row) {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), row.timeout)
		defer cancel()
		r = r.WithContext(ctx)
		// The server's own write timeout is for short answers.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(row.timeout + writeSlack))
		r.Body = http.MaxBytesReader(w, r.Body, row.body)

		result, err := a.answer(row, r)
		if own, ok := result.(responder); ok && err == nil {
			own.respond(w, r)
			return
		}
		if err == nil {
			err = writeResult(w, result)
		}
		if err != nil {
			a.refuse(w, r, row, err)
		}
	})
}

// answer authenticates the request and runs the row's handler. A panic there
// becomes an error with its type and stack; the value may hold a secret.
func (a *API) answer(row route, r *http.Request) (result any, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panickedBy(v)
		}
	}()
	who, err := a.authenticate(r)
	if err != nil {
		return nil, err
	}
	if !row.scope.allows(who.Kind) && who.Kind == analysisKind {
		return nil, errDenied() // the text that clients know
	} else if !row.scope.allows(who.Kind) {
		return nil, refuse(http.StatusForbidden, "%s: this needs %s, and the token is of kind %s", denied, row.scope, who.Kind)
	}
	return row.handle(a, r, who)
}

// refuse writes the answer for err, and logs it when it is nobody's mistake.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, row route, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the client has gone
	}
	status, message, known := answerFor(err)
	if !known {
		attrs := []any{slog.String("route", row.method+" "+row.pattern), slog.Any("err", err)}
		if p, ok := errors.AsType[*panicked](err); ok {
			attrs = append(attrs, slog.String("stack", p.stack))
		}
		a.log.ErrorContext(r.Context(), "request failed", attrs...)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeRefusal(w, status, message)
}

// panicked is a panic of a handler, without its value.
type panicked struct{ kind, stack string }

func panickedBy(v any) error { return &panicked{kind: typeName(v), stack: string(debug.Stack())} }

// Error names the type of what was thrown, never its value.
func (e *panicked) Error() string { return "panic of type " + e.kind }
