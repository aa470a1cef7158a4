package main

import (
	"context"

	"github.com/redis/go-redis/v9"
)

const (
	rawStream = "bench:raw"
	rawGroup  = "w"
	rawBatch  = 100
)

// raw is Redis Streams without a queue: what a program could reach at best
// that reads 100 entries at once and acknowledges them in one pipeline.
type raw struct{ c *redis.Client }

// enqueue adds entries in pipelines of 100.
func (r raw) enqueue(ctx context.Context, n int) error {
	for done := 0; done < n; done += rawBatch {
		p := r.c.Pipeline()
		for range min(rawBatch, n-done) {
			p.XAdd(ctx, &redis.XAddArgs{Stream: rawStream, Values: []string{"job", payload}})
		}
		if _, err := p.Exec(ctx); err != nil {
			return err
		}
	}
	return r.c.XGroupCreateMkStream(ctx, rawStream, rawGroup, "0").Err()
}

// drain reads and acknowledges without looking at an entry.
func (r raw) drain(ctx context.Context, n, _ int) (func(), error) {
	for done := 0; done < n; {
		streams, err := r.c.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: rawGroup, Consumer: "c", Streams: []string{rawStream, ">"}, Count: rawBatch, Block: -1,
		}).Result()
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, m := range streams[0].Messages {
			ids = append(ids, m.ID)
		}
		p := r.c.Pipeline()
		p.XAck(ctx, rawStream, rawGroup, ids...)
		p.XDel(ctx, rawStream, ids...)
		if _, err := p.Exec(ctx); err != nil {
			return nil, err
		}
		done += len(ids)
	}
	return nil, nil
}
