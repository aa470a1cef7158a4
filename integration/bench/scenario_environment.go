package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// environment is the answer to GET /environment beside a bare handler. It is
// measured by integration/cmd/benchenv, which has rounds of its own.
type environment struct{}

func (environment) name() string { return "environment" }

// The sides, as benchenv calls them.
const (
	envBare  = "bare net/http, answer in memory"
	envOurs  = "environment"
	envLarge = "environment, large store"
)

// envRow is a row of environment.json.
type envRow struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"requests_per_second"`
	P50       float64 `json:"p50_ns"`
	P99       float64 `json:"p99_ns"`
	Server    float64 `json:"server_ns"`
	Redis     float64 `json:"redis_ns"`
}

func (environment) open(ctx context.Context, w *world) ([]side, error) {
	rows, err := w.benchenv(ctx)
	if err != nil {
		return nil, err
	}
	var sides []side
	for _, r := range rows {
		f := figures{
			rate: r.PerSecond, p50: r.P50 / 1e6, p99: r.P99 / 1e6, // ns to ms
			client: r.Server / 1e3, server: r.Redis / 1e3, // ns to µs
		}
		sides = append(sides, side{name: r.Name, turn: func(context.Context) (figures, error) { return f, nil }})
	}
	return sides, nil
}

// benchenv runs the other benchmark. Its report goes beside ours.
func (w *world) benchenv(ctx context.Context) ([]envRow, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	out := w.dir
	if w.out != "" {
		if out, err = filepath.Abs(w.out); err != nil {
			return nil, fmt.Errorf("find the directory of the report: %w", err)
		}
	}
	args := []string{"run", "./integration/cmd/benchenv", "-out", out, "-rounds", strconv.Itoa(w.rounds)}
	if w.short {
		args = append(args, "-others", "50", "-for", "200ms")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run benchenv: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(out, "environment.json"))
	if err != nil {
		return nil, fmt.Errorf("read the report of benchenv: %w", err)
	}
	var report struct{ Rows []envRow }
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("decode the report of benchenv: %w", err)
	}
	if len(report.Rows) == 0 {
		return nil, errors.New("the report of benchenv is empty")
	}
	return report.Rows, nil
}

func (environment) rows(r results) []row {
	return []row{
		r.compare("environment of 20 keys, 64 connections", rate, envOurs, envBare, goal{is: 0.6}),
		r.compare("environment, large store beside a small one", rate, envLarge, envOurs, goal{is: 0.9}),
	}
}
