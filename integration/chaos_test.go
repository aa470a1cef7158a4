package integration_test

import (
	"os"
	"testing"

	"github.com/sealpost/sealpost/integration/chaos"
	"github.com/sealpost/sealpost/integration/peers"
)

func TestNothingIsLostWhenWorkersAreKilled(t *testing.T) {
	peers.NewRedis(t) // skips where there is none
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c := chaos.Config{Binary: path, Dir: peers.Dir(t), Jobs: 10_000, Seed: 1, Logf: t.Logf}
	if testing.Short() {
		c.Jobs = 1000
	}
	if os.Getenv("SEALPOST_TEST_LONG") != "" {
		c.Jobs = 100_000
	}
	got, err := chaos.Run(t.Context(), c)
	t.Log(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Err(); err != nil {
		t.Error(err)
	}
	if got.Accepted != c.Jobs || got.Delivered+got.Dead != c.Jobs {
		t.Errorf("accepted %d, delivered %d, dead %d, want %d", got.Accepted, got.Delivered, got.Dead, c.Jobs)
	}
	if got.Kills == 0 {
		t.Error("no worker was killed: the run showed nothing")
	}
	// A kill repeats at most what was in flight: a lane of 32 and its neighbours.
	if limit := 64 * got.Kills; got.Duplicated > limit {
		t.Errorf("%d mails came again after %d kills, want at most %d", got.Duplicated, got.Kills, limit)
	}
}
