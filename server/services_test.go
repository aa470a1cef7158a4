package server

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions/email"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sendgrid"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/actions/sqs"
	"github.com/sealpost/sealpost/actions/twilio"
)

// senders is a process whose senders may reach this machine.
func (s *site) senders() *site {
	s.t.Helper()
	guard, err := netguard.Parse("127.0.0.0/8")
	if err != nil {
		s.t.Fatal(err)
	}
	mail := email.New(email.Config{Vault: s.store, Guard: guard, Worker: "test", Timeout: 5 * time.Second})
	queue := sqs.New(sqs.Config{Vault: s.store, Guard: guard, Worker: "test", Timeout: 5 * time.Second})
	s.t.Cleanup(func() { _ = mail.Close(); _ = queue.Close() })
	return s.process(mail, queue)
}

// providers is a process that sends by sinks of SendGrid and Twilio.
func (s *site) providers() (*site, *sink.SendGrid, *sink.Twilio) {
	s.t.Helper()
	guard, err := netguard.Parse("127.0.0.0/8")
	if err != nil {
		s.t.Fatal(err)
	}
	mails, err := sink.StartSendGrid(sink.HTTPConfig{}, "SG."+canary+".key")
	if err != nil {
		s.t.Fatal(err)
	}
	messages, err := sink.StartTwilio(sink.HTTPConfig{}, accountSID, canary)
	if err != nil {
		s.t.Fatal(err)
	}
	mail := sendgrid.New(sendgrid.Config{Vault: s.store, Guard: guard, Worker: "test", URL: mails.URL(), Timeout: 5 * time.Second})
	config := twilio.Config{Vault: s.store, Guard: guard, Worker: "test", URL: messages.URL(), Timeout: 5 * time.Second}
	sms, whatsapp := twilio.NewSMS(config), twilio.NewWhatsApp(config)
	s.t.Cleanup(func() {
		_ = errors.Join(mail.Close(), sms.Close(), whatsapp.Close(), mails.Close(), messages.Close())
	})
	return s.process(mail, sms, whatsapp), mails, messages
}

const canary = "canary-Passw0rd!"

// accountSID is an account at Twilio.
const accountSID = "ACc0ffee0123456789abcdef0123456789"

func TestProvidersSendWithTheValuesOfSecrets(t *testing.T) {
	s := newSite(t)
	n, mails, messages := s.providers()
	with := func(change map[string]any) string {
		body := map[string]any{"from": "+15005550006", "to": "+15005551111", "message": "m", "twilio_sid": accountSID, "twilio_token": canary}
		for k, v := range change {
			body[k] = v
		}
		return asJSON(t, body)
	}
	mail := func(key any) string {
		return asJSON(t, map[string]any{"from": "a@sender.test", "to": "b@receiver.test", "subject": "s", "message": "m", "sendgrid_api_key": key})
	}
	tests := []struct {
		name, service, body string
		status              int
		want                string // in the message
	}{
		{"a mail", "email-sendgrid", mail("SG." + canary + ".key"), 200, ""},
		{"a mail without a key", "email-sendgrid", mail(nil), 400, "sendgrid_api_key is required"},
		{"a mail with a wrong key", "email-sendgrid", mail("SG.canary-wrong-one.key"), 400, "401"},
		{"an SMS", "sms-twilio", with(nil), 200, ""},
		{"an SMS with a wrong token", "sms-twilio", with(map[string]any{"twilio_token": "canary-wrong-one"}), 400, "401"},
		{"an SMS with a token that is a number", "sms-twilio", with(map[string]any{"twilio_token": 7}), 400, "twilio_token must be"},
		{"an SMS without a SID", "sms-twilio", with(map[string]any{"twilio_sid": ""}), 400, "twilio_sid"},
		{"an SMS to nobody", "sms-twilio", with(map[string]any{"to": sink.TwilioInvalid}), 400, "21211"},
		{"a message", "whatsapp-twilio", with(nil), 200, ""},
		{"a template", "whatsapp-twilio", with(map[string]any{"message": nil, "content_sid": "HX0123456789abcdef0123456789abcdef", "content_variables": map[string]string{"1": "v"}}), 200, ""},
		{"a file", "whatsapp-twilio", with(map[string]any{"attachment": map[string]string{"archive": "YQ==", "filename": "a.png"}}), 400, "media_url"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := n.do(analysisKind, "POST", "/analysis/services/"+tt.service+"/send", tt.body)
			if got.status != tt.status || !strings.Contains(got.message, tt.want) {
				t.Errorf("got %d %s, want %d with %q", got.status, got.body, tt.status, tt.want)
			}
			if strings.Contains(got.body, "canary") || strings.Contains(got.body, accountSID) || strings.Contains(got.body, "0005551") {
				t.Errorf("a value is shown: %s", got.body)
			}
		})
	}
	if m, d := len(mails.Mails()), messages.Messages(); m != 1 || len(d) != 3 || d[1].To != "whatsapp:+15005551111" || d[2].Variables != `{"1":"v"}` {
		t.Errorf("got %d mails and the messages %+v", m, d)
	}
	if all := n.log.String() + s.log.String() + s.redis.Dump(); strings.Contains(all, "canary") || strings.Contains(all, accountSID) {
		t.Error("a value is in the log or in Redis")
	}
}

