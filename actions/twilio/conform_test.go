package twilio

import (
	"net/url"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/actionstest"
	"github.com/sealpost/sealpost/actions/sink"
)

func TestConformSMS(t *testing.T) { conform(t, KindSMS, fields{"message": "it is $VALUE$"}) }

func TestConformWhatsApp(t *testing.T) {
	conform(t, KindWhatsApp, fields{"message": nil, "content_sid": "TEMPLATE"})
}

func conform(t *testing.T, kind string, f fields) {
	actionstest.Conform(t, func(t *testing.T) actionstest.Fixture {
		w := newWorld(t, 30*time.Second)
		answer := func(a sink.HTTPAnswer) func() {
			return func() { w.sink.SetFault(func(sink.HTTPRequest) *sink.HTTPAnswer { return &a }) }
		}
		action := w.sms
		if kind == KindWhatsApp {
			action = w.whatsapp
		}
		return actionstest.Fixture{
			Action:  action,
			Job:     job(t, kind, `[{"value":"v"}]`, f),
			Secrets: []string{accountID, authToken, url.QueryEscape(accountID + ":" + authToken), templateID, "15005551111"},
			Keys: func() []string {
				var keys []string
				for _, m := range w.sink.Messages() {
					keys = append(keys, m.SID)
				}
				return keys
			},
			NoKey: true,
			Hang:  answer(sink.HTTPAnswer{Hang: true}),
			Echo:  answer(sink.HTTPAnswer{Status: 400, Body: "the login is " + accountID + " " + authToken + " and you said ", Echo: true}),
		}
	})
}
