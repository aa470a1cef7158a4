package server

import (
	"net/http"
	"strings"
)

// withPanel answers /panel and what is below it by the panel, if there is one,
// and all else by the API. The panel sets its own headers: it has to let a
// browser load a style sheet and send forms, and the API does not.
func withPanel(panel, api http.Handler) http.Handler {
	if panel == nil {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panel" || strings.HasPrefix(r.URL.Path, "/panel/") {
			panel.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}
