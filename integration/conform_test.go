package integration_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/integration/container"
	"github.com/sealpost/sealpost/queue/queuetest"
)

func TestTheQueueConformsOnRedisInAContainer(t *testing.T) {
	db := container.NewRedis(t)
	queuetest.Conform(t, func(testing.TB) (redis.UniversalClient, string) { return db, queuetest.Prefix() })
}
