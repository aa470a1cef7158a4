// Package container starts peers in containers, where a Docker engine answers.
// It is apart from package peers so that only those who need a container
// depend on the many modules that come with one.
package container

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/testcontainers/testcontainers-go"
	tcredis "github.com/testcontainers/testcontainers-go/modules/redis"
)

// ImageEnv names the variable that holds another image of Redis than
// [DefaultImage], such as the one that integration/docker/make-image.sh makes.
const ImageEnv = "SEALPOST_TEST_REDIS_IMAGE"

// DefaultImage is what testcontainers pulls when nothing else is said.
const DefaultImage = "redis:7"

// startLimit covers a pull of the image over a slow line.
const startLimit = 3 * time.Minute

// NewRedis starts Redis in a container that ends with the test, and returns a
// client of it without silent retries. It skips the test when no engine
// answers.
func NewRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	testcontainers.SkipIfProviderIsNotHealthy(t)
	image := os.Getenv(ImageEnv)
	if image == "" {
		image = DefaultImage
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	c, err := tcredis.Run(ctx, image)
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatalf("start %s: %v", image, err)
	}
	addr, err := c.Endpoint(ctx, "")
	if err != nil {
		t.Fatalf("find the port of %s: %v", image, err)
	}
	db := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, PoolSize: 50})
	t.Cleanup(func() { _ = db.Close() })
	return db
}
