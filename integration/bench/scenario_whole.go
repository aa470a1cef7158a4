package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

// site is one installation of the built program on a Redis of its own.
type site struct {
	*program.Site
	rdb    redis.UniversalClient
	redis  *redis.Client // for INFO
	server *program.Server
}

// readyLimit is for the program to be ready: 150 ms on a quiet machine.
const readyLimit = 30 * time.Second

// install starts a Redis and the program, with its defaults but for env, and
// seals a secret.
func (w *world) install(key string, secret any, env ...string) (*site, error) {
	binary, err := w.program()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(w.dir, "site-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	r, err := peers.StartRedis(dir, w.durable()...)
	if err != nil {
		return nil, err
	}
	w.later(func() { _ = r.Kill() })
	s := &site{rdb: connect(request{Redis: r.Addr}), redis: r.Client()}
	w.later(func() { _ = errors.Join(s.rdb.Close(), s.redis.Close()) })
	if s.Site, err = program.New(binary, dir, r.URL()); err != nil {
		return nil, err
	}
	if err := s.Init(); err != nil {
		return nil, err
	}
	if s.server, err = s.Serve(append(env, "SEALPOST_LOG_LEVEL=warn")...); err != nil {
		return nil, err
	}
	w.later(func() { _ = s.server.Kill() })
	if err := peers.Wait(readyLimit, "readiness", s.server.Ready); err != nil {
		return nil, err
	}
	text, err := json.Marshal(secret)
	if err != nil {
		return nil, fmt.Errorf("encode a secret: %w", err)
	}
	_, err = s.PutSecret(key, string(text))
	return s, err
}

// durable are the options of every Redis.
func (w *world) durable() []string {
	return []string{"--appendonly", map[bool]string{true: "yes", false: "no"}[w.aof]}
}

// whole puts jobs into the queue of the running program, and measures until the
// sink has all. The rate is that of the arrivals, so that nobody's start counts.
func (s *site) whole(sink *process, job string, jobs int) func(context.Context) (figures, error) {
	return func(ctx context.Context) (figures, error) {
		return arriving(ctx, s.redis, sink, jobs, func() (float64, float64, error) {
			before, err := s.server.CPU()
			if err != nil {
				return 0, 0, err
			}
			if err := fill(ctx, s.rdb, 1, jobs, job); err != nil {
				return 0, 0, err
			}
			if _, err := sink.call(ctx, request{Op: "await"}); err != nil {
				return 0, 0, err
			}
			if err := settled(ctx, s.rdb, 1); err != nil {
				return 0, 0, err
			}
			after, err := s.server.CPU()
			if err != nil {
				return 0, 0, err
			}
			rss, err := highestOf(s.server.Pid())
			return (after - before).Seconds(), rss, err
		})
	}
}

// queued is the same of a peer: it enqueues first and then works.
func (w *world) queued(p, sink *process, r request) func(context.Context) (figures, error) {
	return func(ctx context.Context) (figures, error) {
		if err := w.empty(ctx); err != nil {
			return nil, err
		}
		fill := r
		fill.Op = "enqueue"
		if _, err := p.call(ctx, fill); err != nil {
			return nil, err
		}
		return arriving(ctx, w.rdb, sink, r.Jobs, func() (float64, float64, error) {
			a, err := p.call(ctx, r)
			return a.CPU, a.RSS, err
		})
	}
}

// arriving measures work of which the sink sees so many arrivals. The work says
// what processor time and memory its worker used.
func arriving(ctx context.Context, rdb *redis.Client, sink *process, jobs int, work func() (cpu, rss float64, err error)) (figures, error) {
	before, err := sink.call(ctx, request{Op: "expect", Jobs: jobs})
	if err != nil {
		return nil, err
	}
	redisBefore, err := redisCPU(ctx, rdb)
	if err != nil {
		return nil, err
	}
	cpu, rss, err := work()
	if err != nil {
		return nil, err
	}
	after, err := sink.call(ctx, request{Op: "await"})
	if err != nil {
		return nil, err
	}
	redisAfter, err := redisCPU(ctx, rdb)
	if err != nil {
		return nil, err
	}
	n := float64(jobs)
	return figures{
		rate: (n - 1) / after.Span, client: cpu * 1e6 / n, memory: rss,
		server: (after.Total - before.Total + redisAfter - redisBefore) * 1e6 / n,
	}, nil
}

// highestOf is the highest resident set of a process, in MB.
func highestOf(pid int) (float64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a process: %w", err)
	}
	kib, err := strconv.ParseFloat(strings.TrimSuffix(field(string(text), "VmHWM:"), " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("read the memory of a process: %w", err)
	}
	return kib / 1024, nil
}

// wholeMail is a job in Redis that becomes an accepted mail.
type wholeMail struct{}

func (wholeMail) name() string { return "whole-mail" }

// mailConnections of the secret of the program.
const mailConnections = 10

func (wholeMail) open(ctx context.Context, w *world) ([]side, error) {
	sink, to, err := w.mailSink(ctx)
	if err != nil {
		return nil, err
	}
	s, err := w.install("MAIL", map[string]any{
		"smtp_server": to.Host, "smtp_port": to.Port, "username": to.User, "password": to.Password,
		"ca_pem": to.CA, "max_connections": mailConnections,
	})
	if err != nil {
		return nil, err
	}
	sides := []side{{name: "sealpost serve", turn: s.whole(sink, ourMail(), w.some(10_000))}}
	for _, n := range w.sizes([]int{10, 50}) {
		p, err := w.goSide("asynq")
		if err != nil {
			return nil, err
		}
		r := request{Op: "mails", Redis: w.redis.Addr, Mail: to, Concurrency: n, Jobs: w.some(1000), Payload: peerMail()}
		sides = append(sides, side{name: fmt.Sprintf("asynq + DialAndSend at %d", n), turn: w.queued(p, sink, r)})
	}
	for _, n := range w.sizes([]int{10, 50}) {
		p, why, err := w.nodeSide(ctx, "bullmq.mjs")
		if err != nil {
			return nil, err
		}
		r := request{Op: "mails", Redis: w.redis.Addr, Mail: to, Concurrency: n, Jobs: w.some(3000), Payload: peerMail()}
		sides = append(sides, side{name: fmt.Sprintf("bullmq + nodemailer at %d", n), skip: why, turn: w.queued(p, sink, r)})
	}
	return sides, nil
}

func (wholeMail) rows(r results) []row {
	const what = "job in Redis to accepted mail, whole program"
	return []row{
		r.compare(what, rate, "sealpost serve", "asynq", goal{is: 10}),
		r.compare(what, rate, "sealpost serve", "bullmq", goal{is: 5}),
	}
}
