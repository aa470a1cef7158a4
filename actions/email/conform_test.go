package email

import (
	"bytes"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/actionstest"
)

func TestConform(t *testing.T) {
	actionstest.Conform(t, func(t *testing.T) actionstest.Fixture {
		f := goodFake(t, map[string]string{})
		v := vaultFor(t, f.ln.Addr().String(), f.ca.PEM())
		key := pemOf(t, rsaKey())
		v.keep("DKIM", key)
		set := func(step, what string) func() {
			return func() { f.script(step, what) }
		}
		return actionstest.Fixture{
			Action:  action(t, v, 30*time.Second),
			Job:     job(t, "order-1", allFields(t)),
			Secrets: []string{password, key},
			Keys:    func() []string { return messageIDs(t, f) },
			Hang:    set("dot", "hang"),
			Echo:    set("auth", "535-5.7.8 you sent {auth}\r\n535 5.7.8 which means "+password),
		}
	})
}

// messageIDs reads the mails that the fake has taken.
func messageIDs(t *testing.T, f *fake) []string {
	_, inner := f.heard()
	var ids []string
	for i, part := range strings.Split(inner, "\r\nDATA\r\n") {
		text, _, whole := strings.Cut(part, "\r\n.\r\n")
		if i == 0 || !whole {
			continue
		}
		m, err := mail.ReadMessage(bytes.NewReader([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Header.Get("Message-Id"))
	}
	return ids
}
