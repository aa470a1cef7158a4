package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// plain writes an environment as "KEY=value KEY=value".
var plain = Form{Name: "plain", Write: func(env []Entry) (redact.String, error) {
	var out []string
	for _, e := range env {
		out = append(out, e.Key+"="+e.Value.Reveal())
	}
	return redact.New(strings.Join(out, " ")), nil
}}

// ask answers as a server does: from what is known, else the long way.
func (b *bench) ask(ctx context.Context, token redact.String) (text string, known bool, err error) {
	a, known, err := b.dir.Known(ctx, token, plain.Name)
	if err != nil || known {
		return a.Text.Reveal(), known, err
	}
	who, err := b.dir.VerifyToken(ctx, token)
	if err != nil {
		return "", false, err
	}
	if a, err = b.dir.Written(ctx, who.ID, ownUse(who.ID), plain); err != nil {
		return "", false, err
	}
	return a.Text.Reveal(), false, nil
}

func (b *bench) audits(t testing.TB) int64 {
	t.Helper()
	n, err := b.rdb.XLen(t.Context(), b.keyring.Prefix()+":{control}:audit").Result()
	if err != nil {
		t.Fatalf("XLEN: %v", err)
	}
	return n
}

func TestKnownEnvironmentIsTheSameWithItsAuditEntry(t *testing.T) {
	b := first(t, realRedis(t))
	a, token := b.analysis(t, AnalysisChange{Variables: vars("OWN", "mine")})
	b.secret(t, "ONE", "canary value", "site", "oslo")
	b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	long, known, err := b.ask(t.Context(), token)
	if err != nil || known || long != "ONE=canary value OWN=mine" {
		t.Fatalf("the first answer: %q, known %v, %v", long, known, err)
	}
	before := b.audits(t)
	short, known, err := b.ask(t.Context(), token)
	if err != nil || !known || short != long {
		t.Errorf("the second answer: %q, known %v, %v, want the same from what is known", short, known, err)
	}
	entries, err := b.store.Audit(t.Context(), 2)
	if n := b.audits(t); err != nil || n != before+1 {
		t.Fatalf("%d audit entries more, %v, want one", n-before, err)
	}
	entries[0].At, entries[1].At = time.Time{}, time.Time{}
	if got, want := fmt.Sprintf("%+v", entries[0]), fmt.Sprintf("%+v", entries[1]); got != want || entries[0].Granted[0] != "ONE@1" {
		t.Errorf("audit entry %s, want as the long way wrote it: %s", got, want)
	}
	if _, known, err := b.dir.Known(t.Context(), token, "other"); known || err != nil {
		t.Errorf("another form: known %v, %v, want no", known, err)
	}
	for name, wrong := range map[string]string{"another end": token.Reveal()[:30] + "00000000", "another beginning": "a-00000000" + token.Reveal()[10:], "no token": "a-1"} {
		if _, known, err := b.dir.Known(t.Context(), redact.New(wrong), plain.Name); known || err != nil {
			t.Errorf("%s: known %v, %v, want no", name, known, err)
		}
	}
	if n := b.audits(t); n != before+1 {
		t.Errorf("%d audit entries more for what was refused, want none", n-before-1)
	}
	for form, sealed := range b.dir.memo.byID[a.ID].written {
		if bytes.Contains(sealed, []byte("canary")) {
			t.Errorf("the form %q is kept in clear", form)
		}
	}
}

// TestWhatIsKnownEndsWithEachChange makes changes in one process and asks another,
// which has the answer already, right after. It must not give it, nor write that
// it has.
func TestWhatIsKnownEndsWithEachChange(t *testing.T) {
	b := first(t, realRedis(t))
	other := another(t, b)
	a, token := b.analysis(t, AnalysisChange{})
	s := b.secret(t, "ONE", "value 1")
	p := b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	steps := []struct {
		name, want string
		do         func() error
	}{
		{"a new version", "ONE=value 2", func() error {
			return second(b.store.Update(t.Context(), "test", s.ID, secrets.Change{Value: redact.New("value 2")}))
		}},
		{"the grant is revoked", "", func() error {
			return second(b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Active: new(false)}))
		}},
		{"it is given again", "ONE=value 2", func() error {
			return second(b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Active: new(true)}))
		}},
		{"the secret is deleted", "", func() error { return b.store.Delete(t.Context(), "test", s.ID) }},
		{"the analysis rests", ErrInactive.Error(), func() error {
			return second(b.dir.EditAnalysis(t.Context(), "test", a.ID, AnalysisChange{Active: new(false)}))
		}},
		{"it works again", "", func() error {
			return second(b.dir.EditAnalysis(t.Context(), "test", a.ID, AnalysisChange{Active: new(true)}))
		}},
		{"the token is another", ErrNoAnalysisToken.Error(), func() error { return second(b.dir.RotateToken(t.Context(), "test", a.ID)) }},
	}
	for _, step := range steps {
		for range 2 { // the second makes sure that it is known, where there is an answer
			_, _, _ = other.ask(t.Context(), token)
		}
		must(t, step.do())
		before := b.audits(t)
		if _, known, err := other.dir.Known(t.Context(), token, plain.Name); known || err != nil || b.audits(t) != before {
			t.Errorf("%s: known %v, %v, %d audit entries; want what was known to be void", step.name, known, err, b.audits(t)-before)
		}
		got, _, err := other.ask(t.Context(), token)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, step.want) || step.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

