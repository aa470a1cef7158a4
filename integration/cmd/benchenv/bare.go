package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/redis/go-redis/v9"
)

// Keys of the answer that the bare handler gives, and of its headers in JSON.
const (
	bareKey   = "benchenv:answer"
	headerKey = "benchenv:header"
)

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
	text, err := c.Get(ctx, headerKey).Bytes()
	if err != nil {
		return fmt.Errorf("read the headers: %w", err)
	}
	var header http.Header
	if err := json.Unmarshal(text, &header); err != nil {
		return fmt.Errorf("decode the headers: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+memoryPath, func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		_, _ = w.Write(answer) // the client has gone: nobody to tell
	})
	mux.HandleFunc("GET "+environmentPath, func(w http.ResponseWriter, r *http.Request) {
		text, err := c.Get(r.Context(), bareKey).Bytes()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		maps.Copy(w.Header(), header)
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
