package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/mail"
	"testing"
	"time"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/integration/peers"
)

// Three processes run a schedule of each second; one is killed in between, one
// is told to stop. No second is left out and none gets two jobs.
func TestScheduleOfManyProcessesFiresOnce(t *testing.T) {
	const seconds = 12
	s := newSite(t)
	s.serve("SEALPOST_ROLES=api")
	mails := s.mailSink()
	workers := []interface {
		Kill() error
		Stop(limit time.Duration) error
	}{s.serve("SEALPOST_ROLES=worker", lease), s.serve("SEALPOST_ROLES=worker", lease), s.serve("SEALPOST_ROLES=worker", lease)}
	// The subject is the due time.
	action, err := json.Marshal(map[string]any{"name": "tick", "type": "schedule",
		"trigger": []map[string]string{{"cron": "* * * * * *", "timezone": "Australia/Lord_Howe"}},
		"action":  mailAction(map[string]any{"subject": "$VALUE$"})})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.wire(wire{method: "POST", path: "/action", body: string(action)}); !a.Status {
		t.Fatalf("store the action: %d %s", a.Code, a.Message)
	}
	arrived := func(n int64) {
		t.Helper()
		peers.Eventually(t, later, "the mails of due times", func() error {
			if got := mails.Counts().Distinct; got < n {
				return fmt.Errorf("%d so far", got)
			}
			return nil
		})
	}
	arrived(seconds / 3)
	if err := workers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	arrived(2 * seconds / 3)
	if err := workers[1].Stop(soon); err != nil {
		t.Fatal(err)
	}
	arrived(seconds)

	// The last ones may be on their way in another order.
	peers.Eventually(t, later, "the mail of each second before the last", func() error {
		return eachSecond(mails.Messages())
	})
}

// eachSecond returns nil if the mails are of due times without a gap, each of one
// job, which the Message-ID tells. A copy of a mail, by a worker that was killed,
// has the same one.
func eachSecond(mails []sink.Message) error {
	jobs := map[time.Time]string{}
	var begin, end time.Time
	for _, m := range mails {
		parsed, err := mail.ReadMessage(bytes.NewReader(m.Raw))
		if err != nil {
			return fmt.Errorf("read mail: %w", err)
		}
		due, err := time.Parse(time.RFC3339, parsed.Header.Get("Subject"))
		if err != nil {
			return fmt.Errorf("the subject is no due time: %w", err)
		}
		if id, ok := jobs[due]; ok && id != m.MessageID {
			return fmt.Errorf("two jobs for %v: %w", due, peers.ErrHopeless)
		}
		jobs[due] = m.MessageID
		if begin.IsZero() || due.Before(begin) {
			begin = due
		}
		if due.After(end) {
			end = due
		}
	}
	for due := begin; due.Before(end); due = due.Add(time.Second) {
		if jobs[due] == "" {
			return fmt.Errorf("no mail of %v, from %v to %v there are %d", due, begin, end, len(jobs))
		}
	}
	return nil
}
