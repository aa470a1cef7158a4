package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/secrets"
	"github.com/sealpost/sealpost/secrets/redact"
)

// SendWith puts the data of a request, {"dataList":[...]}, into the queue that
// value names, one message for each datum, through a client of its own, which
// ends with it. Other fields are ignored, as the clients that send them expect.
func (a *Action) SendWith(ctx context.Context, value redact.String, request json.RawMessage) (queue.Reply, error) {
	params := queue.Reply{Stage: stageParams, Reason: string(actions.Payload), Certainty: queue.Rejected}
	opened, err := secrets.ParseSQS(value)
	if err != nil {
		return params, queue.Permanent(fmt.Errorf("sqs_secret: %w", err))
	}
	p, err := decodeDirect(request)
	if err != nil {
		return params, queue.Permanent(err)
	}
	if f, ok := errors.AsType[*failure](a.refusals.Last(value)); ok {
		return f.outcome(secrets.Ref{})
	}
	reply, err := a.direct(ctx, opened, p)
	if f, ok := errors.AsType[*failure](err); ok && f.refused() {
		a.refusals.Note(value, f)
	}
	return reply, err
}

// direct sends the plan's messages as a job's are sent.
func (a *Action) direct(ctx context.Context, opened secrets.SQS, p *plan) (queue.Reply, error) {
	c, err := newClient(opened, a.config.Guard)
	if f, ok := errors.AsType[*failure](err); ok {
		return f.outcome(secrets.Ref{})
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	acc := &account{client: c, accumulator: newAccumulator(opened, c, a.config.Timeout)}
	defer acc.wait.Wait()
	defer acc.dismiss()
	d := newDelivery(ctx, queue.NewClaim(actions.NewDirectJob(), 1, nil), p, acc.fifo)
	(&work{action: a, plan: p}).send(ctx, acc, d)
	return d.outcome(secrets.Ref{})
}

// decodeDirect reads and checks a direct request. Its errors quote nothing.
func decodeDirect(request json.RawMessage) (*plan, error) {
	var r struct {
		DataList json.RawMessage `json:"dataList"`
	}
	if json.Unmarshal(request, &r) != nil {
		return nil, errors.New("want a JSON object")
	}
	bodies, err := bodiesOfData(r.DataList)
	if err != nil {
		return nil, fmt.Errorf("dataList: %w", err)
	}
	for i, body := range bodies {
		if err := checkBody(body); err != nil {
			return nil, fmt.Errorf("dataList: message %d: %w", i+1, err)
		}
	}
	return &plan{bodies: bodies}, nil
}
