package email

import (
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/mailaddress"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
)

func TestLocalPartsBeyondASCII(t *testing.T) {
	for _, tt := range []struct {
		name string
		more fields
		to   string
		utf8 bool
	}{
		{"a recipient", fields{"to": "jürgen@receiver.test"}, "jürgen@receiver.test", true},
		{"a domain too, which goes in ASCII", fields{"to": "用户@bücher.test"}, "用户@xn--bcher-kva.test", true},
		{"letters in two parts become one", fields{"to": "ju\u0308rgen@receiver.test"}, "jürgen@receiver.test", true},
		{"a copy", fields{"cc": "jürgen@receiver.test"}, "b@receiver.test", true},
		{"a hidden copy", fields{"bcc": "jürgen@receiver.test"}, "b@receiver.test", true},
		{"the sender", fields{"from": "jürgen@sender.test"}, "b@receiver.test", true},
		{"where answers go", fields{"reply_to": "jürgen@receiver.test"}, "b@receiver.test", true},
		{"ASCII only", nil, "b@receiver.test", false},
		{"a name beyond ASCII", fields{"to": "Jürgen <b@receiver.test>", "subject": "Grüße", "message": "für"}, "b@receiver.test", false},
		{"a domain beyond ASCII", fields{"to": "b@bücher.test"}, "b@xn--bcher-kva.test", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, v := startSink(t, func(c *sink.SMTPConfig) { c.UTF8 = true })
			if _, err := do(t, action(t, v, 0), job(t, "1", tt.more)); err != nil {
				t.Fatal(err)
			}
			got := s.Messages()[0]
			if got.UTF8 != tt.utf8 || got.To[0] != tt.to {
				t.Errorf("got to %q, SMTPUTF8 %v, want %q %v", got.To, got.UTF8, tt.to, tt.utf8)
			}
			// Only addresses are in UTF-8, so that all else passes any server.
			head, body, _ := strings.Cut(string(got.Raw), "\r\n\r\n")
			if !mailaddress.IsASCII(body) || !tt.utf8 && !mailaddress.IsASCII(head) {
				t.Errorf("beyond ASCII:\n%s", got.Raw)
			}
			p := parse(t, got.Raw)
			for field, list := range map[string]string{"to": p.To, "cc": p.Cc, "reply_to": p.ReplyTo, "from": p.From} {
				if want, ok := tt.more[field].(string); ok && strings.Contains(want, "jürgen@") && !strings.Contains(list, want) {
					t.Errorf("%s: got %s, want %s", field, list, want)
				}
			}

			s, v = startSink(t, nil) // a server without it
			reply, err := do(t, action(t, v, 0), job(t, "1", tt.more))
			if !tt.utf8 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if outcome(err) != "dead" || reply.Reason != "payload" || reply.Rule != "no-smtputf8" || !strings.Contains(err.Error(), "does not offer SMTPUTF8") {
				t.Errorf("got %+v %v", reply, err)
			}
			if strings.Contains(err.Error(), "rgen") || reply.Certainty != queue.Rejected || s.Counts().Messages != 0 {
				t.Errorf("got %v, %d mails", err, s.Counts().Messages)
			}
		})
	}
}

func TestSMTPUTF8IsAskedForByTheMailAndNotTheConnection(t *testing.T) {
	s, v := startSink(t, func(c *sink.SMTPConfig) { c.UTF8 = true })
	a := action(t, v, 0)
	for i, to := range []string{"b@receiver.test", "jürgen@receiver.test", "b@receiver.test"} {
		if _, err := do(t, a, job(t, "1", fields{"to": to})); err != nil {
			t.Fatal(err)
		}
		if got := s.Messages()[i].UTF8; got != (i == 1) {
			t.Errorf("mail %d: SMTPUTF8 %v", i+1, got)
		}
	}
	if c := s.Counts(); c.Connections != 1 {
		t.Errorf("%+v, want one connection", c)
	}
}
