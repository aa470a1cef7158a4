package integration_test

import (
	"strings"
	"testing"

	"github.com/sealpost/sealpost/integration/peers"
	"github.com/sealpost/sealpost/integration/program"
)

func TestDevShowsTheMainJob(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	// Dev mode needs no Redis: nobody listens there.
	s := &program.Site{Binary: path, Dir: peers.Dir(t), RedisURL: "redis://127.0.0.1:1/0"}
	var show struct {
		Mail    string           `json:"mail"`
		Message string           `json:"sqs_message"`
		Admin   string           `json:"admin_token"`
		FirstMS int64            `json:"first_delivery_ms"`
		Jobs    []program.Status `json:"jobs"`
	}
	if err := s.JSON(&show, "dev", "--once"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Subject: temperature is 73 F\n", "To: ", "Message-ID: ", "over STARTTLS"} {
		if !strings.Contains(show.Mail, line) {
			t.Errorf("the mail is %q, want %q in it", show.Mail, line)
		}
	}
	if !strings.Contains(show.Message, `"temperature"`) {
		t.Errorf("the SQS message is %q, want the datum", show.Message)
	}
	if show.FirstMS <= 0 || show.FirstMS >= 3000 {
		t.Errorf("the first delivery took %d ms, want less than 3000", show.FirstMS)
	}
	for _, job := range show.Jobs {
		if job.State != "done" || job.AttemptCount != 1 {
			t.Errorf("a job of the show is %+v, want done with one attempt", job)
		}
	}
	text := s.Run("", "dev", "--once")
	if text.Code != 0 || !strings.Contains(strings.ToLower(text.Stdout), "nothing is kept") {
		t.Errorf("dev --once: exit %d, want 0 and a plain word that nothing is kept:\n%s%s", text.Code, text.Stdout, text.Stderr)
	}
	if strings.Contains(text.Stdout+text.Stderr, "sink-password") {
		t.Error("the show prints the password of the secret")
	}
}
