// Command go asks for a mail through the package queue, straight to Redis.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sealpost/sealpost/queue"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "enqueue:", err)
		os.Exit(1)
	}
}

func run() error {
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
	receipts, err := queue.NewClient(rdb, queue.ClientOptions{}).Enqueue(ctx, job)
	if err != nil {
		return fmt.Errorf("send job: %w", err) // with an id it is safe to try again
	}
	fmt.Println(receipts[0].ID)
	return nil
}
