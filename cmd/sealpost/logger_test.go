package main

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/config"
)

func TestTheLogOfLibrariesIsMuted(t *testing.T) {
	before := log.Writer()
	t.Cleanup(func() { log.SetOutput(before) })
	var out bytes.Buffer
	newLogger(&out, config.Config{LogLevel: slog.LevelDebug})
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q", "canary")
	if got := out.String(); strings.Contains(got, "canary") || !strings.Contains(got, "its words are not shown") {
		t.Errorf("got %s", got)
	}
}
