package server

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// process is another process over the same Redis, with these actions.
func (s *site) process(list ...actions.Action) *site {
	s.t.Helper()
	n := &site{t: s.t, redis: s.redis, rdb: s.rdb, keyring: s.keyring, tokens: access.NewStore(s.rdb, s.keyring),
		jobs: s.jobs, metrics: s.metrics, log: &syncBuffer{}, token: s.token, tokenID: s.tokenID}
	n.store = secrets.NewStore(s.rdb, s.keyring, secrets.Options{})
	s.t.Cleanup(n.store.Close)
	n.directory = access.NewDirectory(s.rdb, s.keyring, n.store)
	registry := actions.NewRegistry(list...)
	n.definitions = actions.NewStore(s.rdb, s.keyring, n.store, registry.Catalog())
	h := New(Config{Queue: s.jobs, Actions: registry, Vault: n.vault, Log: slog.New(slog.NewJSONHandler(n.log, nil))})
	srv := httptest.NewServer(h)
	s.t.Cleanup(srv.Close)
	n.url = srv.URL
	return n
}

// grantSecret stores a secret and lets every analysis access it.
func (s *site) grantSecret(key, value string) (id string) {
	s.t.Helper()
	var made struct{ ID string }
	s.mustDo("POST", "/secrets", asJSON(s.t, map[string]string{"key": key, "value": value}), &made)
	s.mustDo("POST", "/am", asJSON(s.t, map[string]any{"name": "grants " + key, "targets": [][]string{{"analysis"}},
		"permissions": []map[string]any{{"effect": "allow", "action": []string{"access"}, "resource": []string{"secrets", "id", made.ID}}}}), nil)
	return made.ID
}

// setVariables replaces the variables of the site's analysis.
func (s *site) setVariables(pairs ...string) {
	s.t.Helper()
	list := []map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, map[string]string{"key": pairs[i], "value": pairs[i+1]})
	}
	s.mustDo("PUT", "/analysis/"+s.tokenID[analysisKind], asJSON(s.t, map[string]any{"variables": list}), nil)
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}

func (s *site) registry() *actions.Registry { return testRegistry() }

func (s *site) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(s.log, nil)) }