// startMail returns a mail server and the value of a secret for it.
func startMail(t *testing.T) (*sink.SMTP, map[string]any) {
	t.Helper()
	mail, err := sink.StartSMTP(sink.SMTPConfig{Username: "mailer@sender.test", Password: canary})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mail.Close() })
	host, port, err := net.SplitHostPort(mail.Addr())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return mail, map[string]any{"smtp_server": host, "smtp_port": n, "username": "mailer@sender.test", "password": canary, "ca_pem": mail.CAPEM()}
}

func TestAMailGoesOutWithTheValueOfASecret(t *testing.T) {
	s := newSite(t)
	n := s.senders()
	mail, login := startMail(t)
	for name, value := range map[string]any{"text": asJSON(t, login), "object": login} {
		body := asJSON(t, map[string]any{"to": "b@receiver.test,c@receiver.test", "subject": "Hi", "message": "Text", "smtp_secret": value})
		if got := n.do(analysisKind, "POST", "/analysis/services/email-smtp/send", body); got.status != 200 || string(got.result) != `"Successfully Sent"` {
			t.Errorf("secret as %s: got %d %s, want it sent", name, got.status, got.body)
		}
	}
	if got := mail.Messages(); len(got) != 2 || len(got[0].To) != 2 {
		t.Errorf("mails: got %d, want 2 to two recipients", len(got))
	}
	if dump := s.redis.Dump(); strings.Contains(dump, canary) || strings.Contains(dump, "receiver.test") {
		t.Error("Redis holds the value or a recipient")
	}
	entries, err := s.store.Audit(t.Context(), 1)
	if err != nil || entries[0].Op != "service email-smtp" || entries[0].ID != s.tokenID[analysisKind] {
		t.Errorf("audit: got %+v, %v, want the service", entries, err)
	}
}

