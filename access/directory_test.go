package access

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// bench is one process with its store, beside others on the same Redis.
type bench struct {
	rdb     *redis.Client
	keyring *secrets.Keyring
	store   *secrets.Store
	dir     *Directory
}

// realRedis starts a redis-server that ends with the test.
func realRedis(t testing.TB) *redis.Client {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed: make install-test-deps")
	}
	dir, err := os.MkdirTemp("", "access") // short: the path of a socket has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: 20, MinRetryBackoff: 5 * time.Millisecond})
	t.Cleanup(func() { _ = rdb.Close() })
	deadline := time.Now().Add(10 * time.Second)
	for rdb.Ping(context.Background()).Err() != nil {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	return rdb
}

// first makes a keyring and the first process.
func first(t testing.TB, rdb *redis.Client) *bench {
	t.Helper()
	kek, err := secrets.LoadKEK(secrets.GenerateMasterKey())
	if err != nil {
		t.Fatalf("LoadKEK: %v", err)
	}
	keyring, err := secrets.Init(t.Context(), rdb, kek)
	if err != nil {
		t.Fatalf("Init: %v", err)
	}
	return another(t, &bench{rdb: rdb, keyring: keyring})
}

// another makes one more process on the same Redis.
func another(t testing.TB, b *bench) *bench {
	n := &bench{rdb: b.rdb, keyring: b.keyring, store: secrets.NewStore(b.rdb, b.keyring, secrets.Options{})}
	t.Cleanup(n.store.Close)
	n.dir = NewDirectory(n.rdb, n.keyring, n.store)
	return n
}

func (b *bench) secret(t testing.TB, key, value string, tags ...string) secrets.Secret {
	t.Helper()
	s, _, err := b.store.Put(t.Context(), "test", secrets.PutRequest{Key: key, Value: redact.New(value), Tags: tagged(tags...)})
	if err != nil {
		t.Fatalf("Put %s: %v", key, err)
	}
	return s
}

func (b *bench) analysis(t testing.TB, c AnalysisChange) (Analysis, redact.String) {
	t.Helper()
	if c.Name == nil {
		c.Name = new("report")
	}
	a, token, err := b.dir.CreateAnalysis(t.Context(), "test", c)
	if err != nil {
		t.Fatalf("CreateAnalysis: %v", err)
	}
	return a, token
}

func (b *bench) policy(t testing.TB, target Tuple, permissions ...Permission) Policy {
	t.Helper()
	p, err := b.dir.CreatePolicy(t.Context(), "test", PolicyChange{Name: new("policy"), Permissions: append([]Permission{}, permissions...), Targets: []Tuple{target}})
	if err != nil {
		t.Fatalf("CreatePolicy: %v", err)
	}
	return p
}

// keys returns "KEY=value" of the environment, or the error.
func (b *bench) keys(t testing.TB, id string) string {
	t.Helper()
	env, _, err := b.dir.Environment(t.Context(), id, secrets.Use{Actor: "test", Why: "test"})
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, e := range env {
		out = append(out, e.Key+"="+e.Value.Reveal())
	}
	return strings.Join(out, " ")
}

func vars(pairs ...string) []Variable {
	out := []Variable{}
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Variable{Key: pairs[i], Value: redact.New(pairs[i+1])})
	}
	return out
}

var sameVariables = cmp.Comparer(func(a, b redact.String) bool { return a.Equal(b) })

