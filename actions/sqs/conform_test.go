package sqs

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/actionstest"
	"github.com/sealpost/sealpost/actions/sink"
)

func TestConform(t *testing.T) {
	for _, name := range []string{"orders", "orders.fifo"} {
		t.Run(name, func(t *testing.T) {
			actionstest.Conform(t, func(t *testing.T) actionstest.Fixture { return fixture(t, name) })
		})
	}
}

func fixture(t *testing.T, name string) actionstest.Fixture {
	w := start(t, name)
	id, key, token := "AKIACONFORM7", "conform/secret+key=", "conform-session-token"
	w.sink.SetKeys(id, key, token)
	w.vault.put(withKeys(id, key, token))
	data := []string{`{"a":1}`}
	if !isFIFO(name) { // there the second attempt leaves no trace, and an even number would be read as two attempts
		data = append(data, `{"a":2}`)
	}
	return actionstest.Fixture{
		Action:  w.action,
		Job:     job("conform", `{"type":"queue-sqs","sqs_secret":"QUEUE_PROD","group":"g","batch_enabled":true}`, data...),
		Secrets: []string{id, key, token},
		Keys:    func() []string { return keysOf(w.sink.Messages(name)) },
		Hang: func() {
			w.sink.SetFault(func(sink.SQSCall) *sink.SQSFault { return &sink.SQSFault{Wait: make(chan struct{})} })
		},
		Echo: func() {
			w.sink.SetFault(func(c sink.SQSCall) *sink.SQSFault {
				told := []string{id, key, token}
				for _, values := range c.Header {
					told = append(told, values...)
				}
				return &sink.SQSFault{Status: http.StatusForbidden, Code: "AccessDenied", Message: strings.Join(told, " ")}
			})
		},
	}
}

// keysOf returns what tells one message from another.
func keysOf(messages []sink.SQSMessage) []string {
	var keys []string
	for _, m := range messages {
		if m.DedupID != "" {
			keys = append(keys, m.DedupID)
			continue
		}
		keys = append(keys, m.Attributes[attrJob]+"/"+m.Attributes[attrPart])
	}
	return keys
}
