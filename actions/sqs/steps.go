package sqs

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// Test opens the secret, connects, and asks for the queue's attributes, through
// the same client and guard that send. It sends no message. When the key works,
// a refusal that is remembered for this version is forgotten.
func (a *Action) Test(ctx context.Context, ref secrets.Ref) []actions.Step {
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	opened, err := a.config.Vault.OpenSQS(ctx, ref, secrets.Use{Actor: "worker " + a.config.Worker, Why: "test"})
	if err != nil {
		_, err = actions.SecretError(ref.Key, secrets.TypeSQS, err)
		return []actions.Step{{Name: "secret", Text: err.Error()}}
	}
	steps := []actions.Step{{Name: "secret", OK: true, Text: fmt.Sprintf("version %d", opened.Ref.Version)}}
	c, err := newClient(opened, a.config.Guard)
	if err != nil {
		f := err.(*failure) // newClient gives no others
		return append(steps, actions.Step{Name: "endpoint", Text: f.sentence()})
	}
	defer c.close()
	rest := c.probe(ctx)
	if last := rest[len(rest)-1]; last.OK {
		a.forgive(opened.Ref)
	}
	return append(steps, rest...)
}

// probe reports how far a call that changes nothing comes.
func (c *client) probe(ctx context.Context) []actions.Step {
	var p progress
	out, err := c.api.GetQueueAttributes(p.trace(ctx), &awssqs.GetQueueAttributesInput{
		QueueUrl:       aws.String(c.queueURL),
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	var steps []actions.Step
	step := func(name, text string) { steps = append(steps, actions.Step{Name: name, OK: true, Text: text}) }
	if err == nil {
		c.reached(step, &p)
		step("auth", "")
		step("queue", kindOf(c.queueURL, out.Attributes[string(types.QueueAttributeNameQueueArn)]))
		return steps
	}
	f := c.judge(err, &p)
	if f.answer.Code != 0 || f.answer.Stage == stageSend {
		c.reached(step, &p)
	} else if f.answer.Stage == stageTLS {
		step("dial", "")
	}
	switch {
	case f.verdict.Rule == "not-allowed":
		step("auth", "")
		step("queue", "its attributes may not be read (sqs:GetQueueAttributes); whether sending is allowed will show with the first message")
		return steps
	case slices.Contains([]string{"no-queue", "queue-key"}, f.verdict.Rule):
		step("auth", "")
		return append(steps, actions.Step{Name: "queue", Text: f.sentence()})
	case f.answer.Stage != stageSend:
		return append(steps, actions.Step{Name: f.answer.Stage, Text: f.sentence()})
	case f.refused():
		return append(steps, actions.Step{Name: "auth", Text: f.sentence()})
	}
	return append(steps, actions.Step{Name: "queue", Text: f.sentence()})
}

// reached adds the steps up to the request.
func (c *client) reached(step func(name, text string), p *progress) {
	step("dial", "")
	if c.secure && p.secured.Load() {
		step("tls", "")
	}
}

// kindOf says what kind of queue it is.
func kindOf(queueURL, arn string) string {
	if isFIFO(queueURL) {
		return "FIFO"
	}
	if arn == "" {
		return "reachable"
	}
	return "standard"
}