// holder is a hook that, while it is closed, holds the reply to a call that
// notes: Redis has answered, the process does not know yet.
type holder struct {
	closed  atomic.Bool
	came    chan struct{}
	release chan struct{}
}

func (*holder) DialHook(next redis.DialHook) redis.DialHook { return next }
func (*holder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *holder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "evalsha" && h.closed.CompareAndSwap(true, false) {
			h.came <- struct{}{}
			<-h.release
		}
		return err
	}
}

// joining is a context that tells when somebody waits for its end, which is
// after getting on a trip.
type joining struct {
	context.Context
	joined chan struct{}
	once   *sync.Once
}

func (j joining) Done() <-chan struct{} {
	j.once.Do(func() { close(j.joined) })
	return j.Context.Done()
}

// TestARequestJoinsNoReadUnderWay revokes a grant while a read is under way that
// has seen the state before. Who asked before may have the answer; who asks after
// the revocation must not get it by that read.
func TestARequestJoinsNoReadUnderWay(t *testing.T) {
	b := first(t, realRedis(t))
	_, token := b.analysis(t, AnalysisChange{})
	b.secret(t, "ONE", "value 1")
	p := b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	h := &holder{came: make(chan struct{}), release: make(chan struct{})}
	held := redis.NewClient(b.rdb.Options())
	t.Cleanup(func() { _ = held.Close() })
	held.AddHook(h)
	other := another(t, &bench{rdb: held, keyring: b.keyring})
	for range 2 {
		must(t, third(other.ask(t.Context(), token)))
	}
	type answer struct {
		known bool
		err   error
	}
	ask := func(ctx context.Context) chan answer {
		out := make(chan answer, 1)
		go func() {
			_, known, err := other.dir.Known(ctx, token, plain.Name)
			out <- answer{known, err}
		}()
		return out
	}
	h.closed.Store(true)
	before := ask(t.Context())
	<-h.came
	must(t, second(b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Active: new(false)})))
	j := joining{t.Context(), make(chan struct{}), new(sync.Once)}
	after := ask(j)
	<-j.joined
	h.release <- struct{}{}
	if got := <-before; !got.known || got.err != nil {
		t.Errorf("who asked before the revocation: %+v, want the answer that held then", got)
	}
	if got := <-after; got.known || got.err != nil {
		t.Errorf("who asked after the revocation: %+v, want nothing of what was known", got)
	}
	if got, _, err := other.ask(t.Context(), token); got != "" || err != nil {
		t.Errorf("then: %q, %v, want an empty environment", got, err)
	}
}

// TestNoRequestIsServedARevokedGrant moves a grant from secret to secret while
// many ask. A request that began when the n-th change was acknowledged must be
// answered by that change or a later one.
func TestNoRequestIsServedARevokedGrant(t *testing.T) {
	const changes, processes, askers = 40, 2, 32
	b := first(t, realRedis(t))
	_, token := b.analysis(t, AnalysisChange{})
	ids := make([]string, changes)
	for i := range ids {
		ids[i] = b.secret(t, fmt.Sprintf("S_%02d", i), "value of it").ID
	}
	grant := func(i int) []Permission { return []Permission{may(Allow, "access", "secrets", "id", ids[i])} }
	p := b.policy(t, Tuple{"analysis"}, grant(0)...)
	var acknowledged, answers, short atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for range processes {
		other := another(t, b)
		for range askers {
			wg.Go(func() {
				for ctx.Err() == nil {
					from := acknowledged.Load()
					text, known, err := other.ask(t.Context(), token)
					var n int64
					if _, bad := fmt.Sscanf(text, "S_%02d=value", &n); err != nil || bad != nil || n < from {
						t.Errorf("got %q, %v, after change %d was acknowledged", text, err, from)
						return
					}
					answers.Add(1)
					if known {
						short.Add(1)
					}
				}
			})
		}
	}
	for i := 1; i < changes && !t.Failed(); i++ {
		must(t, second(b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Permissions: grant(i)})))
		acknowledged.Store(int64(i))
		for at := short.Load(); short.Load() < at+askers && !t.Failed(); { // some that are known, between two changes
			_, _, err := b.ask(t.Context(), token)
			must(t, err)
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d answers, %d from what was known", answers.Load(), short.Load())
}

func TestKnownWithoutRedisIsTheErrorOfTheNetwork(t *testing.T) {
	b := first(t, realRedis(t))
	_, token := b.analysis(t, AnalysisChange{Variables: vars("OWN", "mine")})
	must(t, third(b.ask(t.Context(), token)))
	_ = b.rdb.Close()
	if a, known, err := b.dir.Known(t.Context(), token, plain.Name); !errors.Is(err, redis.ErrClosed) || known || a.Text.Reveal() != "" {
		t.Errorf("Known without Redis: %v, %v, want the network's error and no answer", known, err)
	}
}
