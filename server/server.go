// Package server is the HTTP side of Sealpost: the API that producers and
// operators use, and the ops listener for probes and metrics.
//
// routes.go is the table of all routes; mount.go does for each row what none
// may forget; errors.go maps errors to answers once. There is one file for
// each resource. The API holds no state of its own.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// Limits of a connection. Numbers: ours; headers hold one token and little else.
const (
	maxHeader         = 16 << 10 // bytes
	readHeaderTimeout = 5 * time.Second
	readTimeout       = time.Minute // for the whole request with its body
	idleTimeout       = 2 * time.Minute
)

// Vault is what needs the keyring: there is none while the store is sealed.
type Vault struct {
	Secrets     *secrets.Store
	Tokens      *access.Store
	Directory   *access.Directory
	Definitions *actions.Store
}

// Config is what an API needs. All fields but Panel are required.
type Config struct {
	Queue   *queue.Client
	Actions *actions.Registry
	// Vault returns the opened store, or an error that is secrets.ErrSealed and
	// says what to do.
	Vault func() (*Vault, error)
	Log   *slog.Logger
	Panel http.Handler // answers /panel and below; nil: there is none
}

// API answers the routes of the API listener.
type API struct {
	queue   *queue.Client
	actions *actions.Registry
	vault   func() (*Vault, error)
	log     *slog.Logger
	failed  *failures

	stopping chan struct{} // closed when the listener shuts down
	direct   *turns        // of requests that send with a credential of their own
}

// New returns the API's handler.
func New(cfg Config) http.Handler {
	a := &API{queue: cfg.Queue, actions: cfg.Actions, vault: cfg.Vault, log: cfg.Log, failed: newFailures(time.Now), stopping: make(chan struct{}), direct: newTurns()}
	return a.stoppable(withPanel(cfg.Panel, a.mount(routes())))
}

// Serve answers on ln until ctx ends, and then lets running requests go on for
// at most grace. It closes ln.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, grace time.Duration) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      readTimeout, // routes set their own
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// What net/http would log is about broken clients and quotes them.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	stopWith(srv)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // long polls: their clients ask again
	}
	<-ended
	if err != nil {
		return fmt.Errorf("close %s: %w", ln.Addr(), err)
	}
	return nil
}
