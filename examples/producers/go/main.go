// Command go asks for a mail through the package queue, straight to Redis. With
// -spool DIR the job is on this machine's disk first, so that Redis may be away.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/spool"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "enqueue:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("spool", "", "directory to keep jobs in until Redis has them")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address := os.Getenv("REDIS_ADDR")
	if address == "" {
		address = "127.0.0.1:6379"
	}
	// MaxRetries -1: go-redis would send a command again whose answer it missed.
	rdb := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1})
	defer rdb.Close()

	job, err := json.Marshal(map[string]any{
		"id": "boiler-2041-hot", // the same id within 24 hours is the same job
		"action": map[string]any{
			"type": "email-smtp", "smtp_secret": "MAIL_PROD",
			"from": "alerts@example.test", "to": "ops@example.test",
			"subject": "Boiler too hot", "message": "$VARIABLE$ is $VALUE$ $UNIT$",
		},
		"data": []map[string]any{{"variable": "temperature", "value": 97, "unit": "C"}},
	})
	if err != nil {
		return fmt.Errorf("encode job: %w", err)
	}
	client := queue.NewClient(rdb, queue.ClientOptions{})
	if *dir != "" {
		return viaSpool(ctx, client, *dir, job)
	}
	receipts, err := client.Enqueue(ctx, job)
	if err != nil {
		return fmt.Errorf("send job: %w", err) // with an id it is safe to try again
	}
	fmt.Println(receipts[0].ID)
	return nil
}

// viaSpool takes the job to disk, which is enough to go on, and then waits until
// Redis has it, as far as ctx allows. What is left is sent by the next run.
func viaSpool(ctx context.Context, client *queue.Client, dir string, job json.RawMessage) error {
	s, err := spool.Open(dir, client, spool.Options{})
	if err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	ids, err := s.Enqueue(job)
	if err == nil {
		fmt.Println(ids[0])
		if s.Flush(ctx) != nil {
			fmt.Fprintln(os.Stderr, "enqueue: Redis is away; the job is on disk")
		}
	}
	return errors.Join(err, s.Close())
}
