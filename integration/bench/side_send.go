package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/hibiken/asynq"
)

// mails drains tasks that are mails: a handler with go-mail's DialAndSend, which
// is what its documentation shows.
func (q asynqQueue) mails(ctx context.Context, r request) (answer, error) {
	return q.each(ctx, r, func(ctx context.Context, text []byte) error {
		var mail struct{ From, To, Subject, Text string }
		if err := json.Unmarshal(text, &mail); err != nil {
			return fmt.Errorf("decode a mail: %w", err)
		}
		msg, err := mailMessage(mail.From, mail.To, mail.Subject, mail.Text)
		if err != nil {
			return err
		}
		c, err := mailClient(*r.Mail)
		if err != nil {
			return err
		}
		return c.DialAndSendWithContext(ctx, msg)
	})
}

// messages drains tasks that are messages: a handler with the SDK's SendMessage.
func (q asynqQueue) messages(ctx context.Context, r request) (answer, error) {
	c := sqs.New(sqs.Options{
		Region: r.SQS.Region, BaseEndpoint: aws.String(r.SQS.Endpoint),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: r.SQS.ID, SecretAccessKey: r.SQS.Key}, nil
		}),
		// Without it each goroutine would connect anew for most messages.
		HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}},
	})
	return q.each(ctx, r, func(ctx context.Context, text []byte) error {
		_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &r.SQS.URL, MessageBody: aws.String(string(text))})
		return err
	})
}

// each runs a server until its handler has done all tasks. A task that fails is
// tried again by asynq.
func (q asynqQueue) each(ctx context.Context, r request, do func(context.Context, []byte) error) (answer, error) {
	h := newCounter(r.Jobs)
	stop, err := q.work(r, func(ctx context.Context, t *asynq.Task) error {
		if err := do(ctx, t.Payload()); err != nil {
			slog.Error("task failed", slog.Any("err", err))
			return err
		}
		h.one()
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return answer{finish: stop}, h.wait(ctx)
}
