package twilio

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
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
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

// Values of the secrets SID, TOKEN and TEMPLATE.
const (
	accountID  = "ACc0ffee0123456789abcdef0123456789"
	authToken  = "canary-token-0123456789abcdef0123"
	templateID = "HXdecade0123456789abcdef0123456789"
)

// vault is a secret store.
type vault struct {
	mu     sync.Mutex
	values map[string]string // by key
	typ    secrets.Type      // "" is text
	err    error
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
	if v.typ != "" {
		typ = v.typ
	}
	return secrets.Ref{ID: "id-of-" + ref, Key: ref, Type: typ, Version: 3}, nil
}

func (v *vault) OpenText(_ context.Context, ref secrets.Ref, use secrets.Use) (secrets.Text, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if use.Actor == "" || use.Why == "" {
		return secrets.Text{}, errors.New("no use given for the audit")
	}
	return secrets.Text{Ref: ref, Value: redact.New(v.values[ref.Key])}, nil
}

// world is a Twilio with TLS and the actions that send to it.
type world struct {
	sink          *sink.Twilio
	vault         *vault
	sms, whatsapp *Action
}

func newWorld(t testing.TB, timeout time.Duration) *world {
	t.Helper()
	s, err := sink.StartTwilio(sink.HTTPConfig{TLS: true}, accountID, authToken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	guard, err := netguard.Parse("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CAPEM()))
	w := &world{sink: s, vault: &vault{values: map[string]string{"SID": accountID, "TOKEN": authToken, "TEMPLATE": templateID}}}
	config := Config{Vault: w.vault, Guard: guard, Worker: "w1", URL: s.URL() + "/", Timeout: timeout, Roots: roots}
	w.sms, w.whatsapp = NewSMS(config), NewWhatsApp(config)
	t.Cleanup(func() { _ = w.sms.Close(); _ = w.whatsapp.Close() })
	return w
}

type fields map[string]any

// job returns a job with a good action of the kind, changed by f; nil takes a
// field away.
func job(t testing.TB, kind, data string, f fields) *queue.Job {
	t.Helper()
	action := fields{"type": kind, "twilio_sid": "SID", "twilio_token": "TOKEN", "from": "+15005550006", "to": "+15005551111", "message": "Text"}
	for k, v := range f {
		action[k] = v
		if v == nil {
			delete(action, k)
		}
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

// do makes an attempt; parts are of earlier ones.
func do(ctx context.Context, t testing.TB, a *Action, j *queue.Job, attempt int, parts ...queue.Part) (queue.Reply, error) {
	t.Helper()
	work, err := a.Prepare(j)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	c := queue.NewClaim(j, attempt, nil)
	c.Parts = parts
	return work.Do(ctx, c)
}

// outcome names the type of a job's error.
func outcome(err error) string {
	var (
		parked    *queue.ParkedError
		throttled *queue.ThrottledError
		dead      *queue.PermanentError
	)
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &parked):
		return "parked"
	case errors.As(err, &throttled):
		return "throttled " + throttled.After.String()
	case errors.As(err, &dead):
		return "dead"
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
