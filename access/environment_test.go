package access

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestEnvironment(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{Variables: vars("URL", "old", "OWN", "mine", "URL", "http://own"), Tags: tagged("site", "oslo")})
	url := b.secret(t, "URL", "http://secret", "site", "oslo")
	zone := b.secret(t, "A_ZONE", "north-1", "site", "oslo")
	b.secret(t, "OTHER", "another", "site", "rome")
	kept := b.secret(t, "KEPT", "kept back", "site", "oslo", "owner", "board")
	mail := b.secret(t, "MAIL", `{"smtp_server":"mail.example.org","username":"ann","password":"long-password"}`)
	site := b.policy(t, Tuple{"analysis", "tag_match", "site"}, may(Allow, "access", "secrets", "tag_match", "site"))
	one := b.policy(t, Tuple{"analysis", "id", a.ID}, may(Allow, "access", "secret", "id", mail.ID))
	deny := b.policy(t, Tuple{"analysis"}, may(Deny, "access", "secrets", "tag.key", "owner", "tag.value", "board"))

	env, why, err := b.dir.Environment(t.Context(), a.ID, secrets.Use{Actor: "analysis " + a.ID, Why: "environment"})
	if err != nil {
		t.Fatalf("Environment: %v", err)
	}
	rule := func(p Policy, e Effect) Rule { return Rule{Policy: p.ID, Name: "policy", Effect: e} }
	want := []Entry{
		{"A_ZONE", redact.New("north-1"), Origin{Secret: zone.Ref, Rule: rule(site, Allow)}},
		{"MAIL", redact.New(`{"smtp_server":"mail.example.org","username":"ann","password":"long-password"}`), Origin{Secret: mail.Ref, Rule: rule(one, Allow)}},
		{"OWN", redact.New("mine"), Origin{Own: true}},
		{"URL", redact.New("http://own"), Origin{Own: true}},
	}
	if diff := cmp.Diff(want, env, sameVariables); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"A_ZONE", "MAIL", "OWN", "URL"}, why.Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if len(why.Shadowed) != 1 || why.Shadowed[0].Secret.Key != "URL" {
		t.Errorf("shadowed = %+v, want URL", why.Shadowed)
	}
	if len(why.Denied) != 1 || why.Denied[0].Secret.Key != "KEPT" || why.Denied[0].Rule != rule(deny, Deny) {
		t.Errorf("denied = %+v, want KEPT by the deny policy", why.Denied)
	}
	entries, err := b.store.Audit(t.Context(), 1)
	audit := []secrets.AuditEntry{{
		Actor: "analysis " + a.ID, Op: "environment", Kind: "analysis", ID: a.ID, Key: "report", Version: 1, Why: "environment",
		Granted: []string{"A_ZONE@1", "MAIL@1"}, Denied: []string{"KEPT@1"},
	}}
	if diff := cmp.Diff(audit, entries, cmpopts.IgnoreFields(secrets.AuditEntry{}, "At")); err != nil || diff != "" {
		t.Errorf("audit: %v (-want +got):\n%s", err, diff)
	}
	granted, err := b.dir.Granted(t.Context(), a.ID, ActionAccess)
	if err != nil || len(granted) != 3 {
		t.Errorf("Granted = %v, %v, want three", granted, err)
	}
	for _, tt := range []struct {
		s    secrets.Secret
		want Decision
	}{{url, Decision{true, rule(site, Allow)}}, {kept, Decision{false, rule(deny, Deny)}}} {
		got, err := b.dir.Explain(t.Context(), a.ID, resourceOf(tt.s), ActionAccess)
		if err != nil || got.Decision != tt.want {
			t.Errorf("Explain %s = %+v, %v, want %+v", tt.s.Key, got.Decision, err, tt.want)
		}
		if d, err := b.dir.Decide(t.Context(), a.ID, resourceOf(tt.s), ActionAccess); err != nil || d != tt.want {
			t.Errorf("Decide %s = %+v, %v, want %+v", tt.s.Key, d, err, tt.want)
		}
	}
}

