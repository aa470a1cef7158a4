package sqs

import (
	"github.com/sealpost/sealpost/actions"
	"github.com/sealpost/sealpost/secrets"
)

// Spec describes the action.
func (a *Action) Spec() actions.Spec {
	return actions.Spec{
		Kind:  Kind,
		Title: "Sends messages to an Amazon SQS queue, one for each datum of the job or one text.",
		Fields: []actions.Field{
			{Name: "sqs_secret", Form: actions.SecretForm, Need: true, Secret: secrets.TypeSQS, Doc: "The queue and the keys to it."},
			{Name: "message", Form: actions.TextForm, Vars: true, Doc: "Sent instead of the data, as one message. Variables are escaped for JSON when it is JSON."},
			{Name: "group", Form: actions.LineForm, Doc: "`MessageGroupId`, at most 128 characters. Without it a FIFO queue gets `sealpost`, which puts all messages into one group."},
			{Name: "batch_enabled", Form: actions.FlagForm, Doc: "`false` sends each message in a request of its own; otherwise messages of many jobs share requests of up to ten."},
		},
		Limits:     "1,000 messages a job, 1 MiB a message; ten messages and 1 MiB a request.",
		Retries:    "Each message by itself: those that were accepted are not sent again. Throttling uses up no attempt. Refused keys and a queue that does not exist wait for a new version of the secret.",
		Duplicates: "In a standard queue, when the line broke before the answer; `on_ambiguous: park` asks a person instead. A FIFO queue takes a repetition within five minutes for the same message.",
		Key:        "`MessageDeduplicationId` of a FIFO queue; the attributes `sealpost-job-id` and `sealpost-job-part` otherwise.",
	}
}
