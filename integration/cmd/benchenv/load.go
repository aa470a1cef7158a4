package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

// warmUp is how long a peer is under load before anything counts.
const warmUp = 500 * time.Millisecond

// entrant is one peer with one kind of request.
type entrant struct {
	name    string
	process *peers.Process
	redis   *peers.Process
	url     string
	status  int // that every answer must have
	header  map[string]string
}

// row is what was measured of an entrant. Times for one request are processor
// times.
type row struct {
	Name      string        `json:"name"`
	PerSecond float64       `json:"requests_per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	Server    time.Duration `json:"server_ns"`
	Redis     time.Duration `json:"redis_ns"`
	Load      time.Duration `json:"load_generator_ns"`
}

// The places of the entrants that ratios are made of.
const (
	ofBare = iota
	ofGet
	ofEnvironment
	ofSame
	ofLarge
)

// entrants are all who take part, at the places above.
func (w *world) entrants() []entrant {
	redis, server := w.small.redis.Process(), w.small.server
	asks := map[string]string{"token": w.small.token}
	all := []entrant{
		{"bare net/http, answer in memory", w.bare, redis, w.bareURL + memoryPath, http.StatusOK, nil},
		{"bare net/http, one GET of Redis", w.bare, redis, w.bareURL + environmentPath, http.StatusOK, nil},
		{"environment", server.Process, redis, server.API + environmentPath, http.StatusOK, asks},
		{"environment, not changed", server.Process, redis, server.API + environmentPath, http.StatusNotModified,
			map[string]string{"token": w.small.token, "If-None-Match": w.small.etag}},
	}
	if w.large != nil {
		server := w.large.server
		all = append(all, entrant{"environment, large store", server.Process, w.large.redis.Process(),
			server.API + environmentPath, http.StatusOK, map[string]string{"token": w.large.token}})
	}
	return all
}

// measure runs all rounds and returns the medians.
func measure(ctx context.Context, w *world, s settings, wrk string) ([]row, error) {
	entrants := w.entrants()
	rounds := make([][]row, len(entrants))
	for round := range s.rounds {
		for i, e := range entrants {
			if _, err := e.load(ctx, wrk, s.connections, min(warmUp, s.turn)); err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			got, err := e.load(ctx, wrk, s.connections, s.turn)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			rounds[i] = append(rounds[i], got)
			fmt.Fprintf(os.Stderr, "round %d: %-32s %7.0f/s, p99 %v\n", round+1, e.name, got.PerSecond, got.P99.Round(10*time.Microsecond))
		}
	}
	rows := make([]row, len(entrants))
	for i, all := range rounds {
		rows[i] = median(all)
	}
	return rows, nil
}

// load puts an entrant under load from so many connections for the time.
func (e entrant) load(ctx context.Context, wrk string, connections int, turn time.Duration) (row, error) {
	server, err := e.process.CPU()
	if err != nil {
		return row{}, err
	}
	redis, err := e.redis.CPU()
	if err != nil {
		return row{}, err
	}
	by := e.byClients
	if wrk != "" {
		by = func(ctx context.Context, connections int, turn time.Duration) (answered, error) {
			return e.byWrk(ctx, wrk, connections, turn)
		}
	}
	a, err := by(ctx, connections, turn)
	if err != nil {
		return row{}, err
	}
	server2, err := e.process.CPU()
	if err != nil {
		return row{}, err
	}
	redis2, err := e.redis.CPU()
	if err != nil {
		return row{}, err
	}
	n := time.Duration(a.requests)
	return row{
		Name: e.name, PerSecond: a.perSecond, P50: a.p50, P99: a.p99,
		Server: (server2 - server) / n, Redis: (redis2 - redis) / n, Load: a.cpu / n,
	}, nil
}

// byClients is the load by clients of our own.
func (e entrant) byClients(ctx context.Context, connections int, turn time.Duration) (answered, error) {
	self, err := ownCPU()
	if err != nil {
		return answered{}, err
	}
	taken := make([][]time.Duration, connections)
	errs := make([]error, connections)
	began := time.Now()
	var clients sync.WaitGroup
	for i := range connections {
		clients.Go(func() { taken[i], errs[i] = e.client(ctx, began.Add(turn)) })
	}
	clients.Wait()
	elapsed := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return answered{}, err
	}
	all := slices.Concat(taken...)
	slices.Sort(all)
	self2, err := ownCPU()
	n := len(all)
	return answered{requests: n, perSecond: float64(n) / elapsed.Seconds(), p50: all[n/2], p99: all[n*99/100], cpu: self2 - self}, err
}

// ownCPU is the processor time that this program has used.
func ownCPU() (time.Duration, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, fmt.Errorf("read the CPU time of the load generator: %w", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}

// client sends one request after the other on one connection until the time has
// come, and at least one. It writes the request as bytes made once: the
// generator shares the machine with what it measures.
func (e entrant) client(ctx context.Context, until time.Time) ([]time.Duration, error) {
	u, err := url.Parse(e.url)
	if err != nil {
		return nil, fmt.Errorf("parse the address: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: %s\r\n", u.Path, u.Host)
	for name, value := range e.header {
		fmt.Fprintf(&text, "%s: %s\r\n", name, value)
	}
	request := []byte(text.String() + "\r\n")

	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	answers := bufio.NewReader(c)
	var taken []time.Duration
	for {
		began := time.Now()
		if _, err := c.Write(request); err != nil {
			return nil, fmt.Errorf("send: %w", err)
		}
		if err := e.read(answers); err != nil {
			return nil, err
		}
		now := time.Now()
		taken = append(taken, now.Sub(began))
		if now.After(until) {
			return taken, nil
		}
	}
}

// read reads one whole answer, which must have the right status.
func (e entrant) read(answers *bufio.Reader) error {
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	return statusError(resp.StatusCode, e.status)
}

// median takes the median of each figure by itself.
func median(rows []row) row {
	out := rows[0]
	slices.SortFunc(rows, func(a, b row) int { return int(a.PerSecond - b.PerSecond) })
	out.PerSecond = rows[len(rows)/2].PerSecond
	for _, of := range []func(*row) *time.Duration{
		func(r *row) *time.Duration { return &r.P50 }, func(r *row) *time.Duration { return &r.P99 },
		func(r *row) *time.Duration { return &r.Server }, func(r *row) *time.Duration { return &r.Redis },
		func(r *row) *time.Duration { return &r.Load },
	} {
		var all []time.Duration
		for _, r := range rows {
			all = append(all, *of(&r))
		}
		slices.Sort(all)
		*of(&out) = all[len(all)/2]
	}
	return out
}