func TestInactiveAnalysisGetsNothing(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{Active: new(false), Variables: vars("OWN", "1")})
	if env, _, err := b.dir.Environment(t.Context(), a.ID, secrets.Use{}); !errors.Is(err, ErrInactive) || env != nil {
		t.Errorf("Environment = %v, %v, want ErrInactive", env, err)
	}
	if r, err := b.dir.Resolve(t.Context(), a.ID); err != nil || len(r.Names) != 1 {
		t.Errorf("Resolve = %v, %v, want it explained all the same", r, err)
	}
}

// TestChangesAreSeenAtOnce makes each kind of change in one process and asks
// another one right after.
func TestChangesAreSeenAtOnce(t *testing.T) {
	b := first(t, realRedis(t))
	other := another(t, b)
	a, _ := b.analysis(t, AnalysisChange{Tags: tagged("site", "oslo")})
	b.secret(t, "ONE", "value 1", "site", "oslo")
	p := b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets", "tag_match", "site"))
	steps := []struct {
		name, want string
		do         func() error
	}{
		{"at first", "ONE=value 1", func() error { return nil }},
		{"a new version", "ONE=value 2", func() error {
			return second(b.store.Update(t.Context(), "test", "ONE", secrets.Change{Value: redact.New("value 2")}))
		}},
		{"the secret loses its tag", "", func() error {
			return second(b.store.Update(t.Context(), "test", "ONE", secrets.Change{Tags: []secrets.Tag{}}))
		}},
		{"the secret has it back", "ONE=value 2", func() error {
			return second(b.store.Update(t.Context(), "test", "ONE", secrets.Change{Tags: tagged("site", "oslo")}))
		}},
		{"the analysis moves", "", func() error {
			return second(b.dir.EditAnalysis(t.Context(), "test", a.ID, AnalysisChange{Tags: tagged("site", "rome")}))
		}},
		{"the analysis comes back with a variable", "ONE=mine", func() error {
			return second(b.dir.EditAnalysis(t.Context(), "test", a.ID, AnalysisChange{Tags: tagged("site", "oslo"), Variables: vars("ONE", "mine")}))
		}},
		{"the variable goes", "ONE=value 2", func() error {
			return second(b.dir.EditAnalysis(t.Context(), "test", a.ID, AnalysisChange{Variables: []Variable{}}))
		}},
		{"the policy is switched off", "", func() error {
			return second(b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Active: new(false)}))
		}},
		{"the policy is switched on", "ONE=value 2", func() error {
			return second(b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Active: new(true)}))
		}},
		{"a deny is added", "", func() error {
			return second(b.dir.CreatePolicy(t.Context(), "test", PolicyChange{Name: new("d"), Targets: []Tuple{{"analysis"}}, Permissions: []Permission{may(Deny, "access", "secret")}}))
		}},
		{"the secret goes", "", func() error { return b.store.Delete(t.Context(), "test", "ONE") }},
	}
	tag, last := "", ""
	for _, step := range steps {
		must(t, step.do())
		if got := other.keys(t, a.ID); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		r, err := other.dir.Resolve(t.Context(), a.ID)
		must(t, err)
		if changed := r.Tag != tag; changed != (step.want != last) && step.name != "at first" {
			t.Errorf("%s: another tag: %v, want %v", step.name, changed, !changed)
		}
		tag, last = r.Tag, step.want
	}
}

// TestRevocationUnderLoad asks all the time while a grant comes and goes, and
// checks that nobody who asked after a revocation was given the secret.
func TestRevocationUnderLoad(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	b.secret(t, "ONE", "value 1")
	p := b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	stop := make(chan struct{})
	var gate sync.RWMutex // held for reading by who asks while the grant stands still
	granted := true
	var wg sync.WaitGroup
	for range 8 {
		asker := another(t, b)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				gate.RLock()
				want := ""
				if granted {
					want = "ONE=value 1"
				}
				got := asker.keys(t, a.ID)
				gate.RUnlock()
				if got != want {
					t.Errorf("environment = %q, want %q", got, want)
					return
				}
			}
		})
	}
	for range 50 {
		gate.Lock()
		granted = !granted
		must(t, second(b.dir.EditPolicy(t.Context(), "test", p.ID, PolicyChange{Active: new(granted)})))
		gate.Unlock()
	}
	close(stop)
	wg.Wait()
}

