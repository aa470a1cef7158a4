package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestThePanelAnswersItsPathsOnly(t *testing.T) {
	answers := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("By", name) })
	}
	both, alone := withPanel(answers("panel"), answers("api")), withPanel(nil, answers("api"))
	for path, want := range map[string]string{"/panel": "panel", "/panel/": "panel", "/panel/secrets": "panel",
		"/": "api", "/panels": "api", "/secrets": "api", "/x/panel/": "api"} {
		for handler, by := range map[string]string{"both": want, "alone": "api"} {
			w := httptest.NewRecorder()
			h := both
			if handler == "alone" {
				h = alone
			}
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if got := w.Header().Get("By"); got != by {
				t.Errorf("%s, %s: answered by %q, want %q", handler, path, got, by)
			}
		}
	}
}
