package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/secrets/redact"
)

func TestTablesAreHarmlessOnATerminal(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out}
	err := a.printTable([]string{"A", "B"}, [][]string{{"x\x1b[2Jy", ""}, {"line\nbreak", "ünïcode"}})
	if err != nil {
		t.Fatalf("printTable: %v", err)
	}
	want := "A           B\nx?[2Jy      -\nline?break  ünïcode\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgressInALogIsALineNowAndThen(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out}
	p := a.progress("send", 200)
	p.at(50, "50 jobs")
	if out.Len() > 0 {
		t.Errorf("at once: got %q, want nothing", out.String())
	}
	p.start, p.last = p.start.Add(-linePause), p.last.Add(-linePause)
	p.at(100, "100 jobs")
	p.at(101, "101 jobs")
	p.end()
	if got, want := out.String(), "send: 100 jobs, 50 %, 10s left\n"; got != want {
		t.Errorf("after a while: got %q, want %q", got, want)
	}
}

func TestLogsHoldNoKnownSecret(t *testing.T) {
	cfg := config.Config{MasterKey: redact.New("canary-master"), Token: redact.New("canary-token"),
		Redis: config.Redis{Password: redact.New("canary-redis")}, LogLevel: slog.LevelInfo}
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			cfg.LogFormat = format
			log := newLogger(&out, cfg)
			log.Info("a", "text", "my canary-master", "err", fmt.Errorf("dial: %w", errors.New("AUTH canary-redis")))
			log.WithGroup("g").With("x", "canary-token").Error("b", "two", errors.Join(errors.New("first"), errors.New("canary-redis")),
				"value", cfg.MasterKey, "took", time.Second)
			log.Debug("c")
			got := out.String()
			if strings.Contains(got, "canary") || strings.Count(strings.TrimSpace(got), "\n") != 1 {
				t.Errorf("got %s, want two lines without a canary", got)
			}
			if !strings.Contains(got, "first") || !strings.Contains(got, redact.Placeholder) {
				t.Errorf("got %s, want the rest of the text", got)
			}
		})
	}
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9464": "127.0.0.1:9464", "0.0.0.0:9464": "127.0.0.1:9464", "[::]:9464": "127.0.0.1:9464",
		":9464": "127.0.0.1:9464", "[::1]:1": "[::1]:1", "host:1": "host:1",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("reachable(%q): got %q, want %q", listen, got, want)
		}
	}
}
