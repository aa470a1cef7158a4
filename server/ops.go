package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// checkTimeout bounds each check of /readyz: probes time out after seconds.
const checkTimeout = 2 * time.Second

// Check is one condition for being ready. Run returns a short text for
// /readyz?verbose, and an error when this process should get no work.
type Check struct {
	Name string
	Run  func(ctx context.Context) (string, error)
}

// Ops returns the handler of the ops listener: /metrics, /livez (the process
// answers) and /readyz (it can do its work; ?verbose lists the checks). It asks
// for no token: bind it to an address that only probes and scrapers reach.
func Ops(metrics http.Handler, checks []Check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		text, ready := runChecks(r.Context(), checks, r.URL.Query().Has("verbose"))
		if ready {
			writeText(w, http.StatusOK, text)
			return
		}
		writeText(w, http.StatusServiceUnavailable, text)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secureHeaders(w.Header())
		mux.ServeHTTP(w, r)
	})
}

// runChecks runs all checks at the same time. A failed one is always shown;
// the others only when verbose.
func runChecks(ctx context.Context, checks []Check, verbose bool) (text string, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	lines := make([]string, len(checks))
	failed := make([]bool, len(checks))
	var wait sync.WaitGroup
	for i, check := range checks {
		wait.Go(func() {
			said, err := check.Run(ctx)
			if err != nil {
				lines[i], failed[i] = fmt.Sprintf("[-] %s: %s\n", check.Name, oneLine(ownText(err))), true
				return
			}
			lines[i] = fmt.Sprintf("[+] %s: %s\n", check.Name, said)
		})
	}
	wait.Wait()
	ready = true
	var b strings.Builder
	for i, line := range lines {
		if failed[i] {
			ready = false
		}
		if failed[i] || verbose {
			b.WriteString(line)
		}
	}
	if ready {
		b.WriteString("ok\n")
	} else {
		b.WriteString("not ready\n")
	}
	return b.String(), ready
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the prober has gone: nobody to tell
}
