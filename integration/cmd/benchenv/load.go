package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

// warmUp is how long a peer is under load before anything counts.
const warmUp = 500 * time.Millisecond

// entrant is one peer with one kind of request.
type entrant struct {
	name    string
	process *peers.Process
	url     string
	status  int // that every answer must have
	header  map[string]string
}

// row is what was measured of an entrant.
type row struct {
	name      string
	perSecond float64
	p50, p99  time.Duration
	server    time.Duration // processor time for one request
	redis     time.Duration // processor time of Redis for one request
}

// measure runs all rounds and returns the medians, the bare handler first.
func measure(ctx context.Context, w *world, s settings) ([]row, error) {
	entrants := []entrant{
		{"bare handler, one GET", w.bare, w.bareURL, http.StatusOK, nil},
		{"environment", w.server.Process, w.api, http.StatusOK, map[string]string{"token": w.token}},
		{"environment, not changed", w.server.Process, w.api, http.StatusNotModified, map[string]string{"token": w.token, "If-None-Match": w.etag}},
	}
	rounds := make([][]row, len(entrants))
	for round := range s.rounds {
		for i, e := range entrants {
			if _, err := e.load(ctx, w, s.connections, min(warmUp, s.turn)); err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			got, err := e.load(ctx, w, s.connections, s.turn)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			rounds[i] = append(rounds[i], got)
			fmt.Fprintf(os.Stderr, "round %d: %-26s %7.0f/s, p99 %v\n", round+1, e.name, got.perSecond, got.p99.Round(10*time.Microsecond))
		}
	}
	rows := make([]row, len(entrants))
	for i, all := range rounds {
		rows[i] = median(all)
	}
	return rows, nil
}

// load puts an entrant under load from so many connections for the time.
func (e entrant) load(ctx context.Context, w *world, connections int, turn time.Duration) (row, error) {
	server, err := e.process.CPU()
	if err != nil {
		return row{}, err
	}
	redis, err := w.redis.Process().CPU()
	if err != nil {
		return row{}, err
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
	for _, err := range errs {
		if err != nil {
			return row{}, err
		}
	}
	all := slices.Concat(taken...)
	slices.Sort(all)
	server2, err := e.process.CPU()
	if err != nil {
		return row{}, err
	}
	redis2, err := w.redis.Process().CPU()
	if err != nil {
		return row{}, err
	}
	n := len(all)
	return row{
		name: e.name, perSecond: float64(n) / elapsed.Seconds(), p50: all[n/2], p99: all[n*99/100],
		server: (server2 - server) / time.Duration(n), redis: (redis2 - redis) / time.Duration(n),
	}, nil
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
	fmt.Fprintf(&text, "GET /environment HTTP/1.1\r\nHost: %s\r\n", u.Host)
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
	slices.SortFunc(rows, func(a, b row) int { return int(a.perSecond - b.perSecond) })
	out.perSecond = rows[len(rows)/2].perSecond
	for _, of := range []func(*row) *time.Duration{
		func(r *row) *time.Duration { return &r.p50 }, func(r *row) *time.Duration { return &r.p99 },
		func(r *row) *time.Duration { return &r.server }, func(r *row) *time.Duration { return &r.redis },
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
