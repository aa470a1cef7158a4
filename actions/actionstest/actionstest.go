// Package actionstest has the tests that every action must pass.
package actionstest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
)

// Fixture is an action with a peer that it sends to.
type Fixture struct {
	Action actions.Action
	Job    *queue.Job // one that the peer takes
	// Secrets are the values that the action uses; none may show anywhere.
	Secrets []string
	// NoSecret says that the job names no secret, so that its reply must name
	// none either. Secrets are then what comes to the action by another way.
	NoSecret bool
	// Keys returns the idempotency keys of what the peer has taken, in order, one
	// for each delivery: the Message-ID, the deduplication id.
	Keys func() []string
	// NoKey says that the peer's protocol has no place for such a key: Keys then
	// tells deliveries apart by something else, and need not repeat.
	NoKey bool
	// Hang makes the peer silent from now on.
	Hang func()
	// Echo makes the peer refuse from now on, with all it was ever told in its
	// words, login included.
	Echo func()
}

// soon is how fast an action must return once its context has ended.
const soon = 2 * time.Second

// Conform tests an action. open makes a fresh fixture and is called for each
// test; it registers its own clean-up.
func Conform(t *testing.T, open func(t *testing.T) Fixture) {
	t.Run("a good job is done and says so", func(t *testing.T) { goodJob(t, open(t)) })
	t.Run("a second attempt has the same key", func(t *testing.T) { sameKey(t, open(t)) })
	t.Run("jobs run at the same time", func(t *testing.T) { together(t, open(t)) })
	t.Run("a cancelled job ends at once", func(t *testing.T) { cancelled(t, open(t)) })
	t.Run("a job out of time ends at once", func(t *testing.T) { outOfTime(t, open(t)) })
	t.Run("fields are checked strictly", func(t *testing.T) { strict(t, open(t)) })
	t.Run("no secret shows", func(t *testing.T) { leaksNothing(t, open(t)) })
	t.Run("a lost claim is given up", func(t *testing.T) { lostClaim(t, open(t)) })
	t.Run("closing twice is no error", func(t *testing.T) { closed(t, open(t)) })
}

// do prepares and does a job.
func do(ctx context.Context, t *testing.T, f Fixture, job *queue.Job, attempt int) (queue.Reply, error) {
	t.Helper()
	work, err := f.Action.Prepare(job)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	return work.Do(ctx, queue.NewClaim(job, attempt, nil))
}

func goodJob(t *testing.T, f Fixture) {
	work, err := f.Action.Prepare(f.Job)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	if work.Kind() != f.Action.Kind() || work.Kind() == "" || work.Lane() == "" {
		t.Errorf("kind %q of %q, lane %q", work.Kind(), f.Action.Kind(), work.Lane())
	}
	reply, err := do(t.Context(), t, f, f.Job, 1)
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	if reply.Certainty != queue.Accepted || reply.Stage != "done" || reply.Reason != "" || reply.Rule != "" {
		t.Errorf("reply %+v", reply)
	}
	if named := reply.Secret != "" && reply.SecretVersion != 0; named == f.NoSecret || f.NoSecret && reply.Secret != "" {
		t.Errorf("the reply does not say which secret was used, or names one that was not: %+v", reply)
	}
	if got := f.Keys(); len(got) == 0 || got[0] == "" {
		t.Errorf("the peer took %q", got)
	}
}

func sameKey(t *testing.T, f Fixture) {
	if f.NoKey {
		t.Skip("the peer takes no key")
	}
	for attempt := range 2 {
		if _, err := do(t.Context(), t, f, f.Job, attempt+1); err != nil {
			t.Fatalf("attempt %d: %v", attempt+1, err)
		}
	}
	keys := f.Keys() // an odd number: the peer itself took the second for a duplicate
	if half := len(keys) / 2; len(keys)%2 == 0 && !slices.Equal(keys[:half], keys[half:]) {
		t.Errorf("two attempts have the keys %q", keys)
	}
	other := *f.Job
	other.ID, other.JID = other.ID+"-other", "9"+other.JID
	if _, err := do(t.Context(), t, f, &other, 1); err != nil {
		t.Fatal(err)
	}
	if last := f.Keys(); slices.Contains(keys, last[len(last)-1]) {
		t.Errorf("another job has the key %q too", last[len(last)-1])
	}
}

