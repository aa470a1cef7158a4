package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

const (
	slots      = 200
	startLimit = 30 * time.Second
	look       = time.Millisecond // between two questions whether it is ready
	batch      = 500              // jobs in one call
	lateness   = 3 * time.Second  // of a Redis that comes up after the program
)

// report is what was measured.
type report struct {
	Date   string `json:"date"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Rounds int    `json:"rounds"`

	Binary    int64         `json:"binary_bytes"`
	Ready     time.Duration `json:"ready_ns"` // medians, from the start of the process
	ReadyMost time.Duration `json:"ready_most_ns"`
	ReadyCPU  time.Duration `json:"ready_cpu_ns"`
	Late      time.Duration `json:"ready_after_redis_ns"` // from the first answer of a Redis that comes up after the program
	LateMost  time.Duration `json:"ready_after_redis_most_ns"`

	IdleRSS int64 `json:"idle_rss_bytes"`
	BusyRSS int64 `json:"busy_rss_bytes"` // the most that was seen
	Busy    int   `json:"busy_jobs"`      // done meanwhile
	Slots   int   `json:"slots"`
}

// measure takes all figures.
func measure(ctx context.Context, dir string, s settings) (report, error) {
	r := newReport(s.rounds)
	info, err := os.Stat(s.binary)
	if err != nil {
		return r, fmt.Errorf("find the program: %w", err)
	}
	r.Binary = info.Size()
	redis, err := peers.StartRedis(dir)
	if err != nil {
		return r, err
	}
	defer func() { _ = redis.Kill() }()
	site, err := program.New(s.binary, dir, redis.URL())
	if err != nil {
		return r, err
	}
	if err := site.Init(); err != nil {
		return r, err
	}
	if err := r.starts(ctx, site, redis); err != nil {
		return r, err
	}
	return r, r.memory(ctx, site, s)
}

// starts measures both kinds of starts, by turns.
func (r *report) starts(ctx context.Context, site *program.Site, redis *peers.Redis) error {
	var ready, late, used []time.Duration
	for range r.Rounds {
		took, cpu, err := started(ctx, site, nil)
		if err != nil {
			return err
		}
		ready, used = append(ready, took), append(used, cpu)
		if err := redis.Kill(); err != nil {
			return err
		}
		took, _, err = started(ctx, site, func() (time.Time, error) {
			select {
			case <-time.After(lateness):
			case <-ctx.Done():
				return time.Time{}, ctx.Err()
			}
			err := redis.Start() // returns when it answers
			return time.Now(), err
		})
		if err != nil {
			return err
		}
		late = append(late, took)
	}
	r.Ready, r.ReadyMost = middle(ready), slices.Max(ready)
	r.Late, r.LateMost = middle(late), slices.Max(late)
	r.ReadyCPU = middle(used)
	return nil
}

// started starts the program and returns how long it took to be ready, and the
// processor time it had used then. The time counts from the start, or from what
// from returns, which runs while the program waits for its Redis.
func started(ctx context.Context, site *program.Site, from func() (time.Time, error)) (took, cpu time.Duration, err error) {
	began := time.Now()
	srv, err := site.Launch()
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, srv.Kill()) }()
	if from != nil {
		if began, err = from(); err != nil {
			return 0, 0, err
		}
	}
	if err := awaitReady(ctx, srv); err != nil {
		return 0, 0, err
	}
	took = max(0, time.Since(began))
	cpu, err = srv.CPU()
	return took, cpu, err
}

// awaitReady asks until the program says that it is ready.
func awaitReady(ctx context.Context, srv *program.Server) error {
	for end := time.Now().Add(startLimit); ; {
		err := srv.Ready()
		if err == nil {
			return nil
		}
		if !srv.Running() || time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("the program does not become ready: %w\n%s", err, srv.LogTail())
		}
		<-time.After(look)
	}
}

// memory reads the memory of an idle process and of one with all slots in use.
func (r *report) memory(ctx context.Context, site *program.Site, s settings) error {
	var done atomic.Int64
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // a broken request is for the program to send again
		done.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	srv, err := site.Serve("SEALPOST_SLOTS="+strconv.Itoa(slots), "SEALPOST_LANE_SLOTS="+strconv.Itoa(slots))
	if err != nil {
		return err
	}
	defer func() { _ = srv.Kill() }()
	if err := awaitReady(ctx, srv); err != nil {
		return err
	}
	select {
	case <-time.After(s.idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.IdleRSS, err = rss(srv.Pid()); err != nil {
		return err
	}
	for end := time.Now().Add(s.work); time.Now().Before(end); {
		if err := post(site, sink.URL); err != nil {
			return err
		}
		now, err := rss(srv.Pid())
		if err != nil {
			return err
		}
		r.BusyRSS = max(r.BusyRSS, now)
	}
	r.Busy = int(done.Load())
	if r.Busy == 0 {
		return fmt.Errorf("no job was done: %s", srv.LogTail())
	}
	return nil
}

// post enqueues a batch and waits while more than a batch is still to do.
func post(site *program.Site, url string) error {
	job := fmt.Sprintf(`{"action":{"type":"post","url":%q},"data":[{"variable":"v","value":1}]}`, url+"/")
	if _, err := site.Send(slices.Repeat([]string{job}, batch)...); err != nil {
		return err
	}
	return peers.Wait(startLimit, "the jobs", func() error {
		states, err := site.States()
		if err != nil {
			return err
		}
		if states["ready"] > batch {
			return fmt.Errorf("%d jobs are ready", states["ready"])
		}
		return nil
	})
}

// rss is the memory that the process has in RAM.
func rss(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a process: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("read the memory of process %d: no VmRSS", pid)
}

func middle(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
