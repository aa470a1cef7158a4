package integration_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/integration/peers"
)

// rides is how many mails go to each server here, by two connections, so that
// nearly all go out behind another.
const rides = 80

// narrow is a secret that allows two connections.
func narrow(secret map[string]any) map[string]any {
	secret["max_connections"] = 2
	return secret
}

// sendRides enqueues mails with the subjects "ride 0" to "ride 79" and waits until
// all have ended, each after one attempt. Some change the mail.
func sendRides(s *site, change func(i int) (fields map[string]any, state string)) {
	s.t.Helper()
	var jobs []string
	for i := range rides {
		fields, _ := change(i)
		fields["subject"] = fmt.Sprint("ride ", i)
		jobs = append(jobs, job(mailAction(fields), nil))
	}
	ids := s.send(jobs...)
	s.drained()
	for i := 0; i < rides; i += 13 { // each question is a process
		_, want := change(i)
		if st := s.becomes(ids[i], want); st.AttemptCount != 1 {
			s.t.Errorf("ride %d has the record %+v, want one attempt", i, st)
		}
	}
}

func TestManyMailsRideIntoPostfix(t *testing.T) {
	s := newSite(t)
	postfix := peers.NewPostfix(t, password, peers.PostfixOptions{})
	s.serve()
	s.put("MAIL", narrow(smtpSecret(postfix.Submission, peers.MailUser, password, string(postfix.CA), "starttls")))
	want := map[string]int{}
	sendRides(s, func(i int) (map[string]any, string) {
		if i%9 == 4 {
			return map[string]any{"to": peers.NoMailbox}, "dead"
		}
		want[fmt.Sprint("ride ", i)] = 1
		return map[string]any{}, "done"
	})
	wantMails(t, postfix, want)
	if n := postfix.Sessions(); n > 4 {
		t.Errorf("%d sessions have ended, want the two kept", n)
	}
}

func TestManyMailsRideIntoSMTPServer(t *testing.T) {
	s := newSite(t)
	cache, err := filepath.Abs("../.cache/smtp-server")
	if err != nil {
		t.Fatal(err)
	}
	server := peers.NewSMTPServer(t, cache, password)
	s.serve()
	s.put("MAIL", narrow(smtpSecret(server.Addr, peers.MailUser, password, string(server.CA), "starttls")))
	want := map[string]int{}
	sendRides(s, func(i int) (map[string]any, string) {
		if i%9 == 4 {
			return map[string]any{"to": "nobody@mail.test"}, "dead"
		}
		want[fmt.Sprint("ride ", i)] = 1
		return map[string]any{"to": "a@mail.test; b@mail.test"}, "done"
	})
	mails, err := server.Mails()
	if err != nil {
		t.Fatal(err)
	}
	sessions := map[string]bool{}
	for _, m := range mails {
		_, rest, _ := strings.Cut(m.Text, "\r\nSubject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		if want[subject]--; want[subject] < 0 || len(m.To) != 2 || !strings.Contains(m.Text, "the body") {
			t.Errorf("a mail that was not wanted: %+v", m)
		}
		sessions[m.Session] = true
	}
	for subject, n := range want {
		if n > 0 {
			t.Errorf("%q has not come", subject)
		}
	}
	if len(sessions) > 2 {
		t.Errorf("%d connections, want 2", len(sessions))
	}
}