func TestMessagesGoOutWithTheValueOfASecret(t *testing.T) {
	s := newSite(t)
	n := s.senders()
	peer, err := sink.StartSQS(sink.SQSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	id, key := peer.Keys()
	login := map[string]string{"aws_region": peer.Region(), "queue_url": peer.CreateQueue("events"), "endpoint": peer.URL(),
		"access_key_id": id, "secret_access_key": key}
	body := asJSON(t, map[string]any{"sqs_secret": asJSON(t, login), "dataList": []any{map[string]any{"a": 1}, map[string]any{"a": 2}}, "batch_enabled": true})
	if got := n.do(analysisKind, "POST", "/analysis/services/queue-sqs/send", body); got.status != 200 {
		t.Errorf("got %d %s, want it sent", got.status, got.body)
	}
	if got := peer.Messages("events"); len(got) != 2 {
		t.Errorf("messages: got %d, want 2", len(got))
	}
	body = asJSON(t, map[string]any{"sqs_secret": login, "dataList": []any{nil}})
	if got := n.do(analysisKind, "POST", "/analysis/services/queue-sqs/send", body); got.status != 400 || !strings.Contains(got.message, "dataList") {
		t.Errorf("no data: got %d %q, want 400", got.status, got.message)
	}
}

func TestAServiceThatCannotSendAnswers4xxWithoutTheValue(t *testing.T) {
	s := newSite(t)
	n := s.senders()
	mail, login := startMail(t)
	with := func(change map[string]any) map[string]any {
		out := map[string]any{}
		for k, v := range login {
			out[k] = v
		}
		for k, v := range change {
			out[k] = v
		}
		return out
	}
	request := func(value any) string {
		return asJSON(t, map[string]any{"to": "b@receiver.test", "subject": "Hi", "message": "Text", "smtp_secret": value})
	}
	tests := []struct {
		name, body string
		status     int
		want       string
	}{
		{"no body", ``, 400, "JSON object"},
		{"no object", `[]`, 400, "JSON object"},
		{"no secret", `{"to":"b@receiver.test","message":"x"}`, 400, "smtp_secret is required"},
		{"a secret that is a number", request(7), 400, "smtp_secret must be"},
		{"the id of a secret", request("0123456789abcdef01234567"), 400, "smtp_secret"},
		{"no recipient", asJSON(t, map[string]any{"message": "x", "smtp_secret": login}), 400, "no recipient"},
		{"a wrong password", request(with(map[string]any{"password": "canary-wrong-one"})), 400, "535"},
		{"a server that is not there", request(with(map[string]any{"smtp_port": 1})), 424, "dial"},
		{"a server that may not be reached", request(with(map[string]any{"smtp_server": "10.0.0.1"})), 400, ""},
		{"a body over the limit", `{"message":"` + strings.Repeat("x", serviceBody) + `"}`, 413, "limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := n.do(analysisKind, "POST", "/analysis/services/email-smtp/send", tt.body)
			if got.status != tt.status || !strings.Contains(got.message, tt.want) {
				t.Errorf("got %d %q, want %d with %q", got.status, got.message, tt.status, tt.want)
			}
			if strings.Contains(got.body, "canary") {
				t.Errorf("the value is shown: %s", got.body)
			}
		})
	}
	if got := len(mail.Messages()); got != 0 {
		t.Errorf("mails: got %d, want none", got)
	}
	if log := n.log.String() + s.log.String(); strings.Contains(log, "canary") {
		t.Errorf("log: %s, want no value", log)
	}
	if got := s.do(analysisKind, "POST", "/analysis/services/email-smtp/send", request(login)); got.status != 404 {
		t.Errorf("a process without that sender: got %d, want 404", got.status)
	}
	if got := n.do(access.Producer, "POST", "/analysis/services/email-smtp/send", request(login)); got.status != 403 {
		t.Errorf("a producer: got %d, want 403", got.status)
	}
}

func TestTurnsAreBounded(t *testing.T) {
	turns := newTurns()
	var dones []func()
	for range maxDirectOne {
		done, ok := turns.take("one")
		if !ok {
			t.Fatal("a turn within the limit is refused")
		}
		dones = append(dones, done)
	}
	if _, ok := turns.take("one"); ok {
		t.Error("one principal takes more than its share")
	}
	if _, ok := turns.take("two"); !ok {
		t.Error("another principal gets none")
	}
	for _, done := range dones {
		done()
	}
	if _, ok := turns.take("one"); !ok || turns.all != 2 || len(turns.byOne) != 2 {
		t.Errorf("after: got %+v, want the turns given back", turns)
	}
}
