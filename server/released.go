package server

import (
	"context"
	"fmt"
	"sync/atomic"
)

type releasedKey struct{}

// Released tells the request that ctx belongs to, if any, that so many parked jobs
// go on. The hook of secrets.Store.OnChange calls it.
func Released(ctx context.Context, jobs int) {
	if n, ok := ctx.Value(releasedKey{}).(*atomic.Int64); ok {
		n.Add(int64(jobs))
	}
}

// countReleased returns a context for a change of a secret, and the count of the
// parked jobs that went on because of it.
func countReleased(ctx context.Context) (context.Context, *atomic.Int64) {
	n := new(atomic.Int64)
	return context.WithValue(ctx, releasedKey{}, n), n
}

// goOn says how many jobs go on, "" if none does.
func goOn(jobs int) string {
	switch {
	case jobs <= 0:
		return ""
	case jobs == 1:
		return "1 parked job goes on"
	}
	return fmt.Sprintf("%d parked jobs go on", jobs)
}

// withReleased is result with the warning that jobs go on, if any do.
func withReleased(result any, jobs int) any {
	if text := goOn(jobs); text != "" {
		return warned{result: result, warning: text}
	}
	return result
}
