package sendgrid

import (
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/actionstest"
	"github.com/sealpost/sealpost/actions/sink"
)

func TestConform(t *testing.T) {
	actionstest.Conform(t, func(t *testing.T) actionstest.Fixture {
		w := newWorld(t, 30*time.Second)
		answer := func(a sink.HTTPAnswer) func() {
			return func() { w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer { return &a }) }
		}
		return actionstest.Fixture{
			Action: w.action,
			Job: job(t, `[{"variable":"v","value":1}]`, fields{
				"cc": "c@receiver.test", "bcc": "d@receiver.test", "reply_to": "r@sender.test", "html": "<b>$VALUE$</b>",
				"attachments": []any{fields{"filename": "a.txt", "content": "aGVsbG8=", "type": "text/plain"}},
			}),
			Secrets: []string{apiKey, "canary-Name-0123456789", "canary-Value-abcdefghijklmnopqrstuvwxyz-01234567"},
			Keys: func() []string {
				var keys []string
				for _, m := range w.sink.Mails() {
					keys = append(keys, m.Args[jobArgument])
				}
				return keys
			},
			Hang: answer(sink.HTTPAnswer{Hang: true}),
			Echo: answer(sink.HTTPAnswer{Status: 400, Body: "the key is " + apiKey + " and you said ", Echo: true}),
		}
	})
}