func TestNothingIsOpenedWithoutAudit(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	b.secret(t, "ONE", "value 1")
	b.policy(t, Tuple{"analysis"}, may(Allow, "access", "secrets"))
	const stream = "sealpost:{control}:audit"
	must(t, b.rdb.Rename(t.Context(), stream, "aside").Err())
	must(t, b.rdb.Set(t.Context(), stream, "not a stream", 0).Err())
	env, _, err := b.dir.Environment(t.Context(), a.ID, secrets.Use{})
	if err == nil || env != nil || !strings.Contains(err.Error(), "audit") {
		t.Errorf("Environment = %v, %v, want the audit's error", env, err)
	}
}

func TestRedisGoneIsNoSeal(t *testing.T) {
	b := first(t, realRedis(t))
	a, _ := b.analysis(t, AnalysisChange{})
	b.rdb.Options().MaxRetries = 0
	_ = b.rdb.Close()
	if _, _, err := b.dir.Environment(t.Context(), a.ID, secrets.Use{}); err == nil || errors.Is(err, secrets.ErrSealBroken) || errors.Is(err, secrets.ErrSealed) {
		t.Errorf("Environment without Redis: %v, want the network's error", err)
	}
}

// fill makes a store of many secrets and policies, of which the analysis is
// granted ten secrets by five policies.
func fill(tb testing.TB, b *bench, secretCount, policyCount int) Analysis {
	tb.Helper()
	own := vars()
	for i := range 10 {
		own = append(own, vars(fmt.Sprintf("OWN_%d", i), "own value")...)
	}
	a, _ := b.analysis(tb, AnalysisChange{Variables: own, Tags: tagged("site", "oslo")})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range secretCount {
			site := "rome"
			if i < 10 {
				site = "oslo"
			}
			b.secret(tb, fmt.Sprintf("S_%d", i), "a value of some length", "site", site, "n", fmt.Sprint(i))
		}
	})
	wg.Go(func() {
		for i := range policyCount {
			target, perm := Tuple{"analysis", "id", fmt.Sprintf("%024d", i)}, may(Allow, "access", "secrets")
			if i < 5 {
				target = Tuple{"analysis", "tag_match", "site"}
				perm = Permission{Effect: Allow, Action: []string{"access"}, Resource: Tuple{"secrets", "tag_match", "site"}}
			}
			b.policy(tb, target, perm)
		}
	})
	wg.Wait()
	return a
}

// BenchmarkEnvironment resolves and opens 20 keys, 10 of them secrets behind 5
// policies, in a small store and in a large one: by 64 callers, and by one right
// after a change of a policy.
//
//	go test ./access -run xxx -bench Environment -benchtime 2s
func BenchmarkEnvironment(b *testing.B) {
	for _, size := range []struct{ secrets, policies int }{{10, 10}, {100_000, 10_000}} {
		if size.secrets > 1000 && testing.Short() {
			continue // it takes a minute to fill
		}
		p := first(b, realRedis(b))
		a := fill(b, p, size.secrets, size.policies)
		start := time.Now()
		must(b, p.dir.Load(b.Context()))
		b.Logf("%d secrets and %d policies read in %v", size.secrets, size.policies, time.Since(start).Round(time.Millisecond))
		if got := strings.Count(p.keys(b, a.ID), "="); got != 20 {
			b.Fatalf("%d keys, want 20", got)
		}
		open := func() error {
			return third(p.dir.Environment(b.Context(), a.ID, secrets.Use{Actor: "bench", Why: "bench"}))
		}
		b.Run(fmt.Sprintf("secrets=%d/steady", size.secrets), func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := open(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
		b.Run(fmt.Sprintf("secrets=%d/changed", size.secrets), func(b *testing.B) {
			one := p.policy(b, Tuple{"analysis"})
			for b.Loop() {
				b.StopTimer()
				must(b, second(p.dir.EditPolicy(b.Context(), "bench", one.ID, PolicyChange{})))
				b.StartTimer()
				must(b, open())
			}
		})
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }

// BenchmarkRedisGet is what the same callers pay for one GET each: the measure
// beside which an environment is judged.
func BenchmarkRedisGet(b *testing.B) {
	rdb := realRedis(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := rdb.Get(b.Context(), "k").Err(); err != nil && err != redis.Nil {
				b.Error(err)
				return
			}
		}
	})
}
