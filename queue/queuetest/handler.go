package queuetest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// Func is one attempt.
type Func func(ctx context.Context, c *queue.Claim) (queue.Reply, error)

// Handler does what the test says and remembers who was done. The zero Handler
// accepts every job. A job's action may say its lane: {"type":"x","lane":"y"}.
type Handler struct {
	Do    Func // nil accepts
	Limit int  // of attempts, for jobs that name none; 0 is the process'

	mu    sync.Mutex
	count map[string]int // by job id
	order []string
}

// Prepare implements queue.Handler.
func (h *Handler) Prepare(job *queue.Job) (queue.Work, error) {
	var action struct {
		Type string `json:"type"`
		Lane string `json:"lane"`
	}
	if err := json.Unmarshal(job.Action, &action); err != nil {
		return nil, queue.Permanent(err)
	}
	if action.Lane == "" {
		action.Lane = "lane"
	}
	return &work{h: h, kind: action.Type, lane: action.Lane}, nil
}

// Count returns how often the job was tried.
func (h *Handler) Count(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[id]
}

// Order returns the ids of all attempts in the order in which they began.
func (h *Handler) Order() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.order...)
}

func (h *Handler) saw(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == nil {
		h.count = map[string]int{}
	}
	h.count[id]++
	h.order = append(h.order, id)
}

type work struct {
	h          *Handler
	kind, lane string
}

// Kind is that of the test job.
func (w *work) Kind() string { return w.kind }

// Lane is the lane that the test job names.
func (w *work) Lane() string { return w.lane }

// MaxAttempts implements queue.Limited.
func (w *work) MaxAttempts() int { return w.h.Limit }

// Do makes the attempt that the test wants.
func (w *work) Do(ctx context.Context, c *queue.Claim) (queue.Reply, error) {
	w.h.saw(c.Job.ID)
	if w.h.Do == nil {
		return queue.Reply{Stage: "done"}, nil
	}
	return w.h.Do(ctx, c)
}

// waitTime is how long Eventually waits.
const waitTime = 20 * time.Second

// Eventually waits until ok returns true, and fails the test if it never does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(waitTime); ; <-tick.C {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, waitTime)
		}
	}
}

// Run runs a pool until the test ends or stop is called, which returns when the
// pool has drained.
func Run(t testing.TB, cfg queue.PoolConfig, h queue.Handler) (stop func()) {
	t.Helper()
	p, err := queue.NewPool(cfg, h)
	if err != nil {
		t.Fatalf("NewPool: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}
