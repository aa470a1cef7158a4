package queue_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/queue/queuetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.steps"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("100"); err != nil { // moves in a row: a dead letter that is retried and done again needs many
			os.Exit(1)
		}
	}
	// The tests mostly wait, for leases and timers; more of them at once than
	// there are cores cuts minutes to seconds.
	if err := flag.Set("test.parallel", "12"); err != nil {
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func TestConformRedis(t *testing.T) { queuetest.Conform(t, queuetest.Redis) }

func TestConformInMemory(t *testing.T) { queuetest.Conform(t, queuetest.Mini) }