func together(t *testing.T, f Fixture) {
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			job := *f.Job
			job.ID, job.JID = fmt.Sprintf("%s-%d", job.ID, i), fmt.Sprintf("%d-%d", i+1, i)
			if _, err := do(t.Context(), t, f, &job, 1); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func cancelled(t *testing.T, f Fixture) {
	f.Hang()
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(100*time.Millisecond, func() { cancel(queue.ErrDrainTimeout) })
	defer timer.Stop()
	start := time.Now()
	reply, err := do(ctx, t, f, f.Job, 1)
	if err == nil || time.Since(start) > soon {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	if reply.Certainty == queue.Accepted {
		t.Errorf("reply %+v", reply)
	}
}

func outOfTime(t *testing.T, f Fixture) {
	f.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	reply, err := do(ctx, t, f, f.Job, 1)
	if err == nil || time.Since(start) > soon {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	if _, dead := errors.AsType[*queue.PermanentError](err); dead || reply.Reason == "" {
		t.Errorf("got %T %v, reply %+v", err, err, reply)
	}
}

// canary stands for any value of a field.
const canary = "canary-value-7c1f"

func strict(t *testing.T, f Fixture) {
	var good map[string]any
	if err := json.Unmarshal(f.Job.Action, &good); err != nil {
		t.Fatal(err)
	}
	refuse := func(name, field string, action any) {
		t.Helper()
		raw, err := json.Marshal(action)
		if err != nil {
			t.Fatal(err)
		}
		job := *f.Job
		job.Action = raw
		_, err = f.Action.Prepare(&job)
		if _, dead := errors.AsType[*queue.PermanentError](err); !dead || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %T %v, want permanent with %s", name, err, err, field)
		} else if strings.Contains(strings.ReplaceAll(err.Error(), `"`+canary+`"`, ""), canary) {
			t.Errorf("%s: the error repeats a value: %v", name, err)
		}
	}
	with := func(field string, value any) map[string]any {
		m := map[string]any{field: value}
		for k, v := range good {
			if k != field {
				m[k] = v
			}
		}
		return m
	}
	refuse("an unknown field", canary, with(canary, "x"))
	refuse("no object", "", []string{canary})
	for field := range good {
		if field == "type" {
			continue
		}
		refuse("null in "+field, field, with(field, nil))
		refuse("an object in "+field, field, with(field, map[string]any{"x": canary}))
		upper := with(strings.ToUpper(field), good[field])
		delete(upper, field)
		refuse("capital letters in "+field, strings.ToUpper(field), upper)
	}
}

func leaksNothing(t *testing.T, f Fixture) {
	f.Echo()
	reply, err := do(t.Context(), t, f, f.Job, 1)
	if err == nil {
		t.Fatal("the peer refused and the job is done")
	}
	shown := fmt.Sprintf("%+v %#v %v %+v %#v", reply, reply, err, err, err)
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		shown += cause.Error()
	}
	if b, err := json.Marshal(reply); err == nil {
		shown += string(b)
	}
	for _, secret := range f.Secrets {
		if len(secret) < 8 {
			t.Fatalf("a secret of %d characters proves nothing", len(secret))
		}
		for name, form := range forms(secret) {
			if strings.Contains(shown, form) {
				t.Errorf("a secret shows (%s) in %s", name, shown)
			}
		}
	}
}

// forms are the ways in which a value could show. The base64 ones leave off the
// ends, which depend on the neighbours.
func forms(secret string) map[string]string {
	m := map[string]string{
		"raw": secret, "half": secret[:len(secret)/2+2],
		"hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"url": url.QueryEscape(secret),
	}
	for i := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i) + secret))
		m[fmt.Sprint("base64 at ", i)] = strings.TrimRight(b, "=")[4 : len(strings.TrimRight(b, "="))-2]
	}
	return m
}

func lostClaim(t *testing.T, f Fixture) {
	work, err := f.Action.Prepare(f.Job)
	if err != nil {
		t.Fatal(err)
	}
	_, err = work.Do(t.Context(), queue.NewClaim(f.Job, 1, func(context.Context) error { return queue.ErrLeaseLost }))
	if !errors.Is(err, queue.ErrLeaseLost) {
		t.Errorf("got %v, want ErrLeaseLost", err)
	}
	if got := f.Keys(); len(got) != 0 {
		t.Errorf("the peer took %q", got)
	}
}

func closed(t *testing.T, f Fixture) {
	for range 2 {
		if err := f.Action.Close(); err != nil {
			t.Error(err)
		}
	}
}
