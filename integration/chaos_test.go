package integration_test

import (
	"os"
	"testing"
	"time"

	"github.com/sealpost/sealpost/drill"
	"github.com/sealpost/sealpost/integration/peers"
)

// chaosRun does a run and fails the test if a job is lost or a duplicate has no cause.
func chaosRun(t *testing.T, c drill.Config) drill.Result {
	t.Helper()
	if testing.Short() {
		c.Jobs = 1000
	}
	if os.Getenv("SEALPOST_TEST_LONG") != "" {
		c.Jobs = 100_000
	}
	got := drillRun(t, c)
	if got.Accepted != c.Jobs || got.Delivered+got.Dead != c.Jobs {
		t.Errorf("accepted %d, delivered %d, dead %d, want %d", got.Accepted, got.Delivered, got.Dead, c.Jobs)
	}
	if got.Kills == 0 {
		t.Error("no worker was killed: the run showed nothing")
	}
	return got
}

// drillRun does any run.
func drillRun(t *testing.T, c drill.Config) drill.Result {
	t.Helper()
	peers.NewRedis(t) // skips where there is none
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c.Binary, c.Dir, c.Seed = path, peers.Dir(t), 1
	got, err := drill.Run(t.Context(), c)
	t.Log(got, got.Causes, got.Unknown)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Err(); err != nil {
		t.Error(err)
	}
	return got
}

func TestNothingIsLostWhenWorkersAreKilled(t *testing.T) {
	got := chaosRun(t, drill.Config{Jobs: 10_000, Quiet: true})
	// A kill repeats at most what was in flight: a lane of 32 and its neighbours.
	if limit := 64 * got.Kills; got.Duplicated > limit {
		t.Errorf("%d mails came again after %d kills, want at most %d", got.Duplicated, got.Kills, limit)
	}
}

func TestEachDuplicateHasACause(t *testing.T) {
	got := chaosRun(t, drill.Config{Jobs: 1500})
	if got.RedisKills == 0 || len(got.Faults) < 12 {
		t.Errorf("redis-server was killed %d times, %d kinds of faults, want some and 12", got.RedisKills, len(got.Faults))
	}
	if got.Refused == 0 || got.Parked == 0 {
		t.Errorf("%d refused logins, %d parked jobs: the password was never wrong", got.Refused, got.Parked)
	}
	if len(got.LineFaults) < 12 {
		t.Errorf("%d kinds of faults of three lines, want at least 12 of 18: %v", len(got.LineFaults), got.LineFaults)
	}
	if got.Duplicated == 0 {
		t.Error("no duplicate at all: the sink cut no reply, the run showed nothing")
	}
}

func TestARollingRestartSendsNothingTwice(t *testing.T) {
	got := drillRun(t, drill.Config{Rolling: time.Second, For: 5 * time.Second, Rate: 100})
	if got.Restarts < 3 || got.Delivered < 400 || got.Duplicated > 0 {
		t.Errorf("%d restarts, %d delivered, %d twice, want some, some and none", got.Restarts, got.Delivered, got.Duplicated)
	}
}

// The figures themselves are for make chaos-long, on a machine of its own.
func TestWorkGoesOnWhenRedisIsBack(t *testing.T) {
	got := drillRun(t, drill.Config{Outages: true, RedisEach: time.Second, For: 5 * time.Second, Rate: 50})
	if got.RedisKills == 0 || got.FirstJob == nil {
		t.Errorf("%d kills of redis-server, first mail after %v, want some", got.RedisKills, got.FirstJob)
	}
}
