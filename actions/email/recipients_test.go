package email

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sealpost/sealpost/actions/sink"
	"github.com/sealpost/sealpost/queue"
	"github.com/sealpost/sealpost/queue/queuetest"
)

// three are the recipients of the tests here: b, c and d.
const three = "b@receiver.test, c@receiver.test; d@receiver.test"

// at refuses a recipient.
func at(who, reply string, times int) sink.Fault {
	var code int
	_, text, _ := strings.Cut(reply, " ")
	if _, err := fmt.Sscan(reply[:3], &code); err != nil {
		panic(err)
	}
	return sink.Fault{Stage: "rcpt", Code: code, Text: text, To: who + "@receiver.test", Times: times}
}

// try does a job as its next attempt, after those that left parts.
func try(t testing.TB, a *Action, j *queue.Job, parts []queue.Part) (queue.Reply, error) {
	t.Helper()
	w, err := a.Prepare(j)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	c := queue.NewClaim(j, 1, nil)
	c.Parts = parts
	return w.Do(t.Context(), c)
}

// short writes parts as "1 accepted 250".
func short(parts []queue.Part) string {
	var list []string
	for _, p := range parts {
		n, hash, _ := strings.Cut(p.ID, "-")
		if len(hash) != 10 {
			n = p.ID
		}
		list = append(list, n+" "+p.State+" "+p.Code)
	}
	return strings.Join(list, ", ")
}

// who lists the recipients of each mail by the letter before their @.
func who(s *sink.SMTP) string {
	var list []string
	for _, m := range s.Messages() {
		to := ""
		for _, address := range m.To {
			to += address[:1]
		}
		list = append(list, to)
	}
	return strings.Join(list, " ")
}

