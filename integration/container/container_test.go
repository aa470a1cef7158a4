package container_test

import (
	"testing"

	"github.com/sealpost/sealpost/integration/container"
)

func TestRedisInAContainer(t *testing.T) {
	db := container.NewRedis(t)
	if err := db.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Get(t.Context(), "k").Result(); got != "v" || err != nil {
		t.Errorf("got %q, %v, want v", got, err)
	}
}
