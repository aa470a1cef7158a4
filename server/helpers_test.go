package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/actions/builtin"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
)

// site is an API over a fresh store, with a token of each kind.
type site struct {
	t           *testing.T
	url         string
	redis       *miniredis.Miniredis
	store       *secrets.Store
	tokens      *access.Store
	directory   *access.Directory
	jobs        *queue.Client
	metrics     *Metrics
	log         *syncBuffer
	sealed      atomic.Bool
	token       map[access.Kind]string
	tokenID     map[access.Kind]string
	rdb         *redis.Client
	keyring     *secrets.Keyring
	definitions *actions.Store
}

// syncBuffer is a log that a test may read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newSite starts one. Its one action is of kind "note" and wants a text.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, redis: miniredis.RunT(t), log: &syncBuffer{}, token: map[access.Kind]string{}, tokenID: map[access.Kind]string{}}
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	kek, err := secrets.LoadKEK(secrets.GenerateMasterKey())
	if err != nil {
		t.Fatalf("LoadKEK: %v", err)
	}
	keyring, err := secrets.Init(t.Context(), rdb, kek)
	if err != nil {
		t.Fatalf("Init: %v", err)
	}
	s.rdb, s.keyring = rdb, keyring
	registry := testRegistry()
	s.metrics = NewMetrics("test", registry.Kinds())
	s.store = secrets.NewStore(rdb, keyring, secrets.Options{Observer: s.metrics.SecretOpened})
	t.Cleanup(s.store.Close)
	s.tokens = access.NewStore(rdb, keyring)
	s.directory = access.NewDirectory(rdb, keyring, s.store)
	s.definitions = actions.NewStore(rdb, keyring, s.store, registry.Catalog())
	for _, kind := range []access.Kind{access.Admin, access.Producer, access.Reader} {
		presented, token, err := s.tokens.Create(t.Context(), kind, "test-"+string(kind), access.TokenOptions{})
		if err != nil {
			t.Fatalf("Create token: %v", err)
		}
		s.token[kind], s.tokenID[kind] = presented.Reveal(), token.ID
	}
	made, token, err := s.directory.CreateAnalysis(t.Context(), "test", access.AnalysisChange{Name: new("test-analysis"), RunOn: new("external")})
	if err != nil {
		t.Fatalf("CreateAnalysis: %v", err)
	}
	s.token[analysisKind], s.tokenID[analysisKind] = token.Reveal(), made.ID
	s.jobs = queue.NewClient(rdb, queue.ClientOptions{Observer: queue.Observer{Enqueued: s.metrics.JobsEnqueued}})
	api := New(Config{Queue: s.jobs, Actions: registry, Vault: s.vault, Log: slog.New(slog.NewJSONHandler(s.log, nil))})
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *site) vault() (*Vault, error) {
	if s.sealed.Load() {
		return nil, fmt.Errorf("%w: wrong master key", secrets.ErrSealed)
	}
	return &Vault{Secrets: s.store, Tokens: s.tokens, Directory: s.directory, Definitions: s.definitions}, nil
}

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	body    string
	ok      bool            // status of the envelope
	result  json.RawMessage // of the envelope
	message string          // of the envelope
}

// do asks as a token of the kind, "" for none. A body is sent as JSON.
func (s *site) do(kind access.Kind, method, path, body string, change ...func(*http.Request)) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatalf("request: %v", err)
	}
	if kind != "" {
		req.Header.Set("token", s.token[kind])
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, f := range change {
		f(req)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		s.t.Fatalf("read answer: %v", err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: text.String()}
	var envelope struct {
		Status  *bool           `json:"status"`
		Result  json.RawMessage `json:"result"`
		Message string          `json:"message"`
	}
	if method == http.MethodHead || (path == "/openapi.json" && a.status == http.StatusOK) {
		return a
	}
	if err := json.Unmarshal(text.Bytes(), &envelope); err != nil || envelope.Status == nil {
		s.t.Fatalf("%s %s: no envelope in %q", method, path, text.String())
	}
	a.ok, a.result, a.message = *envelope.Status, envelope.Result, envelope.Message
	return a
}

// mustDo is do for an admin's request that must succeed; it decodes the result.
func (s *site) mustDo(method, path, body string, result any) {
	s.t.Helper()
	a := s.do(access.Admin, method, path, body)
	if a.status != http.StatusOK || !a.ok {
		s.t.Fatalf("%s %s: got %d %s, want 200", method, path, a.status, a.body)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(a.result, result); err != nil {
		s.t.Fatalf("%s %s: result %s: %v", method, path, a.result, err)
	}
}

// noteAction takes {"type":"note","text":".."} and does nothing.
type noteAction struct{}

func (noteAction) Kind() string { return "note" }
func (noteAction) Close() error { return nil }

// kindAction is an action of a real kind that does nothing: it checks no more
// than what its spec says.
type kindAction struct{ actions.Action }

func (k kindAction) Spec() actions.Spec { return k.Action.(actions.Described).Spec() }

func (k kindAction) Prepare(job *queue.Job) (queue.Work, error) {
	return kindWork{k.Kind()}, nil
}

type kindWork struct{ kind string }

func (w kindWork) Kind() string { return w.kind }
func (w kindWork) Lane() string { return w.kind }
func (w kindWork) Do(context.Context, *queue.Claim) (queue.Reply, error) {
	return queue.Reply{}, nil
}

// testRegistry knows all real kinds, and the kind "note".
func testRegistry() *actions.Registry {
	list := []actions.Action{noteAction{}}
	for _, a := range builtin.New(builtin.Deps{}) {
		list = append(list, kindAction{a})
	}
	return actions.NewRegistry(list...)
}

func (noteAction) Spec() actions.Spec {
	return actions.Spec{Kind: "note", Fields: []actions.Field{{Name: "text", Form: actions.TextForm, Need: true},
		{Name: "smtp_secret", Form: actions.SecretForm, Secret: secrets.TypeSMTP}}}
}

func (noteAction) SecretType() secrets.Type { return secrets.TypeSMTP }

func (noteAction) Test(context.Context, secrets.Ref) []actions.Step {
	return []actions.Step{{Name: "dial", OK: true}, {Name: "auth", Text: "refused"}}
}

func (noteAction) Prepare(job *queue.Job) (queue.Work, error) {
	var params struct {
		Type string `json:"type"`
		Text string `json:"text"`
		SMTP string `json:"smtp_secret"`
	}
	dec := json.NewDecoder(bytes.NewReader(job.Action))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&params); err != nil {
		return nil, queue.Permanent(errors.New("note: unknown field"))
	}
	if params.Text == "panic" {
		panic("SECRET-IN-PANIC")
	}
	return note{}, nil
}

type note struct{}

func (note) Kind() string { return "note" }
func (note) Lane() string { return "note" }
func (note) Do(context.Context, *queue.Claim) (queue.Reply, error) {
	return queue.Reply{Stage: "done", Certainty: queue.Accepted}, nil
}
