package queue_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
)

// A cluster refuses scripts whose keys are in two slots; one node shows that
// as well as six.
func TestConformCluster(t *testing.T) {
	bus, err := queuetest.FreePort() // the usual one, 10000 above the other, may be somebody else's
	if err != nil {
		t.Fatalf("find a port: %v", err)
	}
	server := queuetest.NewServer(t, "--cluster-enabled", "yes", "--appendonly", "no", "--cluster-port", strconv.Itoa(bus))
	node := dial(t, server.Addr())
	if err := node.ClusterAddSlotsRange(context.Background(), 0, 16383).Err(); err != nil {
		t.Fatalf("CLUSTER ADDSLOTSRANGE: %v", err)
	}
	queuetest.Eventually(t, "the cluster is up", func() bool {
		return node.Set(context.Background(), "probe", "1", 0).Err() == nil
	})
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}, MaxRetries: -1, PoolSize: 50})
	t.Cleanup(func() { _ = rdb.Close() })
	queuetest.Conform(t, func(testing.TB) (redis.UniversalClient, string) { return rdb, queuetest.Prefix() })
}