func TestEachRecipientIsAnsweredForItself(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		faults                []sink.Fault
		outcome, reason, code string
		text                  string
		parts, mails          string
	}{
		{"all are taken", nil, "done", "", "250", "", "", "bcd"},
		{"one is unknown", []sink.Fault{at("c", "550 5.1.1 No such user", 0)}, "dead", "recipient", "550 5.1.1",
			"2 of 3 recipients have the mail; recipient 2: code 550 5.1.1 No such user",
			"1 accepted 250, 3 accepted 250, 2 refused 550 5.1.1", "bd"},
		{"two are unknown", []sink.Fault{at("c", "550 5.1.1 No such user", 0), at("d", "553 no", 0)}, "dead", "recipient", "550 5.1.1",
			"1 of 3 recipients have the mail; recipient 2: code 550 5.1.1 No such user; recipient 3: code 553 5.0.0 no",
			"1 accepted 250, 2 refused 550 5.1.1, 3 refused 553 5.0.0", "b"},
		{"all are unknown", []sink.Fault{{Stage: "rcpt", Code: 550, Text: "5.1.1 No such user"}}, "dead", "recipient", "550 5.1.1",
			"3 of 3 recipients refused: No such user", "1 refused 550 5.1.1, 2 refused 550 5.1.1, 3 refused 550 5.1.1", ""},
		{"one is not ours to send to", []sink.Fault{at("c", "554 5.7.1 Relay access denied", 0)}, "dead", "recipient", "554 5.7.1",
			"2 of 3 recipients have the mail; recipient 2: code 554 5.7.1 Relay access denied", "1 accepted 250, 3 accepted 250, 2 refused 554 5.7.1", "bd"},
		{"nobody is ours to send to", []sink.Fault{{Stage: "rcpt", Code: 554, Text: "5.7.1 Relay access denied"}}, "dead", "policy", "554 5.7.1",
			"3 of 3 recipients refused: Relay access denied", "1 refused 554 5.7.1, 2 refused 554 5.7.1, 3 refused 554 5.7.1", ""},
		{"one waits", []sink.Fault{at("c", "451 4.3.0 local error", 0)}, "retry", "transient", "451 4.3.0",
			"2 of 3 recipients have the mail, 1 wait: local error", "1 accepted 250, 3 accepted 250", "bd"},
		{"one is greylisted, one fails", []sink.Fault{at("c", "450 4.2.0 Greylisted", 0), at("d", "451 4.3.0 local error", 0)}, "retry after", "greylisted", "450 4.2.0",
			"1 of 3 recipients have the mail, 2 wait: Greylisted", "1 accepted 250", "b"},
		{"a full box waits longer than a grey list", []sink.Fault{at("c", "450 4.2.0 Greylisted", 0), at("d", "452 4.2.2 mailbox full", 0)}, "retry after", "transient", "452 4.2.2",
			"1 of 3 recipients have the mail, 2 wait: mailbox full", "1 accepted 250", "b"},
		{"all wait", []sink.Fault{{Stage: "rcpt", Code: 450, Text: "4.2.0 Greylisted"}}, "retry after", "greylisted", "450 4.2.0",
			"0 of 3 recipients have the mail, 3 wait: Greylisted", "", ""},
		{"one waits and the others are unknown", []sink.Fault{at("c", "450 4.2.0 Greylisted", 0), {Stage: "rcpt", Code: 550, Text: "5.1.1 No"}, at("c", "450 4.2.0 Greylisted", 0)},
			"retry after", "greylisted", "450 4.2.0", "0 of 3 recipients have the mail, 1 wait: Greylisted", "1 refused 550 5.1.1, 3 refused 550 5.1.1", ""},
		{"the pace of the sender stops one", []sink.Fault{at("c", "450 4.7.1 Error: too many recipients from 127.0.0.1", 0)}, "throttled", "throttled", "450 4.7.1",
			"2 of 3 recipients have the mail, 1 wait: Error: too many recipients from 127.0.0.1", "1 accepted 250, 3 accepted 250", "bd"},
		{"the pace of the sender, at all", []sink.Fault{{Stage: "rcpt", Code: 450, Text: "4.7.1 Error: too many recipients from 127.0.0.1"}}, "throttled", "throttled", "450 4.7.1", "", "", ""},
		{"a login that is needed stops one", []sink.Fault{at("c", "530 5.7.0 Authentication required", 0)}, "parked", "credential", "530 5.7.0",
			"2 of 3 recipients have the mail, 1 wait: Authentication required", "1 accepted 250, 3 accepted 250", "bd"},
		{"a login that is needed, by all", []sink.Fault{{Stage: "rcpt", Code: 530, Text: "5.7.0 Authentication required"}}, "parked", "credential", "530 5.7.0", "", "", ""},
		{"a line that closes gives it to nobody", []sink.Fault{at("c", "421 4.3.2 shutting down", 0)}, "retry", "transient", "421 4.3.2", "", "", ""},
		{"a cut line gives it to nobody", []sink.Fault{{Stage: "rcpt", Cut: true, To: "d@receiver.test"}, at("c", "550 5.1.1 No", 0)}, "retry", "transient", "", "", "", ""},
		{"too many leave the rest for later", []sink.Fault{at("c", "452 4.5.3 Too many recipients", 1)}, "handback", "throttled", "",
			"2 of 3 recipients have the mail; the server takes no more at once", "1 accepted 250, 3 accepted 250", "bd"},
		{"too many for good as well", []sink.Fault{at("d", "552 Too many recipients", 1)}, "handback", "throttled", "",
			"2 of 3 recipients have the mail; the server takes no more at once", "1 accepted 250, 2 accepted 250", "bc"},
		{"too many at the first", []sink.Fault{{Stage: "rcpt", Code: 452, Text: "4.5.3 Too many recipients"}}, "dead", "payload", "452 4.5.3", "", "1 refused 452 4.5.3, 2 refused 452 4.5.3, 3 refused 452 4.5.3", ""},
		{"a text that is refused goes to nobody", []sink.Fault{at("c", "550 5.1.1 No", 0), {Stage: "dot", Code: 554, Text: "5.7.1 Spam"}}, "dead", "policy", "554 5.7.1", "", "", ""},
		{"a text that waits goes to nobody", []sink.Fault{at("c", "550 5.1.1 No", 0), {Stage: "dot", Code: 451, Text: "4.3.0 later"}}, "retry", "transient", "451 4.3.0", "", "", ""},
		{"a cut after the text says nothing", []sink.Fault{at("c", "550 5.1.1 No", 0), {Stage: "dot", Cut: true, Keep: true}}, "retry", "unknown", "", "", "", "bd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, v := startSink(t, nil)
			a := action(t, v, 0)
			for _, f := range tt.faults {
				s.Inject(f)
			}
			reply, err := do(t, a, job(t, "1", fields{"to": three}))
			if outcome(err) != tt.outcome || reply.Reason != tt.reason || reply.Code != tt.code || tt.text != "" && reply.Text != tt.text {
				t.Errorf("got %s %s %q %q (%v), want %s %s %q %q", outcome(err), reply.Reason, reply.Code, reply.Text, err, tt.outcome, tt.reason, tt.code, tt.text)
			}
			if err != nil && !strings.Contains(err.Error(), reply.Text) || strings.Contains(fmt.Sprintf("%v %+v", err, reply), "receiver") {
				t.Errorf("error %v of %+v", err, reply)
			}
			if got := short(reply.Parts); got != tt.parts {
				t.Errorf("got parts %q, want %q", got, tt.parts)
			}
			if got := who(s); got != tt.mails {
				t.Errorf("got mails to %q, want %q", got, tt.mails)
			}
			if (reply.Certainty == queue.Accepted) != (err == nil) || (reply.Certainty == queue.Unknown) != (reply.Reason == "unknown") {
				t.Errorf("certainty %s", reply.Certainty)
			}
			s.ClearFaults()
			if tt.outcome == "parked" {
				return
			}
			if _, err := do(t, a, job(t, "next", nil)); err != nil || a.Stats() != (Stats{Idle: 1}) {
				t.Errorf("the next mail: %v, connections %+v", err, a.Stats())
			}
		})
	}
}

