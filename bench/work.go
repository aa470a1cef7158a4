package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sealpost/sealpost/queue"
)

// jobText is a job of about 320 bytes, as a mail job has. The value is the time of
// its sending, in nanoseconds since the epoch, or 0.
const jobText = `{"action":{"type":"noop","smtp_secret":"RELAY","from":"alerts@example.test",` +
	`"to":"a@example.test;b@example.test","subject":"Temperature of $DEVICE$ is $VALUE$ $UNIT$",` +
	`"message":"The device has left its range."},"data":[{"variable":"temperature","value":%d,"unit":"F",` +
	`"time":"2026-01-01T00:00:00Z","device":"boiler-7"}]}`

func payload(sent int64) json.RawMessage { return json.RawMessage(fmt.Sprintf(jobText, sent)) }

// sentAt reads the time of sending out of a job.
func sentAt(job *queue.Job) (int64, error) {
	_, text, _ := strings.Cut(string(job.Data), `"value":`)
	text, _, _ = strings.Cut(text, ",")
	sent, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the time of a job: %w", err)
	}
	return sent, nil
}

// handler does nothing with jobs but count them, and takes the time of those that
// say when they were sent.
type handler struct {
	want int64
	done atomic.Int64
	all  chan struct{}

	mu    sync.Mutex
	taken []time.Duration
	end   time.Time // of the newest that was timed
}

func newHandler(want int64) *handler { return &handler{want: want, all: make(chan struct{})} }

// Prepare reads when the job was sent.
func (h *handler) Prepare(job *queue.Job) (queue.Work, error) {
	sent, err := sentAt(job)
	return noop{h, sent}, err
}

// times are all that were taken, sorted.
func (h *handler) times() []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(slices.Values(h.taken))
}

// last is when the newest job began.
func (h *handler) last() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.end
}

// noop is the work of one job.
type noop struct {
	h    *handler
	sent int64
}

// Kind is the label of the work.
func (noop) Kind() string { return "noop" }

// Lane is the same for all: they share one destination.
func (noop) Lane() string { return "noop" }

// Do counts.
func (w noop) Do(context.Context, *queue.Claim) (queue.Reply, error) {
	if w.sent > 0 {
		now := time.Now()
		w.h.mu.Lock()
		w.h.taken, w.h.end = append(w.h.taken, now.Sub(time.Unix(0, w.sent))), now
		w.h.mu.Unlock()
	}
	if w.h.done.Add(1) == w.h.want {
		close(w.h.all)
	}
	return queue.Reply{Stage: "done", Certainty: queue.Accepted}, nil
}

// work starts a pool; stop ends it and waits.
func (r *run) work(h queue.Handler) (stop func(), err error) {
	pool, err := queue.NewPool(queue.PoolConfig{
		Redis: r.Redis, Prefix: r.prefix, Partitions: r.Partitions, Slots: r.Slots, LaneSlots: r.Slots,
		Name: "bench", Logger: slog.New(slog.DiscardHandler),
	}, h)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // it ends before the keys are removed, not with the run's
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	return func() {
		cancel()
		<-ended
	}, nil
}

// look is how often the end of a stage is looked for, and progress is told.
const look = time.Millisecond

// await waits until all jobs are done and their outcomes in Redis.
func (r *run) await(ctx context.Context, h *handler, stage string) error {
	ticks := time.NewTicker(100 * look)
	defer ticks.Stop()
	for waiting := true; waiting; {
		select {
		case <-h.all:
			waiting = false
		case <-ticks.C:
			r.Progress(stage, h.done.Load(), h.want)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ticks.Reset(look)
	for p := range r.Partitions {
		for {
			left, err := r.Redis.XLen(ctx, queue.StreamKey(r.prefix, p)).Result()
			if err != nil {
				return err
			}
			if left == 0 {
				break
			}
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}
