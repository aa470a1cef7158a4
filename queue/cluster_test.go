package queue_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue/queuetest"
)

// A cluster refuses scripts whose keys are in two slots; one node shows that
// as well as six.
func TestConformCluster(t *testing.T) {
	server := queuetest.NewServer(t, "--cluster-enabled", "yes", "--appendonly", "no")
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
