package main

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/sealpost/sealpost/config"
	"github.com/sealpost/sealpost/secrets/redact"
)

// newLogger returns the logger of a process. Values that this process was
// started with (master key, Redis password, token) are taken out of every
// attribute, whoever wrote it; secrets of the store never get that far. The
// words of Go's own log are muted from then on.
func newLogger(w io.Writer, cfg config.Config) *slog.Logger {
	known := []redact.String{cfg.MasterKey, cfg.Redis.Password, cfg.Redis.SentinelPassword, cfg.Token}
	options := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: scrubber(known)}
	logger := slog.New(slog.NewJSONHandler(w, options))
	if cfg.LogFormat == "text" {
		logger = slog.New(slog.NewTextHandler(w, options))
	}
	log.SetOutput(muted{logger})
	return logger
}

// muted is the output of package log. net/http writes there what a server sends
// on a kept connection out of turn ("Unsolicited response received ..."), as it
// stands; a hostile receiver could repeat our token in it.
type muted struct{ logger *slog.Logger }

// Write says that there was something, without its words.
func (m muted) Write(p []byte) (int, error) {
	m.logger.Debug("a library wrote to its own log; its words are not shown", "bytes", len(p))
	return len(p), nil
}

// scrubber returns a ReplaceAttr that scrubs text and errors. A stack is many
// lines long, written by the runtime and without values, and stays whole.
func scrubber(known []redact.String) func([]string, slog.Attr) slog.Attr {
	return func(_ []string, attr slog.Attr) slog.Attr {
		if attr.Key == "stack" || attr.Key == slog.LevelKey || attr.Key == slog.TimeKey {
			return attr
		}
		switch value := attr.Value.Resolve(); value.Kind() {
		case slog.KindString:
			attr.Value = slog.StringValue(scrubLines(value.String(), known))
		case slog.KindAny:
			switch v := value.Any().(type) {
			case error:
				attr.Value = slog.StringValue(scrubLines(v.Error(), known))
			case fmt.Stringer:
				attr.Value = slog.StringValue(scrubLines(v.String(), known))
			}
		}
		return attr
	}
}

// scrubLines scrubs each line by itself, since Scrub cuts what it is given:
// joined errors have a line each.
func scrubLines(text string, known []redact.String) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = redact.Scrub(line, known...)
	}
	return strings.Join(lines, "\n")
}
