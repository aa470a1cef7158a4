package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/actions/sink"
)

const (
	sendgridKey = "SG.canary-name-0123456789.canary-value-0123456789"
	twilioSID   = "ACc0ffee0123456789abcdef0123456789"
	twilioToken = "canary-token-0123456789abcdef0123"
)

// text stores a text secret or a new version of it.
func (s *site) text(key, value string) {
	s.t.Helper()
	if _, err := s.PutSecret(key, value); err != nil {
		s.t.Fatal(err)
	}
}

// providers starts sinks of SendGrid and Twilio, and a server that sends to them.
func (s *site) providers() (*sink.SendGrid, *sink.Twilio) {
	s.t.Helper()
	mails, err := sink.StartSendGrid(sink.HTTPConfig{}, sendgridKey)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = mails.Close() })
	messages, err := sink.StartTwilio(sink.HTTPConfig{}, twilioSID, twilioToken)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = messages.Close() })
	s.serve("SEALPOST_SENDGRID_URL="+mails.URL(), "SEALPOST_TWILIO_URL="+messages.URL(), "SEALPOST_ALLOW_NET=127.0.0.0/8")
	return mails, messages
}

func TestProvidersParkAWrongKeyAndGoOnWithANewOne(t *testing.T) {
	s := newSite(t)
	mails, messages := s.providers()
	s.text("SENDGRID", "SG.canary-wrong-0123456789.x")
	s.text("TWILIO_SID", twilioSID)
	s.text("TWILIO_TOKEN", "canary-wrong-0123456789")
	twilio := func(kind, to string) map[string]any {
		return map[string]any{"type": kind, "twilio_sid": "TWILIO_SID", "twilio_token": "TWILIO_TOKEN", "from": "+15005550006", "to": to, "message": "it is $VALUE$"}
	}
	data := map[string]any{"data": []any{map[string]any{"value": 73}}}
	ids := s.send(
		job(map[string]any{"type": "email-sendgrid", "sendgrid_api_key": "SENDGRID", "from": "a@sender.test", "to": mailbox, "subject": "it is $VALUE$", "message": "text"}, data),
		job(twilio("sms-twilio", "+15005551111"), data),
		job(twilio("whatsapp-twilio", "(500) 555-2222"), data),
	)
	for _, id := range ids {
		st := s.becomes(id, "parked")
		if got := st.Last(); got.Reason != "credential" || !strings.Contains(got.Code, "401") || st.AttemptCount != 0 {
			t.Errorf("a parked job has the record %+v", st)
		}
	}
	s.text("SENDGRID", sendgridKey)
	s.text("TWILIO_TOKEN", twilioToken)
	for _, id := range ids {
		if st := s.becomes(id, "done"); st.AttemptCount != 1 || st.Last().SecretVersion != 2 {
			t.Errorf("the record is %+v, want one attempt, with version 2", st)
		}
	}
	if got := mails.Mails(); len(got) != 1 || got[0].Subject != "it is 73" || got[0].Args["sealpost_job_id"] != ids[0] {
		t.Errorf("got the mails %+v", got)
	}
	got := map[string]string{}
	for _, m := range messages.Messages() {
		got[m.To] = m.Body
	}
	if len(got) != 2 || got["+15005551111"] != "it is 73" || got["whatsapp:+15005552222"] != "it is 73" {
		t.Errorf("got the messages %v", got)
	}
	if log := s.logs(); strings.Contains(log, "canary") || strings.Contains(log, twilioSID) || strings.Contains(log, "5551111") {
		t.Errorf("a value or a number is in the log:\n%s", log)
	}
}

func TestRefusedNumbersAreTheDeadPartOfAJob(t *testing.T) {
	s := newSite(t)
	_, messages := s.providers()
	s.text("TWILIO_SID", twilioSID)
	s.text("TWILIO_TOKEN", twilioToken)
	to := "+15005551111;" + sink.TwilioOptedOut + ";+15005552222"
	id := s.send(job(map[string]any{"type": "sms-twilio", "twilio_sid": "TWILIO_SID", "twilio_token": "TWILIO_TOKEN", "from": "+15005550006", "to": to, "message": "m"}, nil))[0]
	if st := s.becomes(id, "dead"); st.Last().Reason != "recipient" || !strings.Contains(st.Last().Code, "21610") {
		t.Errorf("got the record %+v", st)
	}
	if err := s.Run("", "dead", "retry", id).Err(); err != nil {
		t.Fatal(err)
	}
	s.becomes(id, "dead")
	count := map[string]int{}
	for _, m := range messages.Messages() {
		count[m.To]++
	}
	if fmt.Sprint(count) != "map[+15005551111:1 +15005552222:1]" {
		t.Errorf("got %v, want each once", count)
	}
}
