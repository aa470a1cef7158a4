package post

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestMain(m *testing.M) {
	// net/http writes to it what comes on a kept connection without a request,
	// as it stands; the command mutes it (cmd/sealpost/logger.go).
	log.SetOutput(io.Discard)
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

// Values of the secrets HOOK_TOKEN and HOOK_KEY. The key is the one of the
// standard's own example.
const (
	token = "Bearer canary-Token-0123456789abcdef"
	key   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// vault is a secret store.
type vault struct {
	mu     sync.Mutex
	values map[string]string // by key
	types  map[string]secrets.Type
	err    error
	opens  int
}

func newVault() *vault {
	return &vault{values: map[string]string{"HOOK_TOKEN": token, "HOOK_KEY": key}, types: map[string]secrets.Type{}}
}

// put adds a secret and returns the vault.
func (v *vault) put(name, value string) *vault {
	v.values[name] = value
	return v
}

func (v *vault) Lookup(_ context.Context, ref string) (secrets.Ref, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return secrets.Ref{}, v.err
	}
	if _, ok := v.values[ref]; !ok {
		return secrets.Ref{}, secrets.ErrNotFound
	}
	typ := secrets.TypeText
	if t, ok := v.types[ref]; ok {
		typ = t
	}
	return secrets.Ref{ID: "id-of-" + ref, Key: ref, Type: typ, Version: 3}, nil
}

func (v *vault) OpenText(_ context.Context, ref secrets.Ref, use secrets.Use) (secrets.Text, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if use.Actor == "" || use.Why == "" {
		return secrets.Text{}, errors.New("no use given for the audit")
	}
	v.opens++
	return secrets.Text{Ref: ref, Value: redact.New(v.values[ref.Key])}, nil
}

// world is a receiver with TLS and the action that sends to it.
type world struct {
	sink   *sink.HTTP
	vault  *vault
	action *Action
}

// newWorld starts a receiver that answers 200.
func newWorld(t testing.TB, timeout time.Duration) *world {
	t.Helper()
	s, err := sink.StartHTTP(sink.HTTPConfig{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w := &world{sink: s, vault: newVault()}
	w.action = newAction(t, w.vault, timeout, s.CAPEM())
	return w
}

// newAction returns an action that may reach loopback and trusts the authority.
func newAction(t testing.TB, v Vault, timeout time.Duration, caPEM string) *Action {
	t.Helper()
	guard, err := netguard.Parse("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(caPEM))
	a := New(Config{Vault: v, Guard: guard, Worker: "w1", Timeout: timeout, Roots: roots})
	t.Cleanup(func() { _ = a.Close() })
	return a
}

type fields map[string]any

// job returns a job; data is JSON or "".
func job(t testing.TB, data string, f fields) *queue.Job {
	t.Helper()
	action := fields{"type": "post"}
	for k, v := range f {
		action[k] = v
	}
	raw, err := json.Marshal(action)
	if err != nil {
		t.Fatal(err)
	}
	j := &queue.Job{JID: "1-0", ID: "order-1", Action: raw}
	if data != "" {
		j.Data = json.RawMessage(data)
	}
	return j
}

// do makes an attempt.
func do(ctx context.Context, t testing.TB, a *Action, j *queue.Job, attempt int) (queue.Reply, error) {
	t.Helper()
	work, err := a.Prepare(j)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return work.Do(ctx, queue.NewClaim(j, attempt, nil))
}

// outcome names the type of a job's error.
func outcome(err error) string {
	var (
		parked    *queue.ParkedError
		throttled *queue.ThrottledError
		dead      *queue.PermanentError
		after     *queue.RetryAfterError
	)
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &parked):
		return "parked"
	case errors.As(err, &throttled):
		return "throttled"
	case errors.As(err, &dead):
		return "dead"
	case errors.As(err, &after):
		return "retry after " + after.After.String()
	}
	return "retry"
}

// everything is all that an attempt leaves behind.
func everything(reply queue.Reply, err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v %#v", reply, reply)
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		fmt.Fprintf(&b, " %v %+v %#v", cause, cause, cause)
	}
	return b.String()
}
