package email

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
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
	if os.Getenv(sinkEnv) != "" {
		beSink()
		return
	}
	goleak.VerifyTestMain(m)
}

// password is the canary of all tests here.
const password = "canary-Passw0rd!"

// vault holds one login and some texts, and counts how often it was opened.
type vault struct {
	mu      sync.Mutex
	login   secrets.SMTP
	err     error
	opens   int
	texts   []secrets.Text
	textErr error
	keys    int // texts that were opened
}

func (v *vault) Lookup(_ context.Context, ref string) (secrets.Ref, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, text := range v.texts {
		if ref == text.Ref.ID || ref == text.Ref.Key {
			return text.Ref, nil
		}
	}
	if ref != v.login.Ref.ID && ref != v.login.Ref.Key {
		return secrets.Ref{}, secrets.ErrNotFound
	}
	return v.login.Ref, nil
}

func (v *vault) OpenText(_ context.Context, ref secrets.Ref, use secrets.Use) (secrets.Text, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys++
	if use.Actor == "" || use.Why == "" {
		return secrets.Text{}, fmt.Errorf("open without saying why: %+v", use)
	}
	for _, text := range v.texts {
		if ref == text.Ref {
			return text, v.textErr
		}
	}
	return secrets.Text{}, secrets.ErrNotFound
}

func (v *vault) OpenSMTP(_ context.Context, ref secrets.Ref, use secrets.Use) (secrets.SMTP, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.opens++
	if use.Actor == "" || use.Why == "" {
		return secrets.SMTP{}, fmt.Errorf("open without saying why: %+v", use)
	}
	return v.login, v.err
}

// change stores a new version.
func (v *vault) change(f func(*secrets.SMTP)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.login)
	v.login.Ref.Version++
}

func (v *vault) opened() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.opens
}

// vaultFor holds a secret for the server at address.
func vaultFor(t testing.TB, address, caPEM string) *vault {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return &vault{login: secrets.SMTP{
		Ref:    secrets.Ref{ID: "0123456789abcdef01234567", Key: "MAIL", Type: secrets.TypeSMTP, Version: 1},
		Server: host, Port: n, Username: "mailer@sender.test", Password: redact.New(password),
		TLS: "starttls", Auth: "auto", CAPEM: caPEM, MaxConnections: 4,
	}}
}

// startSink returns a sink and a vault with the login for it.
func startSink(t testing.TB, change func(*sink.SMTPConfig)) (*sink.SMTP, *vault) {
	t.Helper()
	cfg := sink.SMTPConfig{Username: "mailer@sender.test", Password: password}
	if change != nil {
		change(&cfg)
	}
	s, err := sink.StartSMTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, vaultFor(t, s.Addr(), s.CAPEM())
}

// action returns a sender that may reach this machine.
func action(t testing.TB, v Vault, timeout time.Duration) *Action {
	t.Helper()
	guard, err := netguard.Parse("127.0.0.0/8,::1")
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{Vault: v, Guard: guard, Worker: "test", Timeout: timeout})
	a.pool.far = time.Hour // whatever else the machine does; see distant
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// fields is an action object.
type fields map[string]any

// job returns a job with these fields beside the usual ones.
func job(t testing.TB, id string, more fields) *queue.Job {
	t.Helper()
	all := fields{"type": Kind, "smtp_secret": "MAIL", "to": "b@receiver.test", "subject": "Hello", "message": "Text"}
	for k, v := range more {
		if v == nil {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return &queue.Job{JID: "1-" + id, ID: id, Action: raw}
}

// do prepares and does a job once.
func do(t testing.TB, a *Action, j *queue.Job) (queue.Reply, error) {
	t.Helper()
	w, err := a.Prepare(j)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return w.Do(t.Context(), queue.NewClaim(j, 1, nil))
}

// outcome names what the queue does with an error.
func outcome(err error) string {
	switch err.(type) {
	case nil:
		return "done"
	case *queue.RetryAfterError:
		return "retry after"
	case *queue.ThrottledError:
		return "throttled"
	case *queue.HandbackError:
		return "handback"
	case *queue.ParkedError:
		return "parked"
	case *queue.PermanentError:
		return "dead"
	}
	return "retry"
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("not within 5 s: %s", what)
}
