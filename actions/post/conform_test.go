package post

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
			return func() { w.sink.SetAnswer(func(sink.HTTPRequest) sink.HTTPAnswer { return a }) }
		}
		return actionstest.Fixture{
			Action: w.action,
			Job: job(t, `[{"variable":"v","value":1}]`, fields{
				"url": w.sink.URL() + "/hook/$VALUE$?key=canary-in-the-query-77", "signing_secret": "HOOK_KEY",
				"header_secrets": fields{"Authorization": "HOOK_TOKEN"}, "http_post_fallback_enabled": true, "fallback_action": "0123456789abcdef01234567", "fallback_token": "x",
			}),
			Secrets: []string{token, token[len("Bearer "):], key, key[len(keyPrefix):], "canary-in-the-query-77"},
			Keys: func() []string {
				var keys []string
				for _, r := range w.sink.Requests() {
					keys = append(keys, r.Header.Get("Idempotency-Key"))
				}
				return keys
			},
			Hang: answer(sink.HTTPAnswer{Hang: true}),
			Echo: answer(sink.HTTPAnswer{Status: 400, Body: "the key is " + key + " and you said ", Echo: true}),
		}
	})
}
