package integration_test

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/integration/peers"
)

func TestMailReachesAMaildir(t *testing.T) {
	s := newSite(t)
	postfix := peers.NewPostfix(t, password, peers.PostfixOptions{})
	s.serve()
	for _, line := range []struct{ mode, addr string }{
		{"starttls", postfix.Submission},
		{"implicit", postfix.Implicit},
	} {
		t.Run(line.mode, func(t *testing.T) {
			s.put("MAIL", smtpSecret(line.addr, peers.MailUser, password, string(postfix.CA), line.mode))
			if r := s.Run("", "secret", "test", "MAIL"); r.Code != 0 {
				t.Errorf("secret test: %v", r.Err())
			}
			overAPI := line.mode + " over the API"
			overRedis := line.mode + " over Redis"
			ids := s.send(job(mailAction(map[string]any{"subject": overAPI, "html": "<b>the body</b>"}), nil))
			ids = append(ids, s.xadd(job(mailAction(map[string]any{"subject": overRedis, "to": mailbox + "; c@mail.test"}), nil)))
			for _, id := range ids {
				st := s.becomes(id, "done")
				if got := st.Last(); got.Certainty != "accepted" || !strings.HasPrefix(got.Code, "250") || st.AttemptCount != 1 {
					t.Errorf("job %s has the record %+v, want one accepted attempt with 250", id, st)
				}
			}
			wantMails(t, postfix, map[string]int{overAPI: 1, overRedis: 2})
		})
	}
	if got := postfix.LoginsRefused(); got != 0 {
		t.Errorf("Postfix refused %d logins, want none", got)
	}
}

// wantMails waits for the mails with these subjects, so many copies of each.
func wantMails(t *testing.T, postfix *peers.Postfix, want map[string]int) {
	t.Helper()
	peers.Eventually(t, soon, "the mails in the maildir", func() error {
		mails, err := postfix.Mails()
		if err != nil {
			return err
		}
		got := map[string]int{}
		for _, m := range mails {
			subject := m.Header.Get("Subject")
			if want[subject] == 0 {
				continue // of another row
			}
			got[subject]++
			body, err := io.ReadAll(m.Body)
			if err != nil || !strings.Contains(string(body), "the body") {
				return fmt.Errorf("%q has the body %q, %v", subject, body, err)
			}
			if m.Header.Get("Message-ID") == "" || m.Header.Get("From") == "" || m.Header.Get("Date") == "" {
				return fmt.Errorf("%q has the header %v", subject, m.Header)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("mails (-want +got):\n%s", diff)
		}
		return nil
	})
}

// fauxqs starts the SQS emulator from the cache of the checkout.
func fauxqs(t *testing.T) *peers.Fauxqs {
	t.Helper()
	cache, err := filepath.Abs("../.cache/fauxqs")
	if err != nil {
		t.Fatal(err)
	}
	return peers.NewFauxqs(t, cache)
}

// sqsSecret is the value of an sqs secret for a queue of the emulator.
func sqsSecret(endpoint, queueURL, secretKey string) map[string]any {
	return map[string]any{
		"aws_region": "eu-west-1", "queue_url": queueURL, "endpoint": endpoint,
		"access_key_id": "AKIDEXAMPLE00000000A", "secret_access_key": secretKey,
	}
}

func TestDataReachesSQS(t *testing.T) {
	emulator := fauxqs(t)
	s := newSite(t)
	s.serve()
	const data = 12 // more than one batch of SQS
	tests := []struct {
		queue  string
		change map[string]any
		sorted bool // the queue keeps no order
	}{
		{queue: "plain", sorted: true},
		{queue: "ordered.fifo", change: map[string]any{"group": "line-1"}},
	}
	for _, tt := range tests {
		t.Run(tt.queue, func(t *testing.T) {
			url, err := emulator.CreateQueue(t.Context(), tt.queue)
			if err != nil {
				t.Fatal(err)
			}
			s.put("QUEUE", sqsSecret(emulator.Endpoint, url, password))
			action := map[string]any{"type": "queue-sqs", "sqs_secret": "QUEUE"}
			for k, v := range tt.change {
				action[k] = v
			}
			var rows []map[string]any
			var want []string
			for i := range data {
				rows = append(rows, map[string]any{"variable": "temperature", "value": 100 + i})
				want = append(want, fmt.Sprintf(`"value":%d`, 100+i))
			}
			st := s.becomes(s.send(job(action, map[string]any{"data": rows}))[0], "done")
			if got := st.Last(); got.Certainty != "accepted" || got.SecretVersion == 0 {
				t.Errorf("the record of the job is %+v, want an accepted attempt", got)
			}
			got := receive(t, emulator, url, data)
			if tt.sorted {
				slices.Sort(got)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// receive takes n messages from the queue and returns the value field of each
// body, in the order in which they came.
func receive(t *testing.T, emulator *peers.Fauxqs, url string, n int) []string {
	t.Helper()
	var got []string
	peers.Eventually(t, soon, fmt.Sprintf("%d messages", n), func() error {
		messages, err := emulator.Receive(t.Context(), url)
		if err != nil {
			return err
		}
		for _, m := range messages {
			_, rest, _ := strings.Cut(m.Body, `"value":`)
			got = append(got, `"value":`+rest[:min(3, len(rest))])
		}
		if len(got) < n {
			return fmt.Errorf("got %d", len(got))
		}
		return nil
	})
	return got
}
