package integration_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/integration/peers"
)

func TestARefusedLoginParksAndANewPasswordResumes(t *testing.T) {
	const jobs = 300
	s := newSite(t)
	postfix := peers.NewPostfix(t, password, peers.PostfixOptions{})
	s.serve()
	secret := func(pw string) {
		s.put("MAIL", smtpSecret(postfix.Submission, peers.MailUser, pw, string(postfix.CA), "starttls"))
	}
	secret("wrong-Pa55word")
	ids := s.send(mailJobs(jobs)...)
	s.counts("parked", jobs)
	if got := postfix.LoginsRefused(); got != 1 {
		t.Errorf("%d jobs made %d logins that were refused, want one", jobs, got)
	}
	st := s.becomes(ids[0], "parked")
	if got := st.Last(); got.Reason != "credential" || !strings.Contains(got.Code+got.Text, "535") || st.AttemptCount != 0 {
		t.Errorf("a parked job has the record %+v, want reason credential, 535, and no attempt used", st)
	}
	if r := s.Run("", "secret", "test", "MAIL"); r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, "535") {
		t.Errorf("secret test with a wrong password: exit %d, want 1 and 535: %s%s", r.Code, r.Stdout, r.Stderr)
	}

	secret(password)
	s.drained()
	for _, id := range []string{ids[0], ids[jobs-1]} {
		if st := s.becomes(id, "done"); st.AttemptCount != 1 || st.Last().SecretVersion != 2 {
			t.Errorf("job %s has the record %+v, want one attempt, with version 2", id, st)
		}
	}
	peers.Eventually(t, soon, "all mails", func() error {
		mails, err := postfix.Mails()
		if err == nil && len(mails) != jobs {
			err = fmt.Errorf("%d mails in the maildir, want %d", len(mails), jobs)
		}
		return err
	})
	if got := postfix.LoginsRefused(); got > 2 {
		t.Errorf("in the end %d logins were refused, want one, and one of secret test", got)
	}
}

func TestNoPasswordLeavesForAServerThatCannotBeTrusted(t *testing.T) {
	tests := []struct {
		name    string
		options peers.PostfixOptions
		says    []string // all of them in the record, lower case
	}{
		{"without STARTTLS", peers.PostfixOptions{NoTLS: true}, []string{"starttls"}},
		{"with a certificate for another name", peers.PostfixOptions{CertificateFor: []string{"elsewhere.test"}}, []string{"certificate"}},
		{"with a certificate of an unknown authority", peers.PostfixOptions{}, []string{"certificate"}},
	}
	s := newSite(t)
	s.serve()
	other, err := peers.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			postfix := peers.NewPostfix(t, password, tt.options)
			tap := peers.NewTap(t, postfix.Submission)
			ca := string(postfix.CA)
			if strings.Contains(tt.name, "unknown authority") {
				ca = string(other.PEM)
			}
			s.put("MAIL", smtpSecret(tap.Addr, peers.MailUser, password, ca, "starttls"))
			st := s.becomes(s.send(mailJobs(1)...)[0], "parked")
			if st.AttemptCount != 0 {
				t.Errorf("%d attempts used, want none", st.AttemptCount)
			}
			record := strings.ToLower(fmt.Sprintf("%+v", st.Last()))
			for _, word := range tt.says {
				if !strings.Contains(record, word) {
					t.Errorf("the record is %s, want %q in it", record, word)
				}
			}
			peers.Eventually(t, soon, "the end of the session", func() error {
				if postfix.Sessions() == 0 {
					return errors.New("it goes on")
				}
				return nil
			})
			if got := bytes.ToUpper(tap.Said()); len(got) == 0 || bytes.Contains(got, []byte("AUTH")) || bytes.Contains(got, []byte("MAIL FROM")) {
				t.Errorf("the server was told %q, want no AUTH and no MAIL", got)
			}
			if got := postfix.Logins(); got != 0 {
				t.Errorf("Postfix counted %d AUTH commands, want none", got)
			}
		})
	}
}

func TestAParkedJobIsReleasedByAPerson(t *testing.T) {
	s := newSite(t)
	postfix := peers.NewPostfix(t, "another-Pa55word", peers.PostfixOptions{})
	s.serve()
	s.put("MAIL", smtpSecret(postfix.Submission, peers.MailUser, password, string(postfix.CA), "starttls"))
	id := s.send(mailJobs(1)...)[0]
	s.becomes(id, "parked")
	// The server is put right, not the secret: no new version will wake the job.
	if err := postfix.SetPassword(password); err != nil {
		t.Fatal(err)
	}
	// The verdict on a version is remembered for 30 s, so that a released crowd
	// does not lock the account; a release may come before that has passed.
	peers.Eventually(t, later, "the job to be done", func() error {
		if err := s.Run("", "parked", "release", "MAIL").Err(); err != nil {
			return err
		}
		return peers.Wait(2*time.Second, "the job", s.Is(id, "done"))
	})
}