func TestALaterAttemptLeavesOutWhoEnded(t *testing.T) {
	s, v := startSink(t, nil)
	a := action(t, v, 0)
	j := job(t, "1", fields{"to": three})
	s.Inject(at("c", "550 5.1.1 No such user", 0))
	s.Inject(at("d", "451 4.3.0 local error", 1))
	first, err := try(t, a, j, nil)
	if outcome(err) != "retry" {
		t.Fatalf("got %v", err)
	}
	// A stored action may name them in another order by now.
	j = job(t, "1", fields{"to": "e@receiver.test, d@receiver.test", "cc": "c@receiver.test", "bcc": "b@receiver.test"})
	second, err := try(t, a, j, first.Parts)
	if outcome(err) != "dead" || second.Text != "3 of 4 recipients have the mail; recipient 3: code 550 5.1.1 No such user" || second.Code != "550 5.1.1" || second.Reason != "recipient" {
		t.Errorf("got %+v %v", second, err)
	}
	if got := short(second.Parts); got != "1 accepted 250, 2 accepted 250" {
		t.Errorf("parts %q", got)
	}
	if got := who(s); got != "b ed" {
		t.Errorf("mails to %q, want b, then e and d", got)
	}
	// A retry of the dead letter keeps who has the mail.
	s.ClearFaults()
	kept := slices.DeleteFunc(slices.Concat(first.Parts, second.Parts), func(p queue.Part) bool { return p.State == queue.PartRefused })
	third, err := try(t, a, j, kept)
	if err != nil || third.Certainty != queue.Accepted || who(s) != "b ed c" {
		t.Errorf("got %+v %v, mails to %q", third, err, who(s))
	}
	// When nobody is left there is nothing to send.
	before := s.Counts()
	if last, err := try(t, a, j, slices.Concat(kept, third.Parts, []queue.Part{recipient{3, "c@receiver.test"}.part(nil)})); err != nil || last.Stage != stageDone || s.Counts() != before {
		t.Errorf("got %+v %v", last, err)
	}
	if last, err := try(t, a, j, slices.Concat(first.Parts, second.Parts)); outcome(err) != "dead" || last.Text != second.Text || s.Counts() != before {
		t.Errorf("got %+v %v", last, err)
	}
}

func TestAServerThatTakesFewGetsAllInSeveralMails(t *testing.T) {
	s, v := startSink(t, func(c *sink.SMTPConfig) { c.Recipients = 10 })
	a := action(t, v, 0)
	var to []string
	for i := range 45 {
		to = append(to, fmt.Sprintf("r%d@receiver.test", i))
	}
	j := job(t, "1", fields{"to": strings.Join(to, ",")})
	var parts []queue.Part
	for i := range 5 {
		reply, err := try(t, a, j, parts)
		if want := map[bool]string{true: "done", false: "handback"}[i == 4]; outcome(err) != want {
			t.Fatalf("mail %d: got %s %+v %v, want %s", i+1, outcome(err), reply, err, want)
		}
		parts = append(parts, reply.Parts...)
	}
	var got []string
	for _, m := range s.Messages() {
		got = append(got, m.To...)
	}
	if d := cmp.Diff(got, to); d != "" || len(s.Messages()) != 5 {
		t.Errorf("%d mails\n%s", len(s.Messages()), d)
	}
}

