package server

import (
	"net/http"
	"sync"
)

// stoppable is the handler of an API, with a way to end what would go on for
// ever: streams, and requests that wait for a change.
type stoppable struct {
	http.Handler
	stop func()
}

// stoppable returns the API's handler with its stop.
func (a *API) stoppable(h http.Handler) http.Handler {
	return stoppable{Handler: h, stop: sync.OnceFunc(func() { close(a.stopping) })}
}

// stopWith has the server end streams when it is told to shut down.
func stopWith(srv *http.Server) {
	if h, ok := srv.Handler.(stoppable); ok {
		srv.RegisterOnShutdown(h.stop)
	}
}
