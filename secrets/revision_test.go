package secrets_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
	"github.com/sealpost/sealpost/secrets/secretstest"
)

// gate is a hook that holds every pipeline at Redis until it is opened.
type gate struct {
	trips  atomic.Int64
	came   chan struct{} // one for each trip that reached the gate
	opened chan struct{} // one lets one trip through; closed, all
}

func (*gate) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[len(cmds)-1].Name() != "get" { // the greeting of a new connection
			return next(ctx, cmds)
		}
		g.trips.Add(1)
		g.came <- struct{}{}
		<-g.opened
		return next(ctx, cmds)
	}
}

// gated is a revision reader whose trips wait at a gate, and a client beside it.
func gated(t *testing.T) (*secrets.Revision, *gate, world) {
	t.Helper()
	w := miniWorld(t)
	rdb := redis.NewClient(queuetest.Options(w.rdb.(*redis.Client).Options().Addr))
	t.Cleanup(func() { _ = rdb.Close() })
	g := &gate{came: make(chan struct{}, 100), opened: make(chan struct{})}
	rdb.AddHook(g)
	r := secrets.NewRevision(rdb, w.keyring)
	t.Cleanup(r.Close)
	return r, g, w
}

// TestRevisionIsNeverOlderThanTheQuestion asks while a trip is under way: the
// answer of that trip is from before the question and must not be given.
func TestRevisionIsNeverOlderThanTheQuestion(t *testing.T) {
	r, g, w := gated(t)
	ctx := t.Context()
	check(t, w.rdb.Set(ctx, w.key("rev"), "old", 0).Err(), "set")
	answers := make(chan string, 2)
	ask := func() {
		rev, err := r.Current(ctx)
		if err != nil {
			t.Errorf("Current: %v", err)
		}
		answers <- rev
	}
	go ask()
	<-g.came // the first trip is under way
	go ask()
	g.opened <- struct{}{}
	if got := <-answers; got != "old" {
		t.Errorf("first: got %q, want old", got)
	}
	check(t, w.rdb.Set(ctx, w.key("rev"), "new", 0).Err(), "set")
	<-g.came // the second trip, begun after the second question
	g.opened <- struct{}{}
	if got := <-answers; got != "new" {
		t.Errorf("second: got %q, want new", got)
	}
}

func TestRevisionSharesTrips(t *testing.T) {
	r, g, _ := gated(t)
	var wg sync.WaitGroup
	const callers = 64
	wg.Go(func() { _, _ = r.Current(t.Context()) })
	<-g.came
	var asked atomic.Int64
	for range callers {
		wg.Go(func() {
			asked.Add(1)
			if _, err := r.Current(t.Context()); err != nil {
				t.Errorf("Current: %v", err)
			}
		})
	}
	poll(t, func() bool { return asked.Load() == callers })
	close(g.opened)
	wg.Wait()
	// A caller may come after the second trip has left; far fewer than 64 go.
	if n := g.trips.Load(); n < 2 || n > callers/2 {
		t.Errorf("%d callers made %d trips", callers, n)
	}
}

// waited is a context that tells when somebody waits for its end.
type waited struct {
	context.Context
	joined chan struct{}
	once   *sync.Once
}

func (w waited) Done() <-chan struct{} {
	w.once.Do(func() { close(w.joined) })
	return w.Context.Done()
}

// TestRevisionOutlivesItsFirstCaller cancels the caller who began a trip: the
// one who joined it gets the answer all the same.
func TestRevisionOutlivesItsFirstCaller(t *testing.T) {
	r, g, _ := gated(t)
	ask := func(ctx context.Context) (joined chan struct{}, answer chan error) {
		w := waited{ctx, make(chan struct{}), new(sync.Once)}
		answer = make(chan error, 1)
		go func() { _, err := r.Current(w); answer <- err }()
		return w.joined, answer
	}
	_, before := ask(t.Context())
	<-g.came // a trip under way, so that the next one gathers callers
	ctx, cancel := context.WithCancel(t.Context())
	joined, first := ask(ctx)
	<-joined
	joined, second := ask(t.Context())
	<-joined
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who gave up: got %v, want context.Canceled", err)
	}
	close(g.opened)
	if err := <-before; err != nil {
		t.Errorf("the trip before: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the one who joined: %v", err)
	}
	if _, err := r.Current(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a dead context: got %v, want context.Canceled", err)
	}
}

