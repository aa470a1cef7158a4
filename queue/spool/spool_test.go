package spool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
	"github.com/sealpost/sealpost/queue/spool"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// gate is a sender that takes jobs only while it is open.
type gate struct {
	mu    sync.Mutex
	open  bool
	err   error // while it is not
	taken []string
}

func (g *gate) Enqueue(_ context.Context, jobs ...json.RawMessage) ([]queue.Receipt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, j := range jobs {
		if strings.Contains(string(j), "refuse-me") {
			return nil, &queue.InvalidJobError{Index: i, Err: errors.New("unknown field")}
		}
	}
	if !g.open {
		return make([]queue.Receipt, len(jobs)), g.err
	}
	for _, j := range jobs {
		var job struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(j, &job); err != nil {
			return nil, err
		}
		g.taken = append(g.taken, job.ID)
	}
	return make([]queue.Receipt, len(jobs)), nil
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
}

func (g *gate) ids() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.taken...)
}

func job(i int) json.RawMessage { return queuetest.Job(fmt.Sprintf(`"id":"n%d"`, i)) }

func open(t *testing.T, dir string, s spool.Sender, opts spool.Options) *spool.Spool {
	t.Helper()
	opts.Logger = quiet
	sp, err := spool.Open(dir, s, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = sp.Close() })
	return sp
}

func put(t *testing.T, s *spool.Spool, jobs ...json.RawMessage) []string {
	t.Helper()
	ids, err := s.Enqueue(jobs...)
	if err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	return ids
}

func flush(t *testing.T, s *spool.Spool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatalf("Flush: %v", err)
	}
}

func TestJobsAreSentInOrderAndTheDiskIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	g := &gate{err: errors.New("dial tcp: connection refused")}
	s := open(t, dir, g, spool.Options{SegmentBytes: 300})
	var want []string
	for i := range 40 {
		want = append(want, put(t, s, job(i))...)
	}
	want = append(want, put(t, s, queuetest.Job(), queuetest.Job())...) // these are given ids
	if n, _ := s.Pending(); n != 42 || len(g.ids()) != 0 {
		t.Errorf("got %d pending and %d sent, want 42 and none", n, len(g.ids()))
	}
	g.set(true)
	flush(t, s)
	if diff := cmp.Diff(g.ids(), want); diff != "" {
		t.Errorf("sent (-got +want):\n%s", diff)
	}
	if n, bytes := s.Pending(); n != 0 || bytes != 0 {
		t.Errorf("got %d jobs and %d bytes left, want none", n, bytes)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jobs"))
	if err != nil || len(files) != 1 {
		t.Errorf("got files %v, want only the one that is written to", files)
	}
}

func TestTheNextProcessSendsWhatIsLeft(t *testing.T) {
	dir := t.TempDir()
	g := &gate{err: queue.ErrFull}
	s := open(t, dir, g, spool.Options{SegmentBytes: 200})
	for i := range 10 {
		put(t, s, job(i))
	}
	if _, err := spool.Open(dir, g, spool.Options{}); !errors.Is(err, spool.ErrLocked) {
		t.Errorf("a second process: got %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if _, err := s.Enqueue(job(99)); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	g.set(true)
	s = open(t, dir, g, spool.Options{})
	flush(t, s)
	if got := len(g.ids()); got != 10 {
		t.Errorf("got %d jobs, want 10", got)
	}
}

func TestAFullSpoolRefuses(t *testing.T) {
	g := &gate{err: io.EOF}
	s := open(t, t.TempDir(), g, spool.Options{MaxBytes: 200})
	n := 0
	for ; n < 100; n++ {
		if _, err := s.Enqueue(job(n)); err != nil {
			if !errors.Is(err, spool.ErrFull) {
				t.Fatalf("got %v, want ErrFull", err)
			}
			break
		}
	}
	if n == 0 || n == 100 {
		t.Fatalf("%d jobs were taken", n)
	}
	g.set(true)
	flush(t, s)
	put(t, s, job(n))
	flush(t, s)
	if got := len(g.ids()); got != n+1 {
		t.Errorf("got %d jobs, want %d", got, n+1)
	}
}

func TestBadJobsAreRefusedAtOnceOrPutAside(t *testing.T) {
	dir := t.TempDir()
	g := &gate{open: true}
	s := open(t, dir, g, spool.Options{})
	_, err := s.Enqueue(job(1), json.RawMessage(`{"action":{},"x":1}`))
	if invalid, ok := errors.AsType[*queue.InvalidJobError](err); !ok || invalid.Index != 1 {
		t.Errorf("got %v, want InvalidJobError of job 1", err)
	}
	put(t, s, job(2), queuetest.Job(`"id":"refuse-me"`), job(3))
	flush(t, s)
	if diff := cmp.Diff(g.ids(), []string{"n2", "n3"}); diff != "" {
		t.Errorf("sent (-got +want):\n%s", diff)
	}
	aside, err := os.ReadFile(filepath.Join(dir, "refused.jsonl"))
	if err != nil || !strings.Contains(string(aside), "refuse-me") || strings.Count(string(aside), "\n") != 1 {
		t.Errorf("put aside: got %q, %v", aside, err)
	}
}

func TestATornTailIsCutAndDamageIsNot(t *testing.T) {
	g := &gate{err: io.EOF}
	base := t.TempDir()
	s := open(t, base, g, spool.Options{SegmentBytes: 80})
	for i := range 8 {
		put(t, s, job(i))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(base, "*.jobs"))
	if err != nil || len(files) < 3 {
		t.Fatalf("got files %v", files)
	}
	last, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	// Every length of the last file, as a crash may leave it.
	for n := range len(last) + 1 {
		dir := t.TempDir()
		for _, f := range files[:len(files)-1] {
			copyFile(t, f, dir)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(files[len(files)-1])), last[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		g := &gate{open: true}
		s := open(t, dir, g, spool.Options{})
		put(t, s, job(100))
		flush(t, s)
		got := g.ids()
		if len(got) < 6 || got[len(got)-1] != "n100" {
			t.Fatalf("cut to %d bytes: sent %v", n, got)
		}
		for i, id := range got[:len(got)-1] {
			if id != fmt.Sprintf("n%d", i) {
				t.Fatalf("cut to %d bytes: sent %v", n, got)
			}
		}
		if n == len(last) && len(got) != 9 {
			t.Errorf("whole: sent %v", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	first, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	first[len(first)-3] ^= 1
	if err := os.WriteFile(files[0], first, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Open(base, g, spool.Options{}); err == nil || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("damage in an older file: got %v, want an error that says what to do", err)
	}
}

func copyFile(t *testing.T, from, dir string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, filepath.Base(from)), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzOpen opens a directory whose last file is anything.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("sealpost spool 1\n"))
	f.Add([]byte("sealpost spool 1\n\x00\x00\x00\x02\x00\x00\x00\x00{}"))
	f.Add([]byte("sealpost spool 1\n\xff\xff\xff\xff\x00\x00\x00\x00{}"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000000000000001.jobs"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		g := &gate{open: true}
		s, err := spool.Open(dir, g, spool.Options{Logger: quiet})
		if err != nil {
			return
		}
		if _, err := s.Enqueue(job(1)); err != nil {
			t.Errorf("Enqueue: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
