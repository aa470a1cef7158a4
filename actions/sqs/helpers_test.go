package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/actions"
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
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		code = 1
	}
	os.Exit(code)
}

const (
	secretID  = "0123456789abcdef01234567"
	secretKey = "QUEUE_PROD"
)

// vault is a secret store with one secret.
type vault struct {
	mu     sync.Mutex
	secret secrets.SQS
	err    error // of the next calls
	opens  int
}

func (v *vault) Lookup(_ context.Context, ref string) (secrets.Ref, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return secrets.Ref{}, v.err
	}
	if ref != secretID && ref != secretKey {
		return secrets.Ref{}, secrets.ErrNotFound
	}
	return v.secret.Ref, nil
}

func (v *vault) OpenSQS(_ context.Context, ref secrets.Ref, use secrets.Use) (secrets.SQS, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if use.Actor == "" || use.Why == "" {
		return secrets.SQS{}, errors.New("no use given for the audit")
	}
	v.opens++
	return v.secret, v.err
}

// put stores a new version.
func (v *vault) put(change func(*secrets.SQS)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.secret)
	v.secret.Ref.Version++
}

// world is a sink, a secret for it, and the action.
type world struct {
	sink   *sink.SQS
	vault  *vault
	action *Action
	queue  string
}

func start(t testing.TB, queueName string) *world {
	t.Helper()
	s, err := sink.StartSQS(sink.SQSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	id, key := s.Keys()
	w := &world{sink: s, queue: queueName, vault: &vault{secret: secrets.SQS{
		Ref:    secrets.Ref{ID: secretID, Key: secretKey, Type: secrets.TypeSQS, Version: 1},
		Region: s.Region(), QueueURL: s.CreateQueue(queueName), Endpoint: s.URL(),
		AccessKeyID: redact.New(id), SecretAccessKey: redact.New(key),
	}}}
	w.action = newAction(t, w.vault, "127.0.0.1")
	return w
}

func newAction(t testing.TB, v Vault, allow string) *Action {
	t.Helper()
	guard, err := netguard.Parse(allow)
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{Vault: v, Guard: guard, Worker: "w1", Timeout: 5 * time.Second})
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return a
}

// job makes a job whose jid is made of its id.
func job(id, action string, data ...string) *queue.Job {
	j := &queue.Job{ID: id, JID: id + "-0", Action: json.RawMessage(action)}
	if len(data) > 0 {
		j.Data = json.RawMessage("[" + strings.Join(data, ",") + "]")
	}
	return j
}

const plainAction = `{"type":"queue-sqs","sqs_secret":"QUEUE_PROD"}`

// do prepares and does a job once.
func (w *world) do(ctx context.Context, t testing.TB, j *queue.Job) (queue.Reply, error) {
	t.Helper()
	work, err := w.action.Prepare(j)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return work.Do(ctx, queue.NewClaim(j, 1, nil))
}

func (w *world) bodies() []string {
	var list []string
	for _, m := range w.sink.Messages(w.queue) {
		list = append(list, m.Body)
	}
	return list
}

// outcomeOf names what the queue does with an error.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, queue.ErrLeaseLost):
		return "lost"
	}
	if _, ok := errors.AsType[*queue.PermanentError](err); ok {
		return "dead"
	}
	if _, ok := errors.AsType[*queue.ParkedError](err); ok {
		return "parked"
	}
	if _, ok := errors.AsType[*queue.ThrottledError](err); ok {
		return "throttled"
	}
	if _, ok := errors.AsType[*queue.HandbackError](err); ok {
		return "handed back"
	}
	return "retry"
}

var _ interface {
	actions.Action
	actions.Tester
} = (*Action)(nil)

// withKeys is a change of a secret for [vault.put].
func withKeys(id, key, token string) func(*secrets.SQS) {
	return func(s *secrets.SQS) {
		s.AccessKeyID, s.SecretAccessKey, s.SessionToken = redact.New(id), redact.New(key), redact.New(token)
	}
}