// poll waits until ok, at most five seconds.
func poll(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen within five seconds")
		}
	}
}

// TestLookupIsNeverStale writes and looks up from many goroutines on three
// processes: who saw a version committed must not be given an older one.
func TestLookupIsNeverStale(t *testing.T) {
	each(t, func(t *testing.T, w world) {
		ctx := t.Context()
		ref := secretstest.MustPut(t, w.Store, "KEY", "value 1")
		var committed atomic.Int64
		committed.Store(1)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for _, s := range []*secrets.Store{w.Store, w.another(t), w.another(t)} {
			for i := range 8 {
				wg.Go(func() { readers(ctx, t, s, ref, &committed, stop, i) })
			}
		}
		for n := int64(2); n <= 25; n++ {
			sec, err := w.Update(ctx, "a", "KEY", secrets.Change{Value: redact.New(fmt.Sprintf("value %d", n))})
			check(t, err, "update")
			committed.Store(sec.Version)
		}
		close(stop)
		wg.Wait()
	})
}

// readers looks up and opens until stop.
func readers(ctx context.Context, t *testing.T, s *secrets.Store, ref secrets.Ref, committed *atomic.Int64, stop <-chan struct{}, n int) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		atLeast := committed.Load()
		var got secrets.Ref
		var err error
		if n%4 == 0 {
			var text secrets.Text
			text, err = s.OpenText(ctx, ref, use)
			got = text.Ref
			if want := fmt.Sprintf("value %d", got.Version); err == nil && text.Value.Reveal() != want {
				t.Errorf("version %d is %q", got.Version, text.Value.Reveal())
			}
		} else {
			got, err = s.Lookup(ctx, "KEY")
		}
		if errors.Is(err, secrets.ErrConflict) {
			continue // written five times between audit and opening
		}
		if err != nil || got.Version < atLeast {
			t.Errorf("got version %d, %v, want at least %d", got.Version, err, atLeast)
			return
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d_goroutines", goroutines), func(b *testing.B) {
			rdb, prefix := queuetest.Redis(b)
			w := newWorld(b, rdb, prefix)
			secretstest.MustPut(b, w.Store, "KEY", smtpValue)
			spread(b, goroutines, func() error { _, err := w.Lookup(context.Background(), "KEY"); return err })
		})
	}
}

func BenchmarkOpenSMTP(b *testing.B) {
	for _, goroutines := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d_goroutines", goroutines), func(b *testing.B) {
			rdb, prefix := queuetest.Redis(b)
			w := newWorld(b, rdb, prefix)
			ref := secretstest.MustPut(b, w.Store, "KEY", smtpValue)
			spread(b, goroutines, func() error { _, err := w.OpenSMTP(context.Background(), ref, use); return err })
		})
	}
}

func BenchmarkPut(b *testing.B) {
	rdb, prefix := queuetest.Redis(b)
	w := newWorld(b, rdb, prefix)
	for b.Loop() {
		secretstest.MustPut(b, w.Store, "KEY", smtpValue)
	}
}

func BenchmarkVerify(b *testing.B) {
	rdb, prefix := queuetest.Redis(b)
	w := newWorld(b, rdb, prefix)
	const n = 2000
	for i := range n {
		secretstest.MustPut(b, w.Store, fmt.Sprintf("KEY_%d", i), smtpValue)
	}
	for b.Loop() {
		check(b, second(w.Verify(context.Background())), "verify")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/secret")
}

// spread runs do b.N times on so many goroutines.
func spread(b *testing.B, goroutines int, do func() error) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
