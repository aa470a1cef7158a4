package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

// report is everything a reader needs to judge the figures.
type report struct {
	Date   string `json:"date"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Redis  string `json:"redis"`
	AOF    bool   `json:"append_only_file"`
	Bytes  int    `json:"job_bytes"`
	Rounds int    `json:"rounds"`
	Rows   []row  `json:"rows"`
	// Ratios are drain rates of Sealpost over asynq's, by concurrency.
	Ratios map[string]float64 `json:"drain_ratio_to_asynq"`
}

// newReport describes the machine and compares the rows.
func newReport(ctx context.Context, r *peers.Redis, s settings, rows []row) (report, error) {
	c := r.Client()
	defer c.Close()
	info, err := c.Info(ctx, "server").Result()
	if err != nil {
		return report{}, fmt.Errorf("ask Redis for its version: %w", err)
	}
	return report{
		Date: time.Now().UTC().Format(time.DateOnly), CPU: cpuModel(), Cores: runtime.NumCPU(),
		Go: runtime.Version(), Redis: field(info, "redis_version:"), AOF: s.aof,
		Bytes: len(payload), Rounds: s.rounds, Rows: rows, Ratios: ratios(rows),
	}, nil
}

// ratios divides the drain rates at each concurrency.
func ratios(rows []row) map[string]float64 {
	out := map[string]float64{}
	for _, ours := range rows {
		for _, theirs := range rows {
			if ours.Name == "sealpost" && theirs.Name == "asynq" && ours.Concurrency == theirs.Concurrency {
				out[fmt.Sprint(ours.Concurrency)] = ours.Drain / theirs.Drain
			}
		}
	}
	return out
}

// cpuModel is the processor's name, "unknown" where there is no /proc.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	return strings.TrimLeft(field(string(text), "model name"), "\t :")
}

// field returns the rest of the first line that begins with a prefix.
func field(text, prefix string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}

// markdown is the report as people read it.
func (r report) markdown() string {
	var b strings.Builder
	aof := "no append-only file"
	if r.AOF {
		aof = "append-only file, flushed each second"
	}
	fmt.Fprintf(&b, "# The queue alone, beside asynq\n\nMade by `make bench` on %s: %d cores of %s, %s, redis-server %s, %s.\n",
		r.Date, r.Cores, r.CPU, r.Go, r.Redis, aof)
	fmt.Fprintf(&b, "Client and Redis share the machine. A job has %d bytes, its handler counts and does nothing else.\n", r.Bytes)
	fmt.Fprintf(&b, "Medians of %d round(s) in which the peers took turns; asynq v0.26.0.\n\n", r.Rounds)
	b.WriteString("| peer | jobs at once | enqueue /s | drain /s | drain: client µs a job | Redis µs a job | bytes of a waiting job |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range r.Rows {
		at := "-"
		if row.Concurrency > 0 {
			at = fmt.Sprint(row.Concurrency)
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.0f | %.1f | %.1f | %.0f |\n",
			row.Name, at, row.Enqueue, row.Drain, row.ClientCPU, row.RedisCPU, row.Memory)
	}
	b.WriteString("\nDrain of sealpost over that of asynq:")
	for _, row := range r.Rows {
		if ratio, ok := r.Ratios[fmt.Sprint(row.Concurrency)]; ok && row.Name == "sealpost" {
			fmt.Fprintf(&b, " %.1fx at %d;", ratio, row.Concurrency)
		}
	}
	out := strings.TrimSuffix(b.String(), ";") + ".\n"
	return out + "\nNot the same work: sealpost checks each job's JSON and, but in the rows without, records each\n" +
		"attempt for a day, and its drain ends when the last outcome is written. asynq keeps statistics by\n" +
		"day, and its drain ends when the last handler has run. It has no call to enqueue many, so 16\n" +
		"goroutines enqueue one by one; sealpost enqueues in batches of 100 from two goroutines.\n"
}

// write puts queue.md and queue.json into dir.
func (r report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the report: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "queue.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "queue.md"), []byte(r.markdown()), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
