package queuetest

import (
	"testing"

	"github.com/sealpost/sealpost/faultline"
)

// NewLine opens a line that can fail to the server at target, for one test.
func NewLine(t testing.TB, target string) *faultline.Line {
	t.Helper()
	line, err := faultline.Open(target)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	t.Cleanup(line.Close)
	return line
}
