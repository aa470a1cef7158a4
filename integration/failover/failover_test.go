package failover_test

import (
	"flag"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/sealpost/sealpost/integration/failover"
	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait; more of them at once than there are cores cuts
	// minutes to seconds.
	if err := flag.Set("test.parallel", "12"); err != nil {
		os.Exit(1)
	}
	redis.SetLogger(&logging.VoidLogger{}) // each failover breaks all connections
	os.Exit(m.Run())
}

func TestConformSentinel(t *testing.T) {
	s := peers.NewSentinel(t)
	rdb := s.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	queuetest.Conform(t, func(testing.TB) (redis.UniversalClient, string) { return rdb, queuetest.Prefix() })
}

func TestConformCluster(t *testing.T) {
	c := peers.NewCluster(t)
	rdb := c.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	queuetest.Conform(t, func(testing.TB) (redis.UniversalClient, string) { return rdb, queuetest.Prefix() })
}

// runOnce does the short form; make failover does the long one. It runs alone: a
// machine that is busy with other tests looks dead to sentinels, and they go on
// to fail over what works.
func runOnce(t *testing.T, c failover.Config) failover.Result {
	t.Helper()
	if os.Getenv("SEALPOST_TEST_ALONE") == "" {
		t.Skip("kills of a primary under load need the machine for themselves: make failover-short")
	}
	c.Dir, c.Failovers, c.Logf = peers.Dir(t), 2, t.Logf
	result, err := failover.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(result)
	return result
}

func TestNoAcknowledgedJobIsLostByFailoversAtLevelReplica(t *testing.T) {
	for name, cluster := range map[string]bool{"sentinel": false, "cluster": true} {
		t.Run(name, func(t *testing.T) { // one after the other: a machine too busy looks dead to sentinels
			result := runOnce(t, failover.Config{Cluster: cluster, Level: queue.Replica})
			if err := result.Err(); err != nil {
				t.Error(err)
			}
			if result.Accepted < 50 || result.Resent == 0 {
				t.Errorf("got %+v; want a load that the failovers disturb", result)
			}
		})
	}
}

// What memory costs is measured, not judged; but all that was accepted and not in
// the last moments before a kill must be there.
func TestFailoversAtLevelMemoryLoseOnlyTheLag(t *testing.T) {
	result := runOnce(t, failover.Config{Level: queue.Memory})
	if result.Accepted < 200 || result.Lost == 0 || result.Lost > result.Accepted/2 {
		t.Errorf("got %+v; want some loss, or the test has no lag, and less than half", result)
	}
}
