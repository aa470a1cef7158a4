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

// raw is Redis Streams without a queue: what a program could reach at best that
// reads 100 entries at once and acknowledges them in one pipeline.
type raw struct{}

func (w raw) ops() map[string]op { return map[string]op{"enqueue": w.enqueue, "drain": w.drain} }

// enqueue adds entries in pipelines of 100.
func (raw) enqueue(ctx context.Context, r request) (answer, error) {
	c := connect(r)
	defer c.Close()
	for done := 0; done < r.Jobs; done += rawBatch {
		p := c.Pipeline()
		for range min(rawBatch, r.Jobs-done) {
			p.XAdd(ctx, &redis.XAddArgs{Stream: rawStream, Values: []string{"job", payload}})
		}
		if _, err := p.Exec(ctx); err != nil {
			return answer{}, err
		}
	}
	return answer{}, c.XGroupCreateMkStream(ctx, rawStream, rawGroup, "0").Err()
}

// drain reads and acknowledges without looking at an entry.
func (raw) drain(ctx context.Context, r request) (answer, error) {
	c := connect(r)
	defer c.Close()
	for done := 0; done < r.Jobs; {
		streams, err := c.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: rawGroup, Consumer: "c", Streams: []string{rawStream, ">"}, Count: rawBatch, Block: -1,
		}).Result()
		if err != nil {
			return answer{}, err
		}
		var ids []string
		for _, m := range streams[0].Messages {
			ids = append(ids, m.ID)
		}
		p := c.Pipeline()
		p.XAck(ctx, rawStream, rawGroup, ids...)
		p.XDel(ctx, rawStream, ids...)
		if _, err := p.Exec(ctx); err != nil {
			return answer{}, err
		}
		done += len(ids)
	}
	return answer{}, nil
}
