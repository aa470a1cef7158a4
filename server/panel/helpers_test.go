package panel

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// site is a panel over a fresh store, with a token of each kind.
type site struct {
	t      *testing.T
	url    string
	redis  *miniredis.Miniredis
	vault  *Vault
	log    *logBuffer
	token  map[access.Kind]string
	id     map[access.Kind]string // of the token
	sealed atomic.Bool
	steps  []actions.Step // of the tester
}

// logBuffer is a log that a test may read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, redis: miniredis.RunT(t), log: &logBuffer{}, token: map[access.Kind]string{}, id: map[access.Kind]string{},
		steps: []actions.Step{{Name: "dial", OK: true}, {Name: "auth", Text: "535 refused"}}}
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
	store := secrets.NewStore(rdb, keyring, secrets.Options{})
	t.Cleanup(store.Close)
	s.vault = &Vault{Secrets: store, Directory: access.NewDirectory(rdb, keyring, store),
		Tokens: access.NewStore(rdb, keyring), Sessions: NewSessions(rdb, keyring)}
	for _, kind := range []access.Kind{access.Admin, access.Producer, access.Reader} {
		text, token, err := s.vault.Tokens.Create(t.Context(), kind, "my-"+string(kind), access.TokenOptions{})
		if err != nil {
			t.Fatalf("Create token: %v", err)
		}
		s.token[kind], s.id[kind] = text.Reveal(), token.ID
	}
	srv := httptest.NewServer(s.handler())
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *site) handler() http.Handler {
	return New(Config{Testers: s, Log: slog.New(slog.NewJSONHandler(s.log, nil)), Vault: func() (*Vault, error) {
		if s.sealed.Load() {
			return nil, fmt.Errorf("%w: the master key is another one", secrets.ErrSealed)
		}
		return s.vault, nil
	}})
}

// Tester makes the site the registry: it tries secrets of type smtp.
func (s *site) Tester(t secrets.Type) (actions.Tester, bool) { return s, t == secrets.TypeSMTP }

// SecretType and Test make it the tester.
func (s *site) SecretType() secrets.Type                         { return secrets.TypeSMTP }
func (s *site) Test(context.Context, secrets.Ref) []actions.Step { return s.steps }

// browser keeps cookies and follows nothing.
type browser struct {
	s *site
	http.Client
}

// browser returns one that is logged in with a token of the kind, or not at
// all for "".
func (s *site) browser(kind access.Kind) *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatalf("jar: %v", err)
	}
	b := &browser{s: s, Client: http.Client{Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if kind != "" {
		if got := b.post("/panel/login", "token", s.token[kind]); got.status != http.StatusSeeOther {
			s.t.Fatalf("login as %s: got %d, want 303", kind, got.status)
		}
	}
	return b
}

// page is what came back.
type page struct {
	status int
	header http.Header
	body   string
}

func (p page) to() string { return p.header.Get("Location") }

// has fails the test unless the page shows each text.
func (p page) has(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			t.Errorf("page lacks %q:\n%s", text, p.body)
		}
	}
}

// lacks fails the test if the page holds any of the texts.
func (p page) lacks(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(p.body, text) {
			t.Errorf("page has %q:\n%s", text, p.body)
		}
	}
}

func (b *browser) do(req *http.Request) page {
	b.s.t.Helper()
	resp, err := b.Do(req)
	if err != nil {
		b.s.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.s.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return page{resp.StatusCode, resp.Header, string(text)}
}

func (b *browser) get(path string) page {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodGet, b.s.url+path, nil)
	if err != nil {
		b.s.t.Fatalf("request: %v", err)
	}
	return b.do(req)
}

// post sends a form, names and values in turn, as a browser does.
func (b *browser) post(path string, fields ...string) page {
	b.s.t.Helper()
	return b.do(b.form(path, fields...))
}

func (b *browser) form(path string, fields ...string) *http.Request {
	b.s.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodPost, b.s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.s.t.Fatalf("request: %v", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Origin", b.s.url)
	return req
}

// must fails the test unless a form was taken, and returns the page it leads to.
func (b *browser) must(p page) page {
	b.s.t.Helper()
	if p.status != http.StatusSeeOther {
		b.s.t.Fatalf("form: got %d, want 303:\n%s", p.status, p.body)
	}
	return b.get(p.to())
}

// secret stores a text secret with the tag scope=mail.
func (s *site) secret(key, value string) secrets.Secret {
	s.t.Helper()
	made, err := s.vault.Secrets.Create(s.t.Context(), "test", secrets.PutRequest{Key: key, Value: redact.New(value),
		Tags: []secrets.Tag{{Key: "scope", Value: "mail"}}})
	if err != nil {
		s.t.Fatalf("create secret: %v", err)
	}
	return made
}

// analysis stores an analysis with the tag team=red and a variable.
func (s *site) analysis(name string) access.Analysis {
	s.t.Helper()
	made, _, err := s.vault.Directory.CreateAnalysis(s.t.Context(), "test", access.AnalysisChange{Name: &name,
		Tags:      []secrets.Tag{{Key: "team", Value: "red"}},
		Variables: []access.Variable{{Key: "OWN_KEY", Value: redact.New("own-value-1")}}})
	if err != nil {
		s.t.Fatalf("create analysis: %v", err)
	}
	return made
}

// policy lets analyses with team=red access secrets with scope=mail.
func (s *site) policy(name string, effect access.Effect) access.Policy {
	s.t.Helper()
	made, err := s.vault.Directory.CreatePolicy(s.t.Context(), "test", access.PolicyChange{Name: &name,
		Targets: []access.Tuple{{"analysis", "tag.key", "team", "tag.value", "red"}},
		Permissions: []access.Permission{{Effect: effect, Action: []string{"access"},
			Resource: access.Tuple{"secrets", "tag.key", "scope", "tag.value", "mail"}}}})
	if err != nil {
		s.t.Fatalf("create policy: %v", err)
	}
	return made
}

var (
	markup = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// text is what a person reads of the page, with single spaces.
func (p page) text() string {
	return spaces.ReplaceAllString(markup.ReplaceAllString(p.body, " "), " ")
}

// secretWith stores a secret of type smtp or sqs with the tag text=value.
func (s *site) secretWith(kind, tag string) string {
	s.t.Helper()
	value := `{"smtp_server":"mail.test","username":"user-name","password":"pass-word"}`
	if kind == "sqs" {
		value = `{"aws_region":"eu-west-1","queue_url":"https://sqs.eu-west-1.amazonaws.com/123456789012/q","access_key_id":"AKIDAKID","secret_access_key":"very-secret"}`
	}
	made, _, err := s.vault.Secrets.Put(s.t.Context(), "test", secrets.PutRequest{Key: "OF_" + kind, Value: redact.New(value),
		Tags: []secrets.Tag{{Key: "text", Value: tag}}})
	if err != nil {
		s.t.Fatalf("put secret: %v", err)
	}
	return made.ID
}

// steps are those of a test in which the other side said text.
func steps(text string) []actions.Step {
	return []actions.Step{{Name: text, OK: true, Text: text}, {Name: "auth", Text: text}}
}

// panics is a registry whose testers panic.
type panics struct{}

// Tester panics.
func (panics) Tester(secrets.Type) (actions.Tester, bool) { panic("SECRET-IN-PANIC") }
