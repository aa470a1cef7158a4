package server

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/access"
	"github.com/sealpost/sealpost/actions/email"
	"github.com/sealpost/sealpost/actions/netguard"
	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/actions/sqs"
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

const canary = "canary-Passw0rd!"

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