func TestAnalysisIsStored(t *testing.T) {
	b := first(t, realRedis(t))
	made, token := b.analysis(t, AnalysisChange{
		Name: new("Räport"), Description: new("two\nlines"), RunOn: new("external"), Runtime: new("python"), Interval: new("1 minute"),
		FileName: new("a.py"), Variables: vars("B", "2", "A", ""), Tags: tagged("site", "oslo"),
	})
	for name, from := range map[string]*bench{"the same process": b, "another process": another(t, b)} {
		got, err := from.dir.Analysis(t.Context(), made.ID)
		if err != nil {
			t.Fatalf("%s: Analysis: %v", name, err)
		}
		if diff := cmp.Diff(made, got, sameVariables); diff != "" {
			t.Errorf("%s: analysis (-want +got):\n%s", name, diff)
		}
		if got, err := from.dir.Token(t.Context(), made.ID); err != nil || !got.Equal(token) {
			t.Errorf("%s: Token = %v, %v, want the one of the create", name, got, err)
		}
		if got, err := from.dir.VerifyToken(t.Context(), token); err != nil || got.ID != made.ID {
			t.Errorf("%s: VerifyToken = %s, %v, want %s", name, got.ID, err, made.ID)
		}
	}
	edited, err := b.dir.EditAnalysis(t.Context(), "test", made.ID, AnalysisChange{Active: new(false), Runtime: new("node"), Variables: []Variable{}})
	want := made
	want.Active, want.Variables, want.Version = false, []Variable{}, 2
	if diff := cmp.Diff(want, edited, sameVariables, cmpopts.IgnoreFields(Analysis{}, "Updated")); err != nil || diff != "" {
		t.Errorf("EditAnalysis: %v (-want +got):\n%s", err, diff)
	}
	list, err := b.dir.Analyses(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "Räport" || list[0].Variables != nil {
		t.Errorf("Analyses = %+v, %v", list, err)
	}
	if err := b.dir.DeleteAnalysis(t.Context(), "test", made.ID); err != nil {
		t.Fatalf("DeleteAnalysis: %v", err)
	}
	if _, err := b.dir.VerifyToken(t.Context(), token); !errors.Is(err, ErrNoAnalysisToken) {
		t.Errorf("the token of a deleted analysis: %v, want ErrNoAnalysisToken", err)
	}
	for what, err := range map[string]error{
		"Analysis":     second(b.dir.Analysis(t.Context(), made.ID)),
		"EditAnalysis": second(b.dir.EditAnalysis(t.Context(), "test", made.ID, AnalysisChange{})),
		"Delete":       b.dir.DeleteAnalysis(t.Context(), "test", made.ID),
		"RotateToken":  second(b.dir.RotateToken(t.Context(), "test", made.ID)),
		"Resolve":      second(b.dir.Resolve(t.Context(), made.ID)),
	} {
		if !errors.Is(err, ErrAnalysisNotFound) {
			t.Errorf("%s of a deleted analysis: %v, want ErrAnalysisNotFound", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTokenRotates(t *testing.T) {
	b := first(t, realRedis(t))
	a, before := b.analysis(t, AnalysisChange{})
	other := another(t, b)
	if _, err := other.dir.VerifyToken(t.Context(), before); err != nil {
		t.Fatalf("VerifyToken: %v", err)
	}
	if _, err := b.dir.EditAnalysis(t.Context(), "test", a.ID, AnalysisChange{RunOn: new("tago"), Name: new("n")}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.dir.VerifyToken(t.Context(), before); err != nil {
		t.Errorf("after an edit that keeps run_on the token is refused: %v", err)
	}
	if _, err := b.dir.EditAnalysis(t.Context(), "test", a.ID, AnalysisChange{RunOn: new("external")}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.dir.VerifyToken(t.Context(), before); !errors.Is(err, ErrNoAnalysisToken) {
		t.Errorf("after another run_on the old token gives %v, want ErrNoAnalysisToken", err)
	}
	now, err := b.dir.Token(t.Context(), a.ID)
	if err != nil || now.Equal(before) {
		t.Fatalf("Token = %v, %v, want a new one", now, err)
	}
	rotated, err := b.dir.RotateToken(t.Context(), "test", a.ID)
	if err != nil || rotated.Equal(now) || !strings.HasPrefix(rotated.Reveal(), "a-") {
		t.Fatalf("RotateToken = %v, %v, want a new one", rotated, err)
	}
	if _, err := other.dir.VerifyToken(t.Context(), rotated); err != nil {
		t.Errorf("the new token: %v", err)
	}
}

func TestWrongTokensAreRefused(t *testing.T) {
	b := first(t, realRedis(t))
	_, token := b.analysis(t, AnalysisChange{})
	_, other := b.analysis(t, AnalysisChange{})
	text, last := token.Reveal(), "0"
	if strings.HasSuffix(text, last) {
		last = "1"
	}
	for name, wrong := range map[string]string{
		"no text": "", "a beginning": text[:37], "one digit more": text + "0", "another last digit": text[:37] + last,
		"the rest of another token": text[:hintSize] + other.Reveal()[hintSize:], "upper case": strings.ToUpper(text),
		"without a-": text[2:], "a profile token": "p" + text[1:], "another uuid": newAnalysisToken().Reveal(),
	} {
		if _, err := b.dir.VerifyToken(t.Context(), redact.New(wrong)); !errors.Is(err, ErrNoAnalysisToken) {
			t.Errorf("%s: %v, want ErrNoAnalysisToken", name, err)
		}
	}
}

func TestPolicyIsStored(t *testing.T) {
	b := first(t, realRedis(t))
	p := b.policy(t, Tuple{"analysis"}, may(Deny, "access", "secret"), may(Allow, "access", "secrets", "what", "is"))
	got, err := another(t, b).dir.Policy(t.Context(), p.ID)
	if diff := cmp.Diff(p, got); err != nil || diff != "" {
		t.Errorf("Policy: %v (-want +got):\n%s", err, diff)
	}
	if got.Permissions[0].Effect != Allow || got.Permissions[1].Resource[0] != "secret" {
		t.Errorf("permissions = %+v, want allows first, and names as sent", got.Permissions)
	}
	edited, err := b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Active: new(false), Permissions: []Permission{}})
	if err != nil || edited.Active || len(edited.Permissions) != 0 || len(edited.Targets) != 1 || edited.Version != 2 {
		t.Errorf("EditPolicy = %+v, %v", edited, err)
	}
	if _, err := b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Targets: []Tuple{}}); !errors.Is(err, secrets.ErrInvalid) {
		t.Errorf("an empty list of targets: %v, want ErrInvalid", err)
	}
	guarded, err := b.dir.CreatePolicy(t.Context(), "test", PolicyChange{
		Name: new("a guarded one"), Permissions: []Permission{}, Targets: []Tuple{{"analysis"}}, Tags: tagged("_delete_protection_", "ask Ann"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.dir.DeletePolicy(t.Context(), "test", guarded.ID); !errors.Is(err, ErrProtected) || !strings.Contains(err.Error(), "ask Ann") {
		t.Errorf("delete of a protected policy: %v, want ErrProtected with the tag's value", err)
	}
	list, err := b.dir.Policies(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != guarded.ID {
		t.Errorf("Policies = %+v, %v, want two by name", list, err)
	}
	if err := b.dir.DeletePolicy(t.Context(), "test", p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.dir.Policy(t.Context(), p.ID); !errors.Is(err, ErrPolicyNotFound) {
		t.Errorf("a deleted policy: %v, want ErrPolicyNotFound", err)
	}
	if err := b.dir.DeletePolicy(t.Context(), "test", p.ID); !errors.Is(err, ErrPolicyNotFound) {
		t.Errorf("a second delete: %v, want ErrPolicyNotFound", err)
	}
}

func TestChangesAreAudited(t *testing.T) {
	b := first(t, realRedis(t))
	p := b.policy(t, Tuple{"analysis"})
	if err := b.dir.DeletePolicy(t.Context(), "admin x", p.ID); err != nil {
		t.Fatal(err)
	}
	got, err := b.store.Audit(t.Context(), 1)
	want := []secrets.AuditEntry{{Actor: "admin x", Op: "policy delete", Kind: "policy", ID: p.ID, Key: "policy", Version: 1}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(secrets.AuditEntry{}, "At")); err != nil || diff != "" {
		t.Errorf("audit: %v (-want +got):\n%s", err, diff)
	}
}

func TestWritersOfManyProcesses(t *testing.T) {
	b := first(t, realRedis(t))
	shared := b.policy(t, Tuple{"analysis"})
	const processes, writes = 4, 15
	var wg sync.WaitGroup
	for range processes {
		p := another(t, b)
		wg.Go(func() {
			for i := range writes {
				if _, err := p.dir.EditPolicy(t.Context(), "test", shared.ID, PolicyChange{Name: new(fmt.Sprint("n", i))}); err != nil {
					t.Errorf("EditPolicy: %v", err)
				}
				if _, _, err := p.dir.CreateAnalysis(t.Context(), "test", AnalysisChange{Name: new("a")}); err != nil {
					t.Errorf("CreateAnalysis: %v", err)
				}
			}
		})
	}
	wg.Wait()
	got, err := b.dir.Policy(t.Context(), shared.ID)
	if err != nil || got.Version != 1+processes*writes {
		t.Errorf("version = %d, %v, want %d: no write is lost", got.Version, err, 1+processes*writes)
	}
	if _, n, err := b.dir.Verify(t.Context()); err != nil || n != processes*writes {
		t.Errorf("Verify = %d analyses, %v, want %d", n, err, processes*writes)
	}
}

func TestMissedChangesAreReadWhole(t *testing.T) {
	b := first(t, realRedis(t))
	p := b.policy(t, Tuple{"analysis"})
	other := another(t, b)
	if _, err := other.dir.Policy(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	b.policy(t, Tuple{"analysis"})
	if err := b.rdb.Del(t.Context(), "sealpost:{control}:access:changed").Err(); err != nil {
		t.Fatal(err)
	}
	list, err := other.dir.Policies(t.Context())
	if err != nil || len(list) != 2 {
		t.Errorf("%d policies, %v, want both", len(list), err)
	}
}

func TestDirectoryOnTheRedisOfDevMode(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	b := first(t, rdb)
	a, _ := b.analysis(t, AnalysisChange{Variables: vars("OWN", "1")})
	b.secret(t, "ONE", "first value", "for", "reports")
	p := b.policy(t, Tuple{"analysis", "id", a.ID}, may(Allow, "access", "secrets", "tag.key", "for", "tag.value", "reports"))
	if got := b.keys(t, a.ID); got != "ONE=first value OWN=1" {
		t.Errorf("environment = %s", got)
	}
	if err := b.dir.DeletePolicy(t.Context(), "test", p.ID); err != nil {
		t.Fatal(err)
	}
	if got := b.keys(t, a.ID); got != "OWN=1" {
		t.Errorf("environment = %s", got)
	}
}

func TestLastRun(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	at := time.UnixMilli(1_700_000_000_123).UTC()
	if err := b.dir.MarkRun(t.Context(), a.ID, at); err != nil {
		t.Fatal(err)
	}
	got, err := b.dir.LastRuns(t.Context(), newRecordID(), a.ID)
	if diff := cmp.Diff([]time.Time{{}, at}, got); err != nil || diff != "" {
		t.Errorf("LastRuns: %v (-want +got):\n%s", err, diff)
	}
}
