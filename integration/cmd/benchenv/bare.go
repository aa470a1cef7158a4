package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/redis/go-redis/v9"
)

// bareKey holds the answer that the bare handler gives.
const bareKey = "benchenv:answer"

// Paths of the bare handler. That of the environment is the server's too.
const (
	environmentPath = "/environment" // one GET of Redis, and its text
	memoryPath      = "/memory"      // the same text, which the handler has already
)

// serveBare is the least that any HTTP service does, and the least that one on
// Redis does: no token, no policy, no key to open, no audit. It runs until ctx
// ends.
func serveBare(ctx context.Context, addr, redisAddr string) error {
	c := redis.NewClient(&redis.Options{Addr: redisAddr})
	defer c.Close()
	answer, err := c.Get(ctx, bareKey).Bytes()
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+memoryPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // the client has gone: nobody to tell
	})
	mux.HandleFunc("GET "+environmentPath, func(w http.ResponseWriter, r *http.Request) {
		text, err := c.Get(r.Context(), bareKey).Bytes()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // the client has gone: nobody to tell
	})
	srv := &http.Server{Addr: addr, Handler: mux}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
