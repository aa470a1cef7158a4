package queue_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sealpost/sealpost/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformRedis(t *testing.T) { queuetest.Conform(t, queuetest.Redis) }

func TestConformInMemory(t *testing.T) { queuetest.Conform(t, queuetest.Mini) }
