package integration_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/integration/program"
)

// badJob is a job that must end as a dead letter with a reason.
type badJob struct {
	name string
	job  string
	says string // in the text of the dead letter, lower case
	http bool   // the API refuses it already
}

// badJobs are those of the public contract. GONE was deleted, QUEUE is an sqs
// secret.
func badJobs() []badJob {
	mail := func(field string, value any) string { return job(mailAction(map[string]any{field: value}), nil) }
	sqs := func(change map[string]any) string {
		action := map[string]any{"type": "queue-sqs", "sqs_secret": "QUEUE", "message": "m"}
		for k, v := range change {
			action[k] = v
		}
		return job(action, nil)
	}
	return []badJob{
		{name: "no JSON", job: `{"action":`, says: "json", http: true},
		{name: "a number", job: `42`, says: "object", http: true},
		{name: "no action", job: `{}`, says: "action", http: true},
		{name: "an unknown field", job: `{"acton":{"type":"email-smtp"}}`, says: "acton", http: true},
		{name: "JSON a million deep", job: strings.Repeat("[", 1_000_000), says: "", http: true},
		{name: "data 1,000 deep", job: job(mailAction(nil), nil)[:2] + `data":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"` + job(mailAction(nil), nil)[2:], says: "deep", http: true},
		{name: "300 KiB", job: mail("message", strings.Repeat("x", 300<<10)), says: "262144", http: true},
		{name: "an unknown kind", job: job(map[string]any{"type": "fax"}, nil), says: "fax"},
		{name: "an unknown field of the action", job: mail("subjekt", "x"), says: "subjekt"},
		{name: "a field of the wrong type", job: mail("subject", 7), says: "subject"},
		{name: "a secret that never was", job: mail("smtp_secret", "NEVER"), says: "never"},
		{name: "a deleted secret", job: mail("smtp_secret", "GONE"), says: "gone"},
		{name: "a secret of another type", job: mail("smtp_secret", "QUEUE"), says: "type"},
		{name: "a line end in the subject", job: mail("subject", "a\r\nBcc: x@evil.test"), says: "subject"},
		{name: "a line end in to", job: mail("to", "a@example.test\r\nBcc: x@evil.test"), says: "to"},
		{name: "a line end in from", job: mail("from", "a@example.test\nX: y"), says: "from"},
		{name: "an address that is none", job: mail("to", "nobody"), says: "to"},
		{name: "101 recipients", job: mail("to", strings.Repeat("a@example.test;", 101)), says: "100"},
		{name: "invalid UTF-8", job: strings.Replace(sqs(nil), `"m"`, "\"\xff\"", 1), says: "utf-8", http: true},
		{name: "a character that SQS refuses", job: sqs(map[string]any{"message": "a\x01b"}), says: "character"},
	}
}

func TestBadJobsBecomeDeadLetters(t *testing.T) {
	s := newSite(t)
	srv := s.serve()
	mails := s.mailSink()
	s.put("GONE", smtpSecret(mails.Addr(), "sink", password, mails.CAPEM(), "starttls"))
	s.put("QUEUE", sqsSecret("http://127.0.0.1:9", "http://127.0.0.1:9/0/q", password))
	if err := s.Run("", "secret", "rm", "GONE").Err(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range badJobs() {
		t.Run(tt.name, func(t *testing.T) {
			wantDead(t, s, s.xadd(tt.job), tt.says)
			status, answer := post(t, srv, s.Token, tt.job)
			if status < 400 || status > 499 || !strings.Contains(answer, `"status":false`) {
				t.Errorf("POST /jobs answers %d %.300s, want a 4xx in the envelope", status, answer)
			}
			if !tt.http && status >= 500 {
				t.Errorf("POST /jobs answers %d %.300s", status, answer)
			}
		})
	}
	if n := mails.Counts().Messages; n != 0 {
		t.Errorf("%d bad jobs sent a mail", n)
	}
	// None of them has hurt the worker.
	s.becomes(s.send(job(mailAction(nil), nil))[0], "done")
	if !srv.Running() {
		t.Error("the server has ended")
	}
}

// wantDead waits for the dead letter of a job and checks that its reason
// names what is wrong, in few words and in one line.
func wantDead(t *testing.T, s *site, id, says string) {
	t.Helper()
	var st struct {
		program.Status
		Reason string `json:"reason"`
		Text   string `json:"text"`
	}
	s.becomes(id, "dead")
	if err := s.JSON(&st, "job", "show", id); err != nil {
		t.Fatal(err)
	}
	text := strings.ToLower(st.Reason + " " + st.Text + " " + st.Last().Reason + " " + st.Last().Text)
	if !strings.Contains(text, says) || strings.TrimSpace(text) == "" {
		t.Errorf("the dead letter says %q, want %q in it", text, says)
	}
	if len(text) > 600 || strings.ContainsAny(text, "\r\n\x01") {
		t.Errorf("the dead letter says %.700q, want one short line", text)
	}
}

// post sends a body to POST /jobs and returns what came back.
func post(t *testing.T, srv *program.Server, token, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.API+"/jobs", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	c := http.Client{Timeout: 30 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("POST /jobs: %v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read the answer of POST /jobs: %v", err)
	}
	return resp.StatusCode, string(text)
}