func TestADirectMailGoesToAllOrNobody(t *testing.T) {
	for name, f := range map[string]sink.Fault{
		"unknown": at("c", "550 5.1.1 No such user", 0), "later": at("c", "451 4.3.0 no", 0), "too many": at("c", "452 4.5.3 Too many recipients", 0),
	} {
		t.Run(name, func(t *testing.T) {
			s, v := startSink(t, nil)
			s.Inject(f)
			reply, err := action(t, v, 5*time.Second).SendWith(t.Context(), value(t, v, password), json.RawMessage(`{"to":"b@receiver.test,c@receiver.test","message":"m"}`))
			if err == nil || len(reply.Parts) != 0 || !strings.HasPrefix(reply.Text, "1 of 2 recipients refused: ") || len(s.Messages()) != 0 {
				t.Errorf("got %+v %v, %d mails", reply, err, len(s.Messages()))
			}
		})
	}
}

// TestNobodyIsMailedTwice runs jobs through a real queue against a server that
// refuses one recipient for good and another one twice.
func TestNobodyIsMailedTwice(t *testing.T) {
	rdb, prefix := queuetest.Redis(t)
	s, v := startSink(t, nil)
	a := action(t, v, 0)
	s.Inject(at("c", "550 5.1.1 No such user", 0))
	client := queue.NewClient(rdb, queue.ClientOptions{Prefix: prefix})
	stop := queuetest.Run(t, queue.PoolConfig{Redis: rdb, Prefix: prefix, Lease: 5 * time.Second, Name: "w",
		Backoff: func(int) time.Duration { return 20 * time.Millisecond }}, a)
	defer stop()
	const jobs = 20
	for i := range jobs {
		s.Inject(at(fmt.Sprintf("d%d", i), "450 4.2.1 mailbox busy", 2))
		raw, err := json.Marshal(map[string]any{"id": fmt.Sprint("mail-", i), "action": fields{"type": Kind, "smtp_secret": "MAIL",
			"to": fmt.Sprintf("b%d@receiver.test, c@receiver.test", i), "cc": fmt.Sprintf("d%d@receiver.test", i), "subject": "Hello", "message": "Text"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Enqueue(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	show := func(i int) queue.Status {
		status, err := client.Show(t.Context(), fmt.Sprint("mail-", i))
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			t.Fatal(err)
		}
		return status
	}
	for i := range jobs {
		queuetest.Eventually(t, "the job is dead", func() bool { return show(i).State == queue.Dead })
		status := show(i)
		if got := short(status.Parts); got != "1 accepted 250, 2 refused 550 5.1.1, 3 accepted 250" || status.Reason != "recipient" || status.Used != 3 {
			t.Errorf("job %d: parts %q, %s after %d attempts: %s", i, got, status.Reason, status.Used, status.Text)
		}
		if want := "2 of 3 recipients have the mail; recipient 2: code 550 5.1.1 No such user"; !strings.Contains(status.Text, want) {
			t.Errorf("job %d: text %q", i, status.Text)
		}
	}
	checkOnce(t, s, jobs, "")

	s.ClearFaults() // c is there by now
	for i := range jobs {
		if n, err := client.RetryDead(t.Context(), fmt.Sprint("mail-", i)); err != nil || n != 1 {
			t.Fatalf("retry: %d, %v", n, err)
		}
	}
	for i := range jobs {
		queuetest.Eventually(t, "the job is done", func() bool { return show(i).State == queue.Done })
	}
	checkOnce(t, s, jobs, "c")
}

// checkOnce looks for exactly one mail to each of b, d and also of each job, all
// mails of a job with one Message-ID.
func checkOnce(t *testing.T, s *sink.SMTP, jobs int, also string) {
	t.Helper()
	got, ids := map[string]int{}, map[string]bool{}
	for _, m := range s.Messages() {
		ids[m.MessageID] = true
		for _, to := range m.To {
			got[m.MessageID+" "+to[:1]]++
		}
	}
	if len(ids) != jobs {
		t.Errorf("got %d Message-IDs, want %d", len(ids), jobs)
	}
	for id := range ids {
		for _, to := range strings.Split("b d "+also, " ") {
			if n := got[id+" "+to]; to != "" && n != 1 {
				t.Errorf("%s: %d mails to %s", id, n, to)
			}
			delete(got, id+" "+to)
		}
	}
	if len(got) != 0 {
		t.Errorf("other mails: %v", got)
	}
}
